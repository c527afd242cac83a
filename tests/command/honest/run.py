#!/usr/bin/env python3
"""A look that fails is no absence: what the freezer could not look at, or could not say, is never exit 0.

Each case is one kind of failed look, made on purpose with the real library: few descriptors, a main
thread that has exited, a name that is no text, a watch that is flooded, output that is lost.
`tests/command/honest/run.py [--only PATTERN]`; needs root and a built command ($WRITEGATE_BIN_DIR, else
target/release).
"""
import glob
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(CHECKOUT / "tests"))
from lab import suite  # noqa: E402

BIN = Path(os.environ.get("WRITEGATE_BIN_DIR") or CHECKOUT / "target" / "release")
COMMAND, LIBRARY = BIN / "writegate", BIN / "libwritegate.so"
# A set that does not end is in flight for however long; what else a busy machine needs time for is no case's matter.
BRIEF, LONG, LIMIT, PATIENCE_S = ("--drain", "400ms"), ("--drain", "20s"), ("-t", "60s"), 150

# A gated worker: prepares itself as told, then does as told until its standard input ends.
WORKER = r"""
import ctypes, fcntl, os, subprocess, sys, threading, time
how, data = sys.argv[1], sys.argv[2]
libc = ctypes.CDLL(None)
if sys.argv[3:]:
    out = open(data + "/out", "w") if "opened" in how else subprocess.DEVNULL
    child = subprocess.Popen(sys.argv[3:], stdin=subprocess.DEVNULL, stdout=out)
    if "opened" in how:
        out.close()
def work():
    if "section" in how:
        file = open(data + "/a", "w")
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("half"); file.flush()
    else:
        open(data + "/idle%d" % os.getpid(), "w").close()
    os.write(1, b"ready\n")
    os.read(0, 1)
    if sys.argv[3:]:
        child.kill()
    os._exit(0)
if "named" in how:
    libc.prctl(15, b"\xc3\x28\xff) S 1 \xe2\x82", 0, 0, 0)      # PR_SET_NAME
if "leaderless" in how:
    threading.Thread(target=work).start()
    time.sleep(0.1)
    libc.syscall(60, 0)                                         # SYS_exit: this thread alone
work()
"""


def runs(program):
    """Does any process run this program?"""
    def exe(link):
        try:
            return os.readlink(link)
        except OSError:
            return None
    return any(exe(link) == str(program) for link in glob.glob("/proc/[0-9]*/exe"))


# Makes and removes directories without end. ext4 says "no memory" of one that is gone while its inode becomes another's.
MAKER = """
import os, sys
os.write(1, b"ready\\n")
while True:
    os.makedirs("a/b")
    for name in "a/b/f", "a/b/g":
        open(name, "w").write("x")
    for name in "a/b/f", "a/b/g":
        os.unlink(name)
    os.rmdir("a/b"); os.rmdir("a")
"""

# Starts programs that soon end, and waits for none: as PID 1 of many containers does.
NEVER_WAITS = """
import os, sys, time
os.write(1, b"ready\\n")
for _ in range(4000):
    if os.fork() == 0:
        os.execv("/bin/sh", ["sh", "-c", "echo x > $0/$$; sleep 0.01; rm $0/$$", sys.argv[1]])
    time.sleep(0.01)
"""


# The freezer is stopped until all that "$@" does is over: what it reads of that is of the past.
BEHIND_ITS_BACK = '(sleep 0.5; kill -CONT $PPID) & kill -STOP $PPID; "$@"; wait'


def births_are_told():
    """Does the kernel tell who is born? (Not in a container, nor where it was built without.)"""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11) as births:
            births.bind((0, 1))
            births.settimeout(1)
            births.send(struct.pack("=IHHII IIIIHH I", 40, 3, 0, 0, 0, 1, 1, 0, 0, 4, 0, 1))
            births.recv(4096)
            births.send(struct.pack("=IHHII IIIIHH I", 40, 3, 0, 0, 0, 1, 1, 0, 0, 4, 0, 2))
            return True
    except OSError:
        return False


