"""The writegate command as the call tests use it, and where its two binaries are."""
import os
import re
import subprocess
import tempfile
import shutil

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


def binary(name, given=None):
    """Given, or from the environment, or freshly built; None where there is none yet."""
    for p in (given, os.environ.get("WRITEGATE_BIN_DIR") and os.path.join(os.environ["WRITEGATE_BIN_DIR"], name),
              os.path.join(ROOT, "target", "release", name)):
        if p and os.path.exists(p):
            return os.path.abspath(p)
    return None


class Gate:
    """One gate of a test's own: its directory, the environment of gated programs, freeze and thaw."""

    def __init__(self, library, command, paths=None, name="calls"):
        self.library, self.command, self.paths, self.name = library, command, paths, name
        self.tokens = None
        self.dir = tempfile.mkdtemp(prefix="writegate-", dir="/run" if os.access("/run", os.W_OK) else None)
        os.chmod(self.dir, 0o755)

    def environment(self, whole_storage=False):
        env = dict(os.environ, LD_PRELOAD=self.library, WRITEGATE_GATE=self.name, WRITEGATE_DIR=self.dir)
        env.pop("WRITEGATE_PATHS", None)
        if self.paths and not whole_storage:
            env["WRITEGATE_PATHS"] = self.paths
        return env

    def run(self, *args, seconds=60, **kw):
        env = dict(os.environ, WRITEGATE_DIR=self.dir)
        env.pop("LD_PRELOAD", None)
        return subprocess.run([self.command, *args], env=env, capture_output=True, text=True, timeout=seconds, **kw)

    def freeze(self, limit="20s", drain="3s", retries="0", extra=()):
        """Returns a token, or raises with what the command said. Token mode where the command has it, else the
        wrapped form with a command that says "frozen" and waits."""
        # Of aio and of mappings it is known that they may write past the gate; what is asked here is each call.
        args = ["freeze", "-g", self.name, "-t", limit, "--drain", drain, "--retries", retries, "--accept", "partial", *extra]
        if self.has_tokens():
            r = self.run(*args)
            lines = [x for x in r.stdout.splitlines() if x and not x.startswith("writegate:")]
            if r.returncode or not lines:
                raise RuntimeError(f"freeze exit {r.returncode}: {r.stdout.strip()} {r.stderr.strip()}")
            return lines[-1].strip()
        env = dict(os.environ, WRITEGATE_DIR=self.dir)
        env.pop("LD_PRELOAD", None)
        p = subprocess.Popen([self.command, *args, "--", "sh", "-c", "echo frozen; read line"], env=env, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        first = p.stdout.readline()
        if first.strip() != "frozen":
            rest, err = p.communicate(timeout=60)
            raise RuntimeError(f"freeze exit {p.returncode}: {first}{rest.strip()} {err.strip()}")
        return p

    def has_tokens(self):
        if self.tokens is None:
            self.tokens = bool(re.search(r"^\s+thaw\b", self.run("--help").stdout, re.M))
        return self.tokens

    def thaw(self, token):
        """Exit code and the verdict's fields."""
        if isinstance(token, str):
            r = self.run("thaw", token)
            out, err, code = r.stdout, r.stderr, r.returncode
        else:
            out, err = token.communicate("go\n", timeout=60)
            code = token.returncode
        # The verdict's line is on stderr, with the remarks.
        lines = [x for x in [*out.splitlines(), *err.splitlines()] if x.startswith("writegate: gate=")]
        fields = dict(re.findall(r"(\S+?)=(\S+)", lines[-1])) if lines else {}
        fields["text"] = (out + err).strip()
        return code, fields

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class NoGate:
    """Looks like a gate and holds nobody: with it every way must be caught (run.py --without-gate)."""

    def environment(self, whole_storage=False):
        return dict(os.environ)

    def freeze(self, limit="", drain="", extra=()):
        return "none"

    def thaw(self, token):
        return 0, {"verdict": "CONSISTENT", "coverage": "none", "text": "no gate"}

    def close(self):
        pass
