"""The witness's own faults, planted: it says them, and passes none. And its rules, on records made by hand.

    PYTHONPATH=tests python3 -m unittest witness.test_witness
"""
import json
import os
import random
import struct
import tempfile
import unittest
from pathlib import Path

from witness import events, freezes, raw, verdict

PAGE, DEV, MAIL, LOCK = 4096, 7 << 20 | 1, 12, 99
MS = 1_000_000
MAX = (1 << 63) - 1


class Record:
    """A record on disk, event by event, as the kernel would have left it."""

    def __init__(self, folder):
        self.folder, self.now, self.buffer = Path(folder), 10 ** 9, []
        (self.folder / "freezes").mkdir()
        self.formats, self.meta_changes = {}, {}
        number = 100
        for event, fields in [*events.COMMON.items(), *events.FILE_SYSTEMS["ext4"].items()]:
            number += 1
            at, layout = 8, {}
            for name in fields:
                size, kind = {"args": (48, "plain"), "filename": (4, "data_loc"), "buf": (0, "plain")}.get(name, (8, "plain"))
                layout[name] = [at, size, 1 if name in ("ret", "fl_end", "fl_start") and size == 8 else 0, kind]
                at += size
            self.formats[event] = [number, layout]
        self.events, self.lost = [], None
        self.clock()

    def add(self, task, event, *values, at=None):
        self.now += MS
        number, layout = self.formats[event]
        body = struct.pack("<HBBi", number, 0, 0, task)
        tail = b""
        for (name, (_, size, signed, kind)), value in zip(layout.items(), values, strict=True):
            if kind == "data_loc":
                text = value + b"\0"
                body += struct.pack("<I", (8 + sum(f[1] for f in layout.values())) | len(text) << 16)
                tail += text
            elif size == 48:
                body += struct.pack("<6Q", *value, *[0] * (6 - len(value)))
            elif size == 0:
                body += value + b"\0"
            else:
                body += struct.pack("<q" if signed else "<Q", value)
        self.events.append((at or self.now, body + tail))
        return self

    def call(self, task, number, *args, ret=0, inside=()):
        self.add(task, "raw_syscalls/sys_enter", number, args)
        for one in inside:
            self.add(task, *one)
        return self.add(task, "raw_syscalls/sys_exit", number, ret)

    def mark(self, text, at=None):
        return self.add(0, "ftrace/print", text, at=at)

    def clock(self, jump=0):
        return self.mark(b"witness clock %d" % (self.now + MS + jump))

    def open(self, task, fd, flags=os.O_RDWR):
        return self.call(task, 257, 0, 0, flags, ret=fd)

    def flock(self, task, fd, kind=1, owner=0xf00, ret=0):
        return self.call(task, events.FLOCK, fd, inside=[
            ("filelock/flock_lock_inode", DEV, LOCK, owner, 2, kind, ret)])

    def posix(self, task, fd, kind=1, owner=0xabc, first=0, last=MAX):
        return self.call(task, events.FCNTL, fd, 7, inside=[
            ("filelock/posix_lock_inode", DEV, LOCK, owner, 1, kind, first, last, 0)])

    def write(self, task, ino=MAIL):
        return self.call(task, 1, 5, ret=1, inside=[("ext4/ext4_da_write_end", DEV, ino)])

    def fork(self, parent, child, flags=0):
        return self.add(parent, "task/task_newtask", child, flags)

    def ends(self, task):
        return self.add(task, "sched/sched_process_exit", task)

    def freeze(self, number=0, verdict="CONSISTENT", code=0, locks="", profile="", inside=(), exclude="", names=b"", coverage="full"):
        closed = self.now
        drained = self.now + MS
        self.now += 2 * MS
        self.mark(b"witness begin %d" % number).mark(b"witness locks %d" % number)
        for action in inside:
            action()
        self.mark(b"witness end %d" % number)
        opened = self.now = self.now + MS
        gate = {k: {"monotonic_ns": v} for k, v in (("closed", closed), ("drained", drained), ("opened", opened))}
        folder = self.folder / "freezes"
        (folder / f"{number}.asked").touch()
        (folder / f"{number}.locks").write_text(locks)
        (folder / f"{number}.names").write_bytes(names)
        (folder / f"{number}.json").write_text(json.dumps(
            {"number": number, "exit": code, "options": ["-t", "50ms"], "profile": profile, "exclude": exclude,
             "report": {"verdict": verdict, "gates": [dict(gate, coverage=coverage)]}}))
        return self

    def finish(self, **meta):
        self.clock()
        pages, page, stamp, before = [], b"", None, None
        for at, body in self.events:
            body += b"\0" * (-len(body) % 4)
            if stamp is None or len(page) + len(body) + 20 > PAGE - 16:
                if stamp is not None:
                    pages.append(struct.pack("<QQ", stamp, len(page)) + page.ljust(PAGE - 16, b"\0"))
                page, stamp, before = b"", at, at
            delta = at - before
            if delta >= 1 << 27 or delta < 0:
                page += struct.pack("<II", 30 | (delta & (1 << 27) - 1) << 5, (delta >> 27) & 0xffffffff) if delta >= 0 else \
                    struct.pack("<II", 31 | (at & (1 << 27) - 1) << 5, (at >> 27) & 0xffffffff)
                delta = 0
            page += struct.pack("<II", delta << 5, len(body) + 4) + body
            before = at
        commit = len(page) | (raw.MISSED if self.lost else 0)
        pages.append(struct.pack("<QQ", stamp, commit) + page.ljust(PAGE - 16, b"\0"))
        (self.folder / "cpu0.raw").write_bytes(b"".join(pages))
        (self.folder / "names.json").write_text(json.dumps(self.meta_changes.pop("names", {})))
        kept = {"format": 1, "clock": "mono", "machine": "x86_64", "kernel": "test", "page": PAGE, "cpus": [0], "family": 10,
                "formats": self.formats, "touch": [1000, 2000], "protected": [{"kind": "ext4", "dev": DEV, "path": "/p"}],
                "statistics": {"0": {"read events": len(self.events), "overrun": 0, "dropped events": 0}}, "ended": self.now}
        kept.update(self.meta_changes, **meta)
        (self.folder / "meta.json").write_text(json.dumps({k: v for k, v in kept.items() if v is not None}))
        return verdict.judge(self.folder)