class Honest(unittest.TestCase):
    def setUp(self):
        self.work = Path(tempfile.mkdtemp(prefix="writegate-honest-", dir="/var/tmp"))
        self.addCleanup(subprocess.run, ["rm", "-rf", str(self.work)])
        self.data = self.work / "data"
        self.data.mkdir()
        self.script = self.work / "worker.py"
        self.script.write_text(WORKER)

    def env(self, gated=False):
        env = {k: v for k, v in os.environ.items() if not k.startswith("WRITEGATE_")}
        env |= {"WRITEGATE_DIR": str(self.work / "gates"), "WRITEGATE_TEST_LOG_SOCKET": ""}
        if gated:
            env |= {"LD_PRELOAD": str(LIBRARY), "WRITEGATE_GATE": "t", "WRITEGATE_PATHS": str(self.data)}
        return env

    def start(self, argv, gated=False, wait=True, **kw):
        child = subprocess.Popen(argv, env=self.env(gated), stdin=subprocess.PIPE, stdout=subprocess.PIPE, **kw)
        self.addCleanup(self.end, child)
        if wait:
            self.assertEqual(child.stdout.readline(), b"ready\n")
        return child

    @staticmethod
    def end(child):
        child.stdin.close()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()

    def worker(self, how="idle", **kw):
        return self.start([sys.executable, "-S", str(self.script), how, str(self.data)], gated=True, **kw)

    def ready(self, workers):
        for worker in workers:
            self.assertEqual(worker.stdout.readline(), b"ready\n")

    def run_it(self, *args, before="", **kw):
        """The command, started by a shell that does `before` first."""
        argv = ["sh", "-c", f'{before} exec "$0" "$@"', str(COMMAND), *map(str, args)]
        kw.setdefault("stdout", subprocess.PIPE)
        kw.setdefault("stderr", subprocess.PIPE)
        return subprocess.run(argv, env=self.env(), stdin=subprocess.DEVNULL, text=True, timeout=PATIENCE_S, **kw)

    def freeze(self, *args, command=("true",), **kw):
        drain = () if "--drain" in args else LONG
        return self.run_it("freeze", "-g", "t", *LIMIT, *drain, "--retries", "0", *args, "--", *command, **kw)

    def not_believed(self, said):
        self.assertNotEqual(said.returncode, 0, said)
        self.assertNotIn("verdict=CONSISTENT", said.stderr or "", said)

    def helper(self, name, mode, how="idle"):
        """A freeze while a worker's child runs a program of root's of this name, in which no library comes where it is set-id."""
        program = self.work / f"{mode:o}-{how}" / name
        program.parent.mkdir()
        shutil.copy("/bin/sleep", program)
        shutil.chown(program, 0, "shadow")
        program.chmod(mode)
        self.work.chmod(0o755)
        self.start([sys.executable, "-S", str(self.script), how, str(self.data), str(program), "100"], gated=True)
        return self.freeze()

    def test_what_checks_passwords_is_set_id_and_changes_no_mail(self):
        """Dovecot of Debian 13 starts it at each login."""
        said = self.helper("unix_chkpwd", 0o2755)
        self.assertEqual(said.returncode, 0, said)
        self.assertRegex(said.stderr, "verdict=CONSISTENT coverage=full")

    def test_its_name_alone_is_not_enough(self):
        said = self.helper("unix_chkpwd", 0o755)
        self.assertEqual(said.returncode, 0, said)          # it has the library, so it is gated
        for name, mode, how in (("some_helper", 0o2755, "idle"), ("unix_chkpwd", 0o2755, "opened")):
            with self.subTest(name=name, how=how):
                said = self.helper(name, mode, how)
                self.not_believed(said)
                self.assertEqual(said.returncode, 65, said)

    # what must be seen all the same

    def test_nothing_wrong(self):
        self.worker()
        said = self.freeze()
        self.assertEqual(said.returncode, 0, said)
        self.assertRegex(said.stderr, "coverage=full watched=(full|contents) against=0 ")

    def test_directories_that_come_and_go_elsewhere(self):
        for name in "one", "two":
            elsewhere = self.work / name
            (elsewhere / "kept").mkdir(parents=True)
            maker = self.start([sys.executable, "-S", "-c", MAKER], cwd=elsewhere / "kept")
            # It ends by no end of its input.
            self.addCleanup(maker.kill)
        self.worker()
        for _ in range(8):
            said = self.freeze(command=["sleep", "0.1"])
            self.assertNotIn("cannot be told", said.stderr)

    def test_the_dead_that_nobody_waits_for(self):
        """One that ends between two looks stays a zombie: it changes nothing any more, and accuses nobody."""
        parent = self.start([sys.executable, "-S", "-c", NEVER_WAITS, str(self.data)], gated=True)
        self.addCleanup(parent.kill)
        time.sleep(0.3)
        for _ in range(20):
            said = self.freeze(*BRIEF)
            self.assertNotRegex(said.stderr, "stand still|detached", said)

    @unittest.skipUnless(births_are_told(), "the kernel tells no births here")
    def test_a_child_of_the_command_that_is_gone_already(self):
        self.worker()
        said = self.freeze(command=["sh", "-c", BEHIND_ITS_BACK, "sh", "touch", str(self.data / "by-the-command")])
        self.assertEqual(said.returncode, 0, said)

    def test_a_file_that_has_lost_the_name_by_which_it_was_changed(self):
        """Its protected name is another one."""
        self.worker()
        for after in 'rm "$1"', 'mv "$1" "$1.new"':
            protected, link, now, over = (self.data / "protected", *(self.work / name for name in ("link", "now", "over")))
            protected.write_text("before")
            link.hardlink_to(protected)
            other = self.start(["sh", "-c", 'echo ready; until [ -e "$2" ]; do sleep 0.01; done; echo x >>"$1"; ' + after
                                + '; : >"$3"', "sh", str(link), str(now), str(over)])
            said = self.freeze(command=["sh", "-c", BEHIND_ITS_BACK, "sh", "sh", "-c",
                                                     'touch "$0"; until [ -e "$1" ]; do sleep 0.01; done', str(now), str(over)])
            self.assertIn("verdict=ESCAPED", said.stderr, said)
            self.assertRegex(said.stderr, f"pid {other.pid}.*changed a protected file.*{protected}")
            other.wait(5)
            for left in (protected, now, over, Path(f"{link}.new")):
                left.unlink(missing_ok=True)

    def test_a_file_that_is_replaced_elsewhere(self):
        """Written under one name and renamed to another, as editors do: no protected name is looked for."""
        (self.work / "elsewhere").mkdir()
        self.worker()
        other = self.start(["sh", "-c", "echo ready; while :; do echo x >a; mv a b; sleep 0.01; done"],
                           cwd=self.work / "elsewhere")
        self.addCleanup(other.kill)
        for _ in range(3):
            said = self.freeze(command=["sleep", "0.2"])
            self.assertEqual(said.returncode, 0, said)

    def test_few_descriptors(self):
        others = [self.worker(wait=False) for _ in range(40)]
        workers = 41
        self.worker()
        self.ready(others)
        said = self.freeze(before="ulimit -Sn 32;")
        self.assertEqual(said.returncode, 0, said)
        self.assertIn(f" procs={workers} ", said.stderr)
        said = self.freeze(before="ulimit -Sn 32;", command=["sh", "-c", "test $(ulimit -Sn) = 32"])
        self.assertEqual(said.returncode, 0, "the command has the limit of whoever called")
        self.worker("section")
        said = self.freeze(*BRIEF, before="ulimit -Sn 32;")
        self.assertEqual(said.returncode, 75, said)

    def test_descriptors_that_cannot_be_had(self):
        """Without CAP_SYS_RESOURCE the hard limit stands: whatever cannot be opened is not exit 0."""
        self.ready([self.worker(wait=False) for _ in range(20)])
        self.worker("section")
        without = "--bounding-set=-sys_resource --inh-caps=-sys_resource"
        argv = f'exec setpriv {without} "$0" "$@"; '
        self.assertEqual(self.freeze(*BRIEF, before=argv).returncode, 75, "with descriptors enough it finds the section")
        for limit in (8, 10, 12, 14, 16, 20, 24, 28, 32):
            argv = f'ulimit -n {limit}; exec setpriv {without} "$0" "$@"; '
            self.not_believed(self.freeze(*BRIEF, before=argv))

    def test_the_first_thread_came_second(self):
        """In a forked child another thread makes the first change. The first thread has its number from the parent, where it
        made changes before; its call, which hangs on a frozen disk, is in flight all the same."""
        image = self.work / "disk"
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(self.data)], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.data)], capture_output=True)
        program = self.work / "second"
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", program, Path(__file__).with_name("second.c")],
                       check=True)
        child = self.start([str(program), str(self.data)], gated=True)
        pid = int(child.stdout.readline())
        subprocess.run(["fsfreeze", "-f", str(self.data)], check=True)
        self.addCleanup(subprocess.run, ["fsfreeze", "-u", str(self.data)], capture_output=True)
        child.stdin.write(b"go")
        child.stdin.flush()
        until = time.monotonic() + 30
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "D":
            self.assertLess(time.monotonic(), until, "its write does not hang")
            time.sleep(0.01)
        said = self.freeze(*BRIEF)
        subprocess.run(["fsfreeze", "-u", str(self.data)], check=True)
        self.assertEqual(said.returncode, 75, said)
        self.assertEqual(self.freeze().returncode, 0)

    def test_the_main_thread_has_exited(self):
        self.worker()
        self.worker("leaderless section")
        said = self.freeze(*BRIEF)
        self.assertEqual(said.returncode, 75, said)
        self.assertIn("procs=2 ", said.stderr)

    def test_a_name_that_is_no_text(self):
        self.worker()
        self.worker("named section")
        said = self.freeze(*BRIEF)
        self.assertEqual(said.returncode, 75, said)
        self.assertIn("procs=2 ", said.stderr)

    def change_in_the_window(self, meanwhile, last):
        """A freeze that lasts until somebody else has made the file `last`."""
        flag = self.work / "frozen"
        other = self.start(["sh", "-c", f"while [ ! -e {flag} ]; do sleep 0.01; done; {meanwhile}; sleep 5"],
                           wait=False)
        said = self.freeze(command=[
            "sh", "-c", f"touch {flag}; while [ ! -e {last} ]; do sleep 0.01; done; sleep 0.05"])
        other.kill()
        return said

    def test_a_change_behind_thousands_elsewhere(self):
        self.worker()
        noise = self.work / "noise"
        noise.mkdir()
        said = self.change_in_the_window(f"cd {noise}; seq 3000 | xargs touch; echo x > {self.data}/evil",
                                         self.data / "evil")
        self.assertEqual(said.returncode, 65, said)
        self.assertRegex(said.stderr, "against=[1-9]")

    def test_many_changes_are_counted(self):
        self.worker()
        said = self.change_in_the_window(f"cd {self.data}; seq 400 | xargs touch", self.data / "400")
        self.assertEqual(said.returncode, 65, said)
        self.assertIn("further changes", said.stderr)

    # whom nobody looked at, and who can write

    def test_a_member_of_another_gate_with_a_file_open(self):
        self.worker()
        env = self.env(gated=True) | {"WRITEGATE_GATE": "other"}
        other = subprocess.Popen(["sh", "-c", f"exec 3>{self.data}/x; echo ready; read _"], env=env,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.end, other)
        other.stdout.readline()
        said = self.freeze()
        self.assertEqual(said.returncode, 65, said)
        self.assertIn("open for writing", said.stderr)

    def test_a_named_program_that_an_upgrade_has_replaced(self):
        """The profile names it; that its file has been put away does not leave it out."""
        profile = self.work / "profile.conf"
        profile.write_text("program = */named-sh\nprogram = */named-sleep\n")
        for name in ("sh", "sleep"):
            shutil.copy(shutil.which(name), self.work / f"named-{name}")
        old, self.env = self.env, lambda gated=False: old(gated) | {"WRITEGATE_CONF": str(profile)}
        self.assertEqual(self.run_it("exec", "-g", "t", "--library", LIBRARY, "--", "true").returncode, 0)
        child = f"env -u LD_PRELOAD {self.work}/named-sleep 300 & echo ready; read x; kill $!"
        self.start([str(self.work / "named-sh"), "-c", f"echo > {self.data}/x; {child}"], gated=True)
        until = time.monotonic() + 10
        while not runs(self.work / "named-sleep") and time.monotonic() < until:
            time.sleep(0.01)
        (self.work / "named-sleep").unlink()
        said = self.freeze()
        self.assertEqual(said.returncode, 65, said)
        self.assertIn("(named-sleep)", said.stderr)

    # output

    def test_output_that_is_lost_is_no_success(self):
        self.worker()
        freeze = ["freeze", "-g", "t"]
        out, err = ("exec >/dev/full;", "exec >&-;", "exec >&- 2>&-;"), ("exec 2>/dev/full;", "exec 2>&-;")
        for args, places in (([*freeze, "--", "true"], err), ([*freeze, "--json", "--", "true"], out + err),
                             (["status"], out), (["status", "--prom"], out), (["status", "--json"], out)):
            for before in places:
                said = self.run_it(*args, before=before)
                self.assertEqual(said.returncode, 74, (args, before, said))

    def test_stdout_is_the_commands(self):
        self.worker()
        (self.work / "other").mkdir()
        (self.work / "other" / "file").write_text("x" * 9000)
        copy = self.work / "copy.tar"
        with open(copy, "wb") as stream:
            said = self.freeze(command=["tar", "-C", self.work, "-cf", "-", "other"], stdout=stream)
        self.assertEqual(said.returncode, 0, said)
        listed = subprocess.run(["tar", "-tf", copy], capture_output=True, text=True)
        self.assertEqual((listed.returncode, listed.stdout.split()), (0, ["other/", "other/file"]), listed)
        self.assertRegex(said.stderr.splitlines()[-1], "^writegate: gate=t verdict=CONSISTENT ")

    def test_quiet_and_json(self):
        self.worker()
        said = self.freeze("-q")
        self.assertEqual((said.returncode, said.stdout, said.stderr), (0, "", ""))
        said = self.freeze("-q", "--json")
        self.assertEqual((said.returncode, json.loads(said.stdout)["verdict"], said.stderr), (0, "CONSISTENT", ""))
        self.worker("section")
        said = self.freeze(*BRIEF, "-q")
        self.assertEqual(said.returncode, 75, said)
        self.assertIn("verdict=NOT_DRAINED", said.stderr)
        said = self.freeze(*BRIEF, "--json")
        self.assertEqual((said.returncode, json.loads(said.stdout)["exit"]), (75, 75), said)

    def test_a_token_that_is_lost_holds_no_writer(self):
        writer = self.worker()
        for before in ("exec >/dev/full;", "exec >&-;"):
            begun = time.monotonic()
            said = self.run_it("freeze", "-g", "t", "-t", "60s", before=before)
            self.assertEqual(said.returncode, 74, said)
            # Frozen still: this one would have to wait for the limit.
            again = self.freeze("--queue", "30s")
            self.assertEqual(again.returncode, 0, again)
            self.assertLess(time.monotonic() - begun, 50)
        self.assertIsNone(writer.poll())


def main():
    pattern = suite.parser(__doc__).parse_args().only
    if os.geteuid() != 0:
        print("skipped: needs root\n0 passed, 0 failed, 1 skipped")
        return 77
    return suite.run(suite.of_main(), pattern)


if __name__ == "__main__":
    sys.exit(main())
