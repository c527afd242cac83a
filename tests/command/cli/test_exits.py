"""Every row of the table of exit codes, with real programs under the real library."""
import os
import subprocess
import sys
import time
import unittest

from rig import BIN, LIBRARY, Rig, alive, wait_for

ROOT = os.geteuid() == 0

# A service: adds to its file every 5 ms.
WRITER = "import sys, time\nwhile True:\n f = open(sys.argv[1], 'a'); f.write('x'); f.close(); time.sleep(0.005)\n"
# One that begins a set under a lock and does not end it.
HOLDER = ("import fcntl, sys, time\nlock = open(sys.argv[1] + '.l', 'w'); fcntl.lockf(lock, fcntl.LOCK_EX)\n"
          "f = open(sys.argv[1], 'w'); f.write('half'); f.flush(); print('held', flush=True); time.sleep(60)\n")


@unittest.skipUnless(LIBRARY.exists(), f"no {LIBRARY}")
class ExitCodes(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.flag = self.rig.work / "frozen"

    def service(self, code=WRITER, name="mail", gate="t", **kw):
        """A program under the gate, at work."""
        file = self.rig.file(name)
        env = self.rig.env(WRITEGATE_PATHS=str(self.rig.data))
        argv = [BIN / "writegate", "exec", "-g", gate, "--library", LIBRARY, "--", sys.executable,
                "-S", "-c", code, str(file)]
        child = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 text=True, start_new_session=True, **kw)
        self.rig.children.append(child)
        wait_for(lambda: file.exists() and file.stat().st_size, 20, "the service's first write")
        return child

    def during(self, script, *args):
        """A freeze, and in its window this script by a program without the library."""
        done = self.rig.work / "done"
        other = self.rig.plain(["sh", "-c", f"while [ ! -e {self.flag} ]; do sleep 0.01; done; "
                                            f"{script}; touch {done}; sleep 20"])
        wait = f"touch {self.flag}; while [ ! -e {done} ]; do sleep 0.01; done"
        said = self.rig.freeze("-t", "20s", *args, command=["sh", "-c", wait])
        return said, other

    def test_0_consistent(self):
        self.service()
        said = self.rig.freeze(command=["sh", "-c", f"cat {self.rig.file('mail')} > {self.rig.work}/1"
                                        f"; sleep 0.1; cmp {self.rig.file('mail')} {self.rig.work}/1"])
        self.assertEqual((said.code, said.verdict, said.fields["procs"]), (0, "CONSISTENT", "1"), said)

    def test_the_commands_own(self):
        self.service()
        self.assertEqual(self.rig.freeze(command=["sh", "-c", "exit 41"]).code, 41)
        self.assertEqual(self.rig.freeze(command=["sh", "-c", "kill -15 $$"]).code, 143)

    def test_64_usage(self):
        self.service()
        self.assertEqual(self.rig.freeze("-t", "5").code, 64)

    @unittest.skipUnless(ROOT, "needs root (fanotify)")
    def test_65_escape_names_who_and_what(self):
        self.service()
        said, other = self.during(f"echo x > {self.rig.data}/sneaked")
        self.assertEqual((said.code, said.verdict), (65, "ESCAPED"), said)
        self.assertIn(f"pid {other.pid}", said.err)
        self.assertIn(f"{self.rig.data}/sneaked", said.err)

    @unittest.skipUnless(ROOT, "needs root (other processes' descriptors)")
    def test_65_ungated_writer(self):
        self.service()
        other = self.rig.plain([sys.executable, "-S", "-c", WRITER.replace("f.close(); ", ""),
                                str(self.rig.file("mail"))])
        time.sleep(0.3)
        said = self.rig.freeze()
        self.assertEqual(said.code, 65, said)
        self.assertIn(str(other.pid), said.err)

    def test_69_nobody_is_gated(self):
        child = self.service()
        os.killpg(child.pid, 9)
        child.wait()
        said = self.rig.freeze(command=["touch", self.flag])
        self.assertEqual(said.code, 69, said)
        self.assertFalse(self.flag.exists())

    def test_75_not_drained_names_who(self):
        self.service()
        holder = self.service(HOLDER, "half")
        said = self.rig.freeze("--retries", "0", "--drain", "200ms", command=["touch", self.flag])
        self.assertEqual((said.code, said.verdict), (75, "NOT_DRAINED"), said)
        self.assertIn(f"pid {holder.pid} (python3", said.err)
        self.assertIn("half.l: section open under a lock", said.err)
        self.assertFalse(self.flag.exists())

    def test_76_stale_token(self):
        self.service()
        token = self.rig.freeze(command=None).out.strip()
        self.assertEqual(self.rig.run("thaw", token).code, 0)
        self.assertEqual(self.rig.run("thaw", token).code, 76)

    @unittest.skipUnless(ROOT, "needs root to become somebody else")
    def test_77_permission(self):
        self.service()
        self.rig.uid = 65534
        self.assertEqual(self.rig.freeze().code, 77)

    def test_78_configuration(self):
        self.service()
        self.rig.control().chmod(0o666)
        self.assertEqual(self.rig.freeze().code, 78)

    def test_124_the_limit(self):
        child = self.service()
        size = self.rig.file("mail").stat().st_size
        said = self.rig.freeze("-t", "200ms", command=["sleep", "0.6"])
        self.assertEqual((said.code, said.verdict), (124, "EXPIRED"), said)
        self.assertGreater(self.rig.file("mail").stat().st_size, size + 5, "it went on")
        self.assertIsNone(child.poll())

    def test_126_127_cannot_be_run(self):
        self.service()
        plain = self.rig.work / "plain"
        plain.touch()
        self.assertEqual(self.rig.freeze(command=[plain]).code, 126)
        self.assertEqual(self.rig.freeze(command=["/not-there/command"]).code, 127)


