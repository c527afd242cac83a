"""What `programs` records: each case half-done, a freeze, and then its other half.

    small_programs.py PLACE OUT CASE...     (run by the recorder; says what each case did as JSON in OUT)

A case is `holders:NAME` (a set under one lock: tests/command/locks/holders.c) or `window:NAME` (a change while the
gate is closed: window.c).
"""
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = {"holders": HERE.parent / "command/locks/holders.c", "window": HERE / "window.c"}
BIN = Path(os.environ["WRITEGATE_BIN_DIR"])
PATIENCE_S = 60


def build(kind, work):
    out = Path(work) / kind
    if not out.exists():
        subprocess.run(["cc", "-O1", "-o", out, SOURCES[kind], "-lpthread"], check=True)
    return out


class Case:
    def __init__(self, place, work, number, name):
        self.kind, _, self.name = name.partition(":")
        self.program = build(self.kind, work)
        self.mail = Path(place) / f"{number}-{self.name}"
        self.mail.mkdir()
        self.gates = Path(tempfile.mkdtemp(dir=work))
        self.gates.chmod(0o755)
        self.started = []

    def env(self, gated):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("WRITEGATE", "LD_"))}
        env["WRITEGATE_DIR"] = str(self.gates)
        if gated:
            env.update(LD_PRELOAD=str(BIN / "libwritegate.so"), WRITEGATE_GATE="small", WRITEGATE_PATHS=str(self.mail))
        return env

    def start(self, *command):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self.mail, env=self.env(True))
        self.started.append(process)
        return process

    def freeze(self, *command):
        return subprocess.Popen([BIN / "writegate", "freeze", "-g", "small", "-t", "30s", "--drain", "400ms", "--retries", "0",
                                 "--", *command], env=self.env(False), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self):
        subprocess.run([BIN / "writegate", "exec", "-g", "small", "--", "true"], env=self.env(False), capture_output=True)
        self.start("cat")
        target = self.mail if self.kind == "holders" else self.mail / "file"
        process = self.start(str(self.program), self.name, str(target))
        if process.stdout.readline() != b"READY\n":
            return {"case": self.name, "said": "not ready"}
        time.sleep(0.05)
        asked = int(max((p.stem for p in Path(os.environ["WITNESS"], "freezes").glob("*.asked")), default=-1, key=int)) + 1
        changed = False
        if self.kind == "holders":
            freeze = self.freeze("true")
            code = freeze.wait(PATIENCE_S)
            self.go(process)
            changed = process.stdout.readline() == b"DONE\n" or self.name == "parent_exits"
        else:
            stamp = self.gates / "inside"
            go = self.gates / "go"
            freeze = self.freeze("sh", "-c", f": > {stamp}; until [ -e {go} ]; do sleep 0.01; done; rm {go}")
            end = time.monotonic() + PATIENCE_S
            while not stamp.exists() and freeze.poll() is None and time.monotonic() < end:
                time.sleep(0.005)
            inside = stamp.exists() and freeze.poll() is None
            self.go(process)
            if inside:
                # No call of libc's: nobody holds it, and on a busy machine it only takes its time.
                said = select.select([process.stdout], [], [], 20)[0] and process.stdout.readline()
                changed = said == b"DONE\n" and freeze.poll() is None and self.name != "nothing"
                go.touch()
            code = freeze.wait(PATIENCE_S)
        time.sleep(0.1)
        kept = json.loads(Path(os.environ["WITNESS"], f"freezes/{asked}.json").read_text(encoding="utf-8"))
        partial = any(g.get("coverage") != "full" for g in (kept["report"] or {}).get("gates", []))
        return {"case": f"{self.kind}:{self.name}", "freeze": asked, "exit": code, "changed": changed, "partial": partial}

    @staticmethod
    def go(process):
        with contextlib.suppress(BrokenPipeError):      # it has died: then nothing was changed
            process.stdin.write(b"g")
            process.stdin.flush()

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()


def main(place, out, *names):
    said = []
    with tempfile.TemporaryDirectory(prefix="writegate-small-") as work:
        os.chmod(work, 0o755)
        for number, name in enumerate(names):
            case = Case(place, work, number, name)
            try:
                said.append(case.run())
            finally:
                case.close()
    Path(out).write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