class Planted(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.r = Record(self.folder.name)

    def said(self, words, **meta):
        result = self.r.finish(**meta)
        self.assertEqual(result["exit"], verdict.INSUFFICIENT, result)
        self.assertIn(words, " | ".join(result["faults"]))

    def cut(self, **freeze):
        """One set under one lock with a freeze in its middle."""
        self.r.open(10, 5).flock(10, 5).write(10)
        self.r.freeze(locks=f"1: FLOCK  ADVISORY  WRITE 10 07:01:{LOCK} 0 EOF\n", **freeze)
        return self.r.write(10).flock(10, 5, kind=2).finish()

    # The rules.

    def test_a_set_cut_in_two(self):
        result = self.cut()
        self.assertEqual((result["exit"], len(result["cuts"]), result["faults"]), (verdict.WRONG, 1, []))

    def test_a_freeze_that_says_not_drained_is_not_refuted(self):
        result = self.cut(verdict="NOT_DRAINED", code=75)
        self.assertEqual((result["exit"], result["cuts"], result["faults"]), (verdict.CLEAN, [], []))

    def test_a_set_before_and_a_set_after(self):
        self.r.open(10, 5).flock(10, 5).write(10).write(10).flock(10, 5, kind=2).freeze()
        result = self.r.flock(10, 5).write(10).flock(10, 5, kind=2).finish()
        self.assertEqual((result["exit"], result["faults"], result["sections"]), (verdict.CLEAN, [], 2))

    def test_changed_while_closed(self):
        self.r.open(10, 5).freeze(inside=[lambda: self.r.write(10)])
        result = self.r.finish()
        self.assertEqual((result["exit"], list(result["changed_while_closed"])), (verdict.WRONG, ["0"]))

    def test_a_store_through_a_mapping_while_closed(self):
        store = ["ext4/ext4_mark_inode_dirty", DEV, MAIL, 1500]
        self.r.freeze(inside=[lambda: self.r.add(10, *store)]).freeze(1, coverage="partial", inside=[lambda: self.r.add(10, *store)])
        result = self.r.finish()
        self.assertEqual((result["exit"], list(result["changed_while_closed"]), result["exempt"]["mapping"]), (verdict.WRONG, ["0"], 1))

    def test_a_lock_passed_on_by_fork(self):
        self.r.open(10, 5).flock(10, 5).write(10).fork(10, 11).ends(10).freeze()
        result = self.r.write(11).finish()
        self.assertIn("a lock", " ".join(result["cuts"] + ["a lock"]))
        self.assertEqual(len(result["cuts"]), 1)

    def test_a_descriptor_closed_by_exec_passes_nothing_on(self):
        self.r.open(10, 5, os.O_RDWR | os.O_CLOEXEC).flock(10, 5).write(10).fork(10, 11)
        self.r.add(11, "sched/sched_process_exec", b"/bin/x", 11, 11).write(11).freeze()
        self.assertEqual(self.r.write(11).finish()["cuts"], [])

    def test_hand_over_hand(self):
        other = ("filelock/flock_lock_inode", DEV, LOCK + 1, 0xf01, 2, 1, 0)
        self.r.open(10, 5).open(10, 6).flock(10, 5).write(10).call(10, events.FLOCK, 6, inside=[other]).flock(10, 5, kind=2).freeze()
        self.assertEqual(len(self.r.write(10).finish()["cuts"]), 1)

    def test_read_locks_guard_nothing(self):
        self.r.open(10, 5, os.O_RDONLY).flock(10, 5, kind=0).write(10).freeze()
        self.assertEqual(self.r.write(10).finish()["cuts"], [])

    def test_a_shared_flock_of_a_writer_guards(self):
        self.r.open(10, 5).flock(10, 5, kind=0).write(10).freeze()
        self.assertEqual(len(self.r.write(10).finish()["cuts"]), 1)

    def test_part_of_a_range_unlocked(self):
        self.r.open(10, 5).posix(10, 5).write(10).posix(10, 5, kind=2, last=9).freeze()
        self.assertEqual(len(self.r.write(10).finish()["cuts"]), 1)

    def test_all_of_a_range_unlocked(self):
        self.r.open(10, 5).posix(10, 5).write(10).posix(10, 5, kind=2).posix(10, 5).freeze()
        self.assertEqual(self.r.write(10).finish()["cuts"], [])

    def test_flock_and_ofd_on_one_description_are_two_locks(self):
        ofd = ("filelock/posix_lock_inode", DEV, LOCK, 0xf00, 1 | 1024)
        self.r.open(10, 5).flock(10, 5).write(10).call(10, events.FCNTL, 5, 38, inside=[(*ofd, 1, 0, MAX, 0)])
        self.r.call(10, events.FCNTL, 5, 38, inside=[(*ofd, 2, 0, MAX, 0)])
        self.r.freeze(locks=f"1: FLOCK  ADVISORY  WRITE 10 07:01:{LOCK} 0 EOF\n")
        result = self.r.write(10).flock(10, 5, kind=2).finish()
        self.assertEqual((len(result["cuts"]), result["faults"]), (1, []))

    def test_a_refused_conversion_gives_the_old_lock_up(self):
        self.r.open(10, 5).flock(10, 5, kind=1).write(10).flock(10, 5, kind=0, ret=-11).freeze()
        self.assertEqual(self.r.write(10).finish()["cuts"], [])

    def test_held_too_long(self):
        self.r.freeze(inside=[lambda: self.r.add(10, "raw_syscalls/sys_enter", 202, (0,))])
        self.r.now += 2_000 * MS
        self.r.clock().add(10, "raw_syscalls/sys_exit", 202, 0)
        result = self.r.write(10).finish()
        self.assertEqual((result["exit"], len(result["held_too_long"]), result["faults"]), (verdict.WRONG, 1, []))

    def test_exemptions_are_counted_by_rule(self):
        for rule, profile, names in (("exclude", "exclude = */log", b"12 /p/log\0"), ("parkable", "parkable = */box", b"12 /p/box\0"),
                                     ("settled", "settled = *command*", b"")):
            with self.subTest(rule), tempfile.TemporaryDirectory() as folder:
                self.r = Record(folder)
                result = self.cut(profile=profile, names=names)
                self.assertEqual((result["exit"], result["exempt"][rule], result["cuts"]), (verdict.CLEAN, 1, []))

    def test_a_lock_for_life(self):
        self.r.meta_changes["names"] = {f"{DEV}:{LOCK}": {"path": "/run/master.pid", "pid_file": True}}
        self.assertEqual(self.cut()["exempt"]["lifetime-lock"], 1)

    def test_a_name_that_is_no_text(self):
        result = self.cut(profile="exclude = *.log", names=b"12 /p/\xff\xfe.log\0")
        self.assertEqual((result["exit"], result["exempt"]["exclude"]), (verdict.CLEAN, 1))
        verdict.render(result).encode("utf-8", "surrogateescape")

    # Its own faults.

    def test_a_lost_event(self):
        self.r.lost = True
        self.said("the kernel lost some events")

    def test_an_event_that_the_kernel_dropped(self):
        self.said("lost 3 events (dropped events)", statistics={"0": {"dropped events": 3}})

    def test_fewer_events_than_the_kernel_gave(self):
        self.said("the kernel gave 999 events", statistics={"0": {"read events": 999}})

    def test_a_clock_that_jumps(self):
        self.r.clock(jump=-5_000 * MS)
        self.said("a clock that jumps")

    def test_a_clock_that_goes_back(self):
        self.r.add(10, "sched/sched_process_exit", 10, at=5)
        self.said("its clock went back")

    def test_a_lock_seen_too_late(self):
        self.r.open(10, 5).freeze(locks=f"1: FLOCK  ADVISORY  WRITE 10 07:01:{LOCK} 0 EOF\n")
        self.said("a lock seen too late")

    def test_a_lock_that_the_kernel_has_not(self):
        self.r.open(10, 5).flock(10, 5).freeze(locks="")
        self.said("the record has a flock lock")

    def test_a_process_born_unseen(self):
        self.r.write(77)
        self.said("a process whose birth was not seen: 77")

    def test_a_process_id_used_twice(self):
        self.r.fork(10, 11).fork(10, 11)
        self.said("a process id used twice: 11")

    def test_a_process_id_used_again_after_its_end(self):
        result = self.r.fork(10, 11).ends(11).fork(10, 11).write(11).finish()
        self.assertEqual((result["exit"], result["faults"]), (verdict.CLEAN, []))

    def test_a_file_system_below_what_is_protected(self):
        self.r.freeze()
        (self.r.folder / "freezes/0.mounts").write_text("30 20 0:28 / /p/inner rw - tmpfs tmpfs rw\n")
        self.said("not watched, a file system of its own")

    def test_a_record_without_its_end(self):
        self.said("the record is cut", ended=None)

    def test_a_record_cut_inside_a_page(self):
        self.r.write(10).finish()
        file = self.r.folder / "cpu0.raw"
        file.write_bytes(file.read_bytes()[:-7])
        self.assertIn("cut inside a page", " ".join(verdict.judge(self.r.folder)["faults"]))

    def test_a_record_of_a_processor_that_is_gone(self):
        self.r.finish()
        (self.r.folder / "cpu0.raw").unlink()
        self.assertEqual(verdict.judge(self.r.folder)["exit"], verdict.INSUFFICIENT)

    def test_a_description_that_is_no_json(self):
        self.r.finish()
        (self.r.folder / "meta.json").write_text("{")
        self.assertEqual(verdict.judge(self.r.folder)["exit"], verdict.INSUFFICIENT)

    def test_another_kernel(self):
        del self.r.formats["filelock/flock_lock_inode"]
        self.said("another kernel")

    def test_another_clock(self):
        self.said("another clock", clock="boot")

    def test_a_freeze_without_a_word(self):
        (self.r.folder / "freezes/3.asked").touch()
        self.said("a freeze without a word: number 3")

    def test_a_freeze_whose_instant_is_missing(self):
        self.r.freeze()
        self.r.events = [e for e in self.r.events if b"witness begin" not in e[1] and b"witness end" not in e[1]]
        self.said("its instant is not in the record")

    def test_the_names_of_freezes_are_bytes(self):
        (self.r.folder / "freezes/0.names").write_bytes(b"5 /p/\xff\0")
        freeze = freezes.Freeze(0, 0, {}, [], folder=self.r.folder / "freezes")
        self.assertEqual(freeze.names(), {5: ["/p/\udcff"]})


class Damaged(unittest.TestCase):
    """Any bytes at all, in any file of a record: judged or not judged, never a crash, and what is cut short is no pass.

    WITNESS_SEEDS=N tries so many; a seed makes the same damage again."""
    SEEDS = int(os.environ.get("WITNESS_SEEDS", "300"))

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        r = Record(self.folder)
        r.open(10, 5).flock(10, 5).write(10).fork(10, 11).open(11, 7).posix(11, 7).posix(11, 7, kind=2)
        r.add(11, "sched/sched_process_exec", b"/bin/x", 11, 11).write(11)
        r.freeze(locks=f"1: FLOCK  ADVISORY  WRITE 10 07:01:{LOCK} 0 EOF\n", names=b"12 /p/log\0", profile="exclude = */x")
        r.write(11).ends(11).write(10)
        result = r.flock(10, 5, kind=2).freeze(1, locks="").finish()
        self.assertEqual((result["exit"], result["faults"]), (verdict.WRONG, []))
        self.files = {p: p.read_bytes() for p in sorted(self.folder.rglob("*")) if p.is_file() and p.stat().st_size}

    def judged(self, file, content, what):
        file.write_bytes(content)
        try:
            return verdict.of_record(self.folder)["exit"]
        except Exception as why:                        # which `judge` says, and takes for none
            self.assertEqual(verdict.judge(self.folder)["exit"], verdict.INSUFFICIENT, f"{what}: {why!r}")
            return verdict.INSUFFICIENT
        finally:
            file.write_bytes(self.files[file])

    def test_cut_short(self):
        for file, content in self.files.items():
            for length in sorted({0, 1, len(content) // 3, len(content) // 2, len(content) - 1}):
                with self.subTest(file=file.name, length=length):
                    self.assertNotEqual(self.judged(file, content[:length], file.name), verdict.CLEAN)

    def test_any_bytes(self):
        seen = set()
        for seed in range(self.SEEDS):
            rng = random.Random(seed)
            file = rng.choice(list(self.files))
            content = bytearray(self.files[file])
            for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
                at = rng.randrange(len(content) + 1)
                content[at:at + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
            seen.add(self.judged(file, content, f"seed {seed}, {file.name}"))
        self.assertLessEqual({verdict.WRONG, verdict.INSUFFICIENT}, seen, "the damage is no damage")


if __name__ == "__main__":
    unittest.main()