class ManyGates(unittest.TestCase):
    """Several gates of one host as one barrier, with a token."""

    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.rig.make_gate("u")
        self.workers = [self.rig.worker("work", self.rig.file("a")),
                        self.rig.worker("work", self.rig.file("b"), gate="u")]

    def barriers(self):
        return [self.rig.barrier(gate) for gate in "tu"]

    def frozen(self, *args):
        said = self.rig.freeze("-g", "u", *args, command=None)
        self.assertEqual(said.code, 0, said)
        return said.out.strip()

    def test_one_token_for_all(self):
        token = self.frozen()
        self.assertTrue(all(self.barriers()))
        time.sleep(0.2)
        report = self.rig.work / "r.json"
        said = self.rig.run("thaw", token, "--report", report, report=report)
        self.assertEqual((said.code, len(said.lines)), (0, 2), said)
        self.assertEqual([line.split()[1:3] for line in said.lines],
                         [["gate=t", "verdict=CONSISTENT"], ["gate=u", "verdict=CONSISTENT"]])
        first, second = said.record["gates"]
        self.assertLess(max(g["drained"]["monotonic_ns"] for g in (first, second)),
                        min(g["opened"]["monotonic_ns"] for g in (first, second)),
                        "one window for both")
        self.assertEqual(self.barriers(), [0, 0])
        for worker in self.workers:
            self.assertGreater(max(self.rig.held(worker)), 190)
        self.assertEqual(self.rig.run("thaw", token).code, 76)

    def test_the_order_of_names_does_not_matter(self):
        token = self.rig.run("freeze", "-g", "u", "-g", "t").out.strip()
        self.assertEqual(self.rig.run("thaw", token).code, 0)

    def test_late(self):
        token = self.frozen("-t", "200ms")
        time.sleep(0.4)
        said = self.rig.run("thaw", token)
        self.assertEqual((said.code, len(said.lines)), (124, 2), said)

    def test_one_that_does_not_drain_holds_none(self):
        self.rig.worker("stuck", self.rig.file("c"), gate="u")
        said = self.rig.freeze("-g", "u", "--retries", "0", "--drain", "200ms", command=None)
        self.assertEqual((said.code, len(said.lines)), (75, 2), said)
        self.assertEqual(self.barriers(), [0, 0])

    def test_one_that_is_empty_holds_none(self):
        self.rig.make_gate("v")
        said = self.rig.freeze("-g", "v", command=None)
        self.assertEqual(said.code, 69, said)
        self.assertIn("gate v:", said.err)
        self.assertEqual(self.barriers(), [0, 0])

    def test_each_is_taken_for_others(self):
        token = self.frozen("-t", "5s")
        for gate in "tu":
            said = self.rig.run("freeze", "-g", gate, "--queue", "100ms", "--", "true")
            self.assertEqual((said.code, said.verdict), (75, "BUSY"), said)
        self.assertEqual(self.rig.run("thaw", token).code, 0)

    def test_a_killed_keeper_leaves_none_closed(self):
        token = self.frozen("-t", "5s")
        env = str(self.rig.work).encode()
        keepers = [int(p) for p in os.listdir("/proc") if p.isdigit() and is_keeper(p, env)]
        self.assertEqual(len(keepers), 1)
        os.kill(keepers[0], 9)
        wait_for(lambda: not alive(keepers[0]), what="the keeper's end")
        said = self.rig.run("thaw", token)
        self.assertEqual((said.code, said.verdict), (76, "UNPROVEN"), said)
        self.assertEqual(self.barriers(), [0, 0])


def is_keeper(pid, marked):
    """The keeper, and not its helper, which is its child."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as stat, open(f"/proc/{pid}/environ", "rb") as environ:
            name, rest = stat.read().rsplit(") ", 1)
            return name.endswith("(writegate-keep") and rest.split()[1] == "1" and \
                marked in environ.read()
    except OSError:
        return False
