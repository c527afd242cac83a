"""Every key of a profile, with a small real program under the real library.

Each rule is seen both ways: with its line, and without it (or just beside what it says), where the
same program at the same point is in flight.
"""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab import gate as gates, suite  # noqa: E402 (the path comes first)

HERE = Path(__file__).resolve().parent
# Keys whose tests lie elsewhere.
ELSEWHERE = {"lock-file": "tests/command/locks/run.py", "lock-helper": "tests/command/locks/lockfiles.c", "hold": "tests/command/hold/run.py"}


class Puppet:
    """puppet.c under the name `name`, with the library."""

    def __init__(self, program, gate):
        self.process = subprocess.Popen([program], env=gate.environment(), text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def begin(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")

    def end(self):
        word, result = self.process.stdout.readline().split()
        assert word == "ok"
        return int(result)

    def do(self, *words):
        self.begin(*words)
        result = self.end()
        if result < 0:
            raise OSError(-result, os.strerror(-result), " ".join(map(str, words)))
        return result

    def close(self):
        self.process.kill()
        self.process.communicate()


class Keys(unittest.TestCase):
    def test_every_key_of_a_profile_has_its_test(self):
        root = HERE.parents[2]
        keys = re.findall(r'^    [A-Z]\w* "([a-z-]+)" \(\w+, \w+\)$', (root / "gate/src/profile/keys.rs").read_text(), re.M)
        self.assertGreater(len(keys), 15, "has the form of the table changed?")
        own = Path(__file__).read_text()
        used = {key for key in keys if re.search(rf"\b{key.replace('-', '_')}\b\W*[=:]", own)}
        used |= {key for key, file in ELSEWHERE.items() if (root / file).exists()}
        self.assertEqual(set(keys) - used - {"path"}, set(), "no test: of each key one with its line, and one without")


class Habits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.built = Path(tempfile.mkdtemp(prefix="writegate-habits-"))
        cls.addClassCleanup(shutil.rmtree, cls.built, ignore_errors=True)
        subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-o", cls.built / "puppet",
                        HERE / "puppet.c"], check=True)

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def gate(self, **profile):
        work = Path(tempfile.mkdtemp(prefix="writegate-habits-"))
        self.stack.callback(shutil.rmtree, work, ignore_errors=True)
        self.data = work / "data"
        self.data.mkdir()
        self.gated = gates.Gate(work, paths=[self.data], profile={
            key.replace("_", "-"): value for key, value in profile.items()})
        # One that is there before the processes are: they read its profile.
        self.gated.run("exec", "-g", self.gated.name, "--library", str(self.gated.library), "--", "true")
        return self.gated

    def puppet(self, name="puppet"):
        program = self.data.parent / name
        if not program.exists():
            shutil.copy(self.built / "puppet", program)
        puppet = Puppet(program, self.gated)
        self.stack.callback(puppet.close)
        return puppet

    def file(self, name):
        return self.data / name

    def freeze(self, command=("true",), drain="400ms"):
        return self.gated.freeze(command, limit="3s", drain=drain)

    def is_at_rest(self):
        outcome = self.freeze()
        self.assertEqual((outcome.exit, outcome.verdict), (0, "CONSISTENT"), outcome.stderr)

    def is_in_flight(self):
        outcome = self.freeze()
        self.assertEqual((outcome.exit, outcome.verdict), (75, "NOT_DRAINED"), outcome.line)

    def under_a_lock(self, *words, **profile):
        """A program that has locked a file and then done this, under this profile."""
        self.gate(**profile)
        puppet = self.puppet()
        puppet.do("lock", self.file("guard"))
        self.is_at_rest()
        puppet.do(*(self.file(w[1:]) if str(w).startswith("@") else w for w in words))
        return puppet

    def test_without_a_profile_a_change_under_a_lock_begins_a_section(self):
        puppet = self.under_a_lock("write", "@a")
        self.is_in_flight()
        puppet.do("unlock")
        self.is_at_rest()

    def test_lifetime_lock(self):
        self.under_a_lock("write", "@a", lifetime_lock="guard")
        self.is_at_rest()
        self.under_a_lock("write", "@a", lifetime_lock="guards")
        self.is_in_flight()

    def test_exclude(self):
        puppet = self.under_a_lock("write", "@a.log", exclude="*.log")
        self.is_at_rest()
        puppet.do("write", self.file("a.log.1"))
        self.is_in_flight()

    def test_parkable(self):
        puppet = self.under_a_lock("keep", "@m-D", parkable="*-D")
        puppet.do("put", 50_000)
        self.is_at_rest()
        puppet.do("rename", self.file("m-D"), self.file("m-H"))
        self.is_in_flight()

    def test_what_was_parkable_is_not_when_its_name_or_descriptor_has_become_anothers(self):
        self.gate(parkable="*-D")
        puppet = self.puppet()
        puppet.do("keep", self.file("m-D"))
        puppet.do("rename", self.file("m-D"), self.file("m-H"))
        puppet.do("lock", self.file("guard"))
        puppet.do("put", 10)
        self.is_in_flight()
        puppet.do("unlock")
        puppet.do("create", self.file("o-H"))
        puppet.do("keep", self.file("n-D"))
        puppet.do("lock", self.file("guard"))
        puppet.do("put", 10)
        self.is_at_rest()
        puppet.do("drop")
        # The same descriptor, another file, which is there already.
        puppet.do("keep", self.file("o-H"))
        puppet.do("put", 10)
        self.is_in_flight()

    def test_what_was_judged_is_judged_anew_after_a_rename(self):
        puppet = self.under_a_lock("keep", "@m-D", parkable="*-D")
        puppet.do("put", 10)
        self.is_at_rest()
        puppet.do("rename", self.file("m-D"), self.file("m-H"))
        puppet.do("relock")
        self.is_at_rest()
        puppet.do("put", 10)
        self.is_in_flight()

    def test_what_a_vfork_child_writes_to_says_nothing_of_its_parents_descriptors(self):
        # Changes of a settled program are judged with or without a lock.
        self.gate(parkable="*-D", settled="puppet")
        puppet = self.puppet()
        puppet.do("create", self.file("o-H"))
        puppet.do("keep", self.file("m-D"))
        puppet.do("lend", self.file("o-H"))
        puppet.do("lock", self.file("guard"))
        self.is_at_rest()
        puppet.do("pen")
        self.is_in_flight()

    def test_new_files(self):
        puppet = self.under_a_lock("create", "@a", new_files="puppet")
        self.is_at_rest()
        puppet.do("write", self.file("a"))
        self.is_in_flight()
        self.under_a_lock("create", "@a", new_files="puppets")
        self.is_in_flight()

    def test_record(self):
        puppet = self.under_a_lock("write", "@a", record="puppet")
        self.is_in_flight()
        puppet.do("write", self.file("guard"))
        self.is_at_rest()
        puppet.do("write", self.file("a"))
        self.is_in_flight()

    def test_settled(self):
        """All on record and synced, then a child that sleeps."""
        for lines, still in (({"settled": "puppet"}, True), ({}, False)):
            puppet = self.under_a_lock("keep", "@journal", **lines)
            puppet.do("put", 10)
            puppet.do("sync")
            puppet.do("nap", 2500)
            self.is_at_rest() if still else self.is_in_flight()

    def test_settled_is_over_with_the_childs_change(self):
        puppet = self.under_a_lock("keep", "@journal", settled="puppet")
        puppet.do("put", 10)
        puppet.do("sync")
        puppet.do("later", self.file("mail"), 100)
        deadline = time.monotonic() + 5
        while not self.file("mail").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.is_in_flight()

    def goes_on_under_its_lock(self, puppet):
        """It ends its set while the barrier is up. Who counts as without a lock is held in the middle of it, until the
        freezer has seen the lock in the kernel and admits it."""
        freeze = self.gated.start_freeze(["true"], limit="3s", drain="2s")
        time.sleep(0.4)
        puppet.do("write", self.file("b"))
        puppet.do("unlock")
        _, said = freeze.communicate()
        fields = gates.parse(said)
        # (What it does after its set may meet the barrier, and wait.)
        self.assertEqual((freeze.returncode, fields["admitted"]), (0, "0"), said)
        self.assertGreater(gates.milliseconds(fields["drain"]), 100)

    def test_a_range_beyond_all_descriptors_closes_none(self):
        """2147483648 is below 0 as an int: then every lock counted as closed."""
        puppet = self.under_a_lock("write", "@a")
        self.assertEqual(puppet.do("range", 2**31, 0), 0)
        self.goes_on_under_its_lock(puppet)

    def is_held_again(self, puppet):
        """A lock that the account has and the kernel has not delays no freeze; but who counts as in a set is not held."""
        seen = self.data.parent / "seen"
        freeze = self.gated.start_freeze(["sh", "-c", f"echo up > {seen}; sleep 0.5"])
        while not seen.exists():
            time.sleep(0.005)
        begun = time.monotonic()
        puppet.do("write", self.file("b"))
        self.assertGreater(time.monotonic() - begun, 0.3)
        _, said = freeze.communicate()
        self.assertEqual((freeze.returncode, gates.parse(said)["waiters"]), (0, "1"), said)

    def test_a_range_ends_the_locks_in_it(self):
        puppet = self.under_a_lock("write", "@a")
        self.assertEqual(puppet.do("range", 3, 0), 0)
        self.is_held_again(puppet)

    def test_what_is_replaced_loses_its_lock(self):
        puppet = self.under_a_lock("write", "@a")
        puppet.do("replace")
        self.is_held_again(puppet)

    def test_a_range_that_the_kernel_refuses_closes_none(self):
        puppet = self.under_a_lock("write", "@a")
        self.assertEqual(puppet.do("range", 3, 8), 1)
        self.goes_on_under_its_lock(puppet)

    def test_settled_child_that_is_held_has_changed_nothing(self):
        puppet = self.under_a_lock("keep", "@journal", settled="puppet")
        puppet.do("put", 10)
        puppet.do("sync")
        puppet.do("later", self.file("mail"), 800)
        # Wakes while the snapshot is taken, and waits.
        self.assertNotIn("mail", self.seen_by(before="sleep 1.2; "))

    def barrier_is_up(self, freezer):
        page = self.gated.directory / self.gated.name / "control"
        while not int.from_bytes(page.read_bytes()[32:40], "little"):
            self.assertIsNone(freezer.poll(), "it has ended, and no barrier was seen")
            time.sleep(0.002)

    def forks_during_a_drain(self, puppet):
        """It is about to fork another child when the barrier has been up for a while."""
        freeze = self.gated.start_freeze(["true"], limit="3s", drain="2s")
        # As a user, and beside other work, that takes a second: one that forks before is in flight, and stays so.
        self.barrier_is_up(freeze)
        time.sleep(0.2)
        puppet.begin("nap", 10)
        out, err = freeze.communicate(timeout=20)
        self.assertEqual(puppet.end(), 0)
        return gates.parse(err), err

    def test_settled_owner_that_is_held_before_its_next_child_is_not_let_in(self):
        puppet = self.under_a_lock("keep", "@journal", settled="puppet")
        puppet.do("put", 10)
        puppet.do("sync")
        puppet.do("nap", 10)
        time.sleep(0.3)
        # No child is left: its record may be what comes next.
        self.is_in_flight()
        said, err = self.forks_during_a_drain(puppet)
        self.assertEqual((said["verdict"], said["admitted"]), ("CONSISTENT", "0"), err)

    def test_a_child_that_becomes_another_program_at_once_is_trusted_with_nothing(self):
        """What that program changes is counted nowhere, and its parent may have to record it."""
        puppet = self.under_a_lock("keep", "@journal", settled="puppet")
        puppet.do("put", 10)
        puppet.do("sync")
        puppet.do("shell", self.file("mail"))
        self.assertTrue(self.file("mail").exists())
        said, err = self.forks_during_a_drain(puppet)
        self.assertEqual(said["verdict"], "NOT_DRAINED", err)

    def test_a_dotlock_that_lies_in_the_snapshot_is_in_the_report(self):
        """Of a program whose lock file alone is no section: made by exclusive create, or by link."""
        for make in (["create", "box.lock"], ["link", "post", "box.lock"]):
            for lines, drains in (({"settled": "puppet"}, True), ({}, False)):
                with self.subTest(make=make[0], drains=drains):
                    self.gate(**lines)
                    puppet = self.puppet()
                    self.file("post").touch()
                    puppet.do("chdir", self.data)
                    puppet.do(*make)
                    outcome = self.freeze()
                    where = str(self.file("box.lock"))
                    if not drains:
                        self.assertEqual(outcome.verdict, "NOT_DRAINED", outcome.line)
                        self.assertIn(f"{where}: section open under a lock (Dot)", outcome.stderr)
                        continue
                    self.assertEqual(outcome.verdict, "CONSISTENT", outcome.stderr)
                    found = [f for f in outcome.record["gates"][0]["findings"] if f["kind"] == "dotlock"]
                    self.assertEqual([(f["pid"], f["path"]) for f in found],
                                     [(puppet.process.pid, where)])

    def test_who_kept_the_gate_from_draining_is_named_though_it_has_ended(self):
        """The freezer comes too late to see it: stopped while the section ends, or its program."""
        for end in (lambda p: p.do("unlock"), lambda p: p.close()):
            with self.subTest():
                code, said, pid = self.stopped_while_it_ends(end)
                self.assertEqual(code, 75, said)
                self.assertRegex(said, rf"pid {pid} \(puppet\) .*guard: section open under a lock \(Flock\); ended since")

    def stopped_while_it_ends(self, end):
        """Exit code, what it said, process id. On a busy machine the signal can come after the drain: then once more."""
        for _ in range(5):
            puppet = self.under_a_lock("write", "@a")
            self.puppet()                                # somebody stays
            freezer = self.gated.start_freeze(["true"], limit="20s", drain="3s")
            self.barrier_is_up(freezer)
            closed = time.monotonic()
            time.sleep(1)                                # it looks, and sees the section
            freezer.send_signal(signal.SIGSTOP)
            in_time = time.monotonic() < closed + 2
            end(puppet)
            time.sleep(max(0, closed + 3.5 - time.monotonic()))
            freezer.send_signal(signal.SIGCONT)
            out, err = freezer.communicate(timeout=40)
            if in_time:
                return freezer.returncode, out + err, puppet.process.pid
        self.skipTest("this machine is too busy to stop a program in time")

    def test_until_wait(self):
        """Two writes without a lock, and between them work that waits for nothing."""
        for lines, torn in (({"until_wait": "puppet"}, 0), ({}, 3)):
            self.gate(**lines)
            puppet, found = self.puppet(), 0
            for n in range(3):
                a, b = self.file(f"a{n}"), self.file(f"b{n}")
                puppet.begin("both", a, b)
                while not a.exists():
                    time.sleep(0.001)
                names = self.seen_by(drain="2s")
                found += (a.name in names) != (b.name in names)
                puppet.end()
            self.assertEqual(found, torn, lines)

    def seen_by(self, before="", **options):
        """The names in the data folder while the gate is closed."""
        seen = self.data.parent / "seen"
        outcome = self.freeze(["sh", "-c", f"{before}ls {self.data} > {seen}"], **options)
        self.assertEqual((outcome.exit, outcome.verdict), (0, "CONSISTENT"), outcome.stderr)
        return seen.read_text().split()

    def test_first(self):
        """Such a program is waited for while all others still work."""
        for lines, goes_on in (({"first": "maker"}, True), ({}, False)):
            worked_s = self.works_while_a_section_lasts("maker", "other", **lines)
            self.assertTrue(worked_s > 0.5 if goes_on else worked_s < 0.4, (lines, worked_s))

    def test_where_all_are_held_first_nobody_is_before_anybody(self):
        """Nobody is waited for who would have to come to rest."""
        for names, waits in (("maker", False), ("maker rest", True)):
            self.gate(first="maker", first_wait="1000ms")
            *_, last = [self.puppet(name) for name in names.split()]
            self.never_rests(last)
            outcome = self.freeze(drain="2500ms")
            self.assertEqual(outcome.exit, 0, outcome.stderr)
            # It is held at its next write, or waited for in vain.
            self.assertEqual(outcome.drain_ms > 900, waits, outcome)

    def never_rests(self, puppet):
        puppet.begin("scribble", 9000, self.file("busy"))
        while not self.file("busy").exists():
            time.sleep(0.001)

    def test_who_hands_over_is_held_before_the_other_first_ones(self):
        for hand_over, goes_on in (("sender", True), ("nobody", False)):
            worked_s = self.works_while_a_section_lasts(
                "sender", "maker", "rest", first=["sender", "maker"], hand_over=hand_over)
            self.assertTrue(worked_s > 0.5 if goes_on else worked_s < 0.4, (hand_over, worked_s))

    def works_while_a_section_lasts(self, owner, other, *idle, **lines):
        """How long `other` still writes under a barrier that waits for the owner's section (1 s)."""
        self.gate(**lines)
        owner, other, *_ = map(self.puppet, (owner, other, *idle))
        owner.do("lock", self.file("guard"))
        owner.do("write", self.file("a"))
        mark, seen = self.file("other"), self.data.parent / "seen"
        other.begin("scribble", 2000, mark)
        threading.Timer(1.0, lambda: owner.do("unlock")).start()
        outcome = self.freeze(["sh", "-c", f"stat -c %.9Y {mark} > {seen}"], drain="2500ms")
        self.assertEqual(outcome.exit, 0, outcome.stderr)
        other.end()
        closed = outcome.barrier[0] + time.time() - time.monotonic()
        # Held at once it writes only in the openings by which a stuck drain tries to help itself.
        return float(seen.read_text()) - closed
    def with_agent(self, n, slow=""):
        """What is seen of a delivery while the gate is closed: the agent writes a, works, writes b and
        exits; its parent hears of the exit and puts down a record. `slow`: a shell between the two."""
        a, b = self.file(f"a{n}"), self.file(f"b{n}")
        agent = self.data.parent / "agent"
        if not agent.exists():
            shutil.copy(self.built / "puppet", agent)
        if slow:
            shell = self.data.parent / f"shell{n}"
            shell.write_text(f"#!/bin/sh\n{agent} $*\n{slow}\n")
            shell.chmod(0o755)
            agent = shell
        parent = self.puppet("parent")
        parent.begin("agent", agent, a, b)
        while not a.exists():
            time.sleep(0.001)
        names = self.seen_by(drain="2900ms")
        parent.end()
        return [name in names for name in (a.name, b.name, b.name + ".record")]

    def test_until_exit(self):
        """The record lies in a snapshot if what was delivered does, and nothing is half delivered."""
        self.gate(first="agent", until_exit="agent", first_wait="rest")
        for n in range(3):
            self.assertEqual(self.with_agent(n), [True] * 3)
        # Without the key it is held between its two writes, without the rest its parent.
        self.gate(first="agent", first_wait="rest")
        self.assertEqual(self.with_agent(3), [True, False, False])

    def test_first_wait_rest_waits_for_programs_outside_the_gate_too(self):
        """A shell between agent and parent, which works (a loop, no sleep) before it ends."""
        work = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
        programs = ["agent", "parent", "true"]
        self.gate(program=programs, first="agent", until_exit="agent", first_wait="rest")
        self.assertEqual(self.with_agent(0, slow=work), [True] * 3)

    def test_first_wait_rest_is_not_drained_while_somebody_works(self):
        for lines, verdict in (({"first_wait": "rest"}, "NOT_DRAINED"), ({"first_wait": "50ms"}, "CONSISTENT")):
            self.gate(first="agent", **lines)
            self.puppet("agent")
            self.never_rests(self.puppet("other"))
            outcome = self.freeze()
            self.assertEqual(outcome.verdict, verdict, outcome.stderr)
            if verdict == "NOT_DRAINED":
                self.assertIn("(other): has not been seen to wait", outcome.stderr)

    def test_a_child_that_shows_no_program_yet_is_none_of_the_others(self):
        self.gate(first="maker", first_wait="1000ms")
        self.puppet("maker").do("nap", 4000)
        self.assertLess(min(self.freeze().drain_ms for _ in range(3)), 90)

    def listener(self, family=socket.AF_UNIX, name="lmtp"):
        server = socket.socket(family, socket.SOCK_STREAM)
        self.stack.callback(server.close)
        where = str(self.data.parent / name)
        server.bind(where if family == socket.AF_UNIX else ("127.0.0.1", 0))
        server.listen()
        return ("unix", where) if family == socket.AF_UNIX else ("tcp", server.getsockname()[1])

    def sends(self, where, under_lock=True, how="send", **profile):
        self.gate(**profile)
        puppet = self.puppet()
        if under_lock:
            puppet.do("lock", self.file("guard"))
        puppet.do(*(self.listener() if where == "unix" else
                    self.listener(socket.AF_INET) if where == "tcp" else [where]))
        puppet.do(how)
        return puppet

    def test_hand_over(self):
        for where in ("unix", "tcp"):
            with self.subTest(where):
                self.sends(where)
                self.is_at_rest()
                puppet = self.sends(where, hand_over="puppet")
                self.is_in_flight()
                puppet.do("unlock")
                self.is_at_rest()

    def test_a_record_does_not_complete_what_was_handed_over(self):
        for how in ("send", "pour"):
            puppet = self.sends("unix", how=how, hand_over="puppet", record="puppet")
            puppet.do("write", self.file("guard"))
            self.is_in_flight()
            puppet.do("unlock")
            self.is_at_rest()
            puppet.do("lock", self.file("guard"))
            puppet.do("write", self.file("guard"))
            self.is_at_rest()

    def test_hand_over_is_none_without_a_lock_or_to_somebody_without_a_name(self):
        self.sends("unix", under_lock=False, hand_over="puppet")
        self.is_at_rest()
        self.sends("pair", hand_over="puppet")
        self.is_at_rest()

    def test_hand_over_to(self):
        self.sends("unix", hand_over="puppet", hand_over_to="*lmtp")
        self.is_in_flight()
        self.sends("unix", hand_over="puppet", hand_over_to=["*lmtps", "127.0.0.1:24"])
        self.is_at_rest()
        self.sends("tcp", hand_over="puppet", hand_over_to="127.0.0.1:*")
        self.is_in_flight()
        self.sends("tcp", hand_over="puppet", hand_over_to="127.0.0.1:24")
        self.is_at_rest()

    def test_a_new_hand_over_is_held(self):
        self.gate(hand_over="puppet")
        puppet = self.puppet()
        puppet.do(*self.listener())
        puppet.do("lock", self.file("guard"))
        seen = self.data.parent / "seen"
        freeze = self.gated.start_freeze(["sh", "-c", f"echo up > {seen}; sleep 0.5"])
        while not seen.exists():
            time.sleep(0.005)
        begun = time.monotonic()
        puppet.do("send")
        self.assertGreater(time.monotonic() - begun, 0.3)
        freeze.communicate()
        self.assertEqual(freeze.returncode, 0)


if __name__ == "__main__":
    sys.exit(suite.run(suite.of_main(), suite.parser(__doc__).parse_args().only))
