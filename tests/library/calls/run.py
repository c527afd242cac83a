#!/usr/bin/env python3
"""Every way of changing a file: bare, gated, and with the barrier up.

1. bare: the program's results, and that it really changes the disk (a way that changes nothing proves nothing);
2. gated, barrier down: the same results, errno, offsets, contents, metadata;
3. gated, barrier up: nothing on disk may change before the thaw, seen by observer.py; afterwards it must
   finish with the same results. The named exceptions must be seen to get past, and the freeze must say so.

    run.py [--libc glibc|musl] [--only PATTERN] [--library F] [--command F] [--bare] [--kind past --write-docs] [-v]
    run.py --filter NAME      under a system call filter: service (systemd's @system-service, kills), membarrier
                              (the same, and membarrier is refused). What dies of it bare is left out, and said so.
    run.py --spy [--programs DIR]  with the spy before and behind the library (spy.py): what is held has not been called, and one
                              call that comes in goes out as one. [--broken NAME=TIMES] breaks a hook: it must be found
    run.py --without-gate     the check of the check: nobody is held, and each way must be caught

Needs root (fanotify, owners) and a temporary directory on a disk (--work, default /var/tmp).
"""
import argparse
import fnmatch
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "hosts"))
import confine                                           # noqa: E402
import gate as gates                                     # noqa: E402
import observer                                          # noqa: E402
import past                                              # noqa: E402
import spy                                               # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
FLAGS = "-std=gnu11 -O1 -g -w -fno-builtin -U_FORTIFY_SOURCE -no-pie -pthread".split()
WHOLE_STORAGE = {"records"}          # programs whose places look different from inside (mount namespaces)
BATCH = 40
SETTLE_S = 0.8                       # how long an ungated change gets to show itself under the barrier


def build(libc, out):
    """{family: (program, its ways)}; what lies there already is taken."""
    os.makedirs(out, exist_ok=True)

    def one(source):
        target = os.path.join(out, source[:-2])
        cmd = (["gcc", *FLAGS] if libc == "glibc" else ["musl-gcc", *FLAGS]) + ["-o", target, os.path.join(HERE, source)]
        cmd += ["-ldl", "-lutil", "-lrt"] if libc == "glibc" else []
        if not os.path.exists(target):
            subprocess.run(cmd, check=True)
        listed = subprocess.run([target, "--list"], capture_output=True, text=True, check=True).stdout
        return source[:-2], (target, [tuple(x.split()) for x in listed.splitlines()])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(pool.map(one, sorted(f for f in os.listdir(HERE) if f.endswith(".c"))))


class Run:
    """One way's program in a directory of its own, up to "ready"; then go(), then finish()."""
    confine = None               # --filter: what each program does before its exec
    spy = None                   # --spy

    def __init__(self, way, top, env):
        self.way = way
        self.dir = os.path.join(top, way.id)
        os.mkdir(self.dir)
        self.counts = None
        if Run.spy and "LD_PRELOAD" in env and spy.sees(way.id):
            self.counts = tempfile.mkdtemp(prefix="counts-", dir=Run.spy.folder)
            env = Run.spy.environment(env, self.counts)
        self.text, self.code = b"", None
        self.p = subprocess.Popen([way.program, way.name, self.dir], env=env, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
                                  preexec_fn=Run.confine)
        os.set_blocking(self.p.stdout.fileno(), False)

    def read(self, seconds, until=None):
        """Collect output until a word, the end of file or the time limit."""
        end = time.monotonic() + seconds
        while True:
            if until and until in self.text:
                return True
            left = end - time.monotonic()
            if not select.select([self.p.stdout], [], [], max(left, 0))[0]:
                return False
            piece = os.read(self.p.stdout.fileno(), 65536)
            if not piece:
                return until is None or until in self.text
            self.text += piece

    def ready(self):
        self.read(20, b"ready\n")
        if b"ready\n" in self.text:
            return True
        self.finish(2)
        return False

    def over(self):
        """The act is over; of a way that ends the process, when the whole process is gone."""
        if self.way.family != "exit":
            return b"done\n" in self.text
        return os.waitid(os.P_PID, self.p.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def go(self):
        self.p.stdin.write(b"\n")
        self.p.stdin.close()

    def finish(self, seconds):
        """True when the program ended by itself. Its descendants close the pipe too."""
        ended = self.read(seconds)
        if not ended:
            os.killpg(self.p.pid, 9)
        try:
            self.code = self.p.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.p.pid, 9)
            self.code = self.p.wait()
        self.p.stdout.close()
        return ended

    def inside(self):
        """--spy: calls that came in and have not gone out."""
        return Run.spy.inside(self.counts) if self.counts else {}

    def count(self):
        """--spy: at the end each that came in has gone out, once."""
        if left := self.inside():
            said = (f"{name} {'went out ' + str(-n) + ' times more than it came in' if n < 0 else 'came in ' + str(n) + ' times and never went out'}"
                    for name, n in left.items())
            self.way.failures.append("spy: " + ", ".join(said))

    def result(self):
        """Everything that must not differ."""
        return self.text.decode(errors="replace"), self.code, observer.outcome(self.dir)


class Way:
    def __init__(self, family, program, name, kind):
        self.family, self.program, self.name, self.kind = family, program, name, kind
        self.id = family + "." + name.replace(":", ".")
        self.bare = self.skip = None
        self.failures = []
        self.seen = []                # what got past, for an exception
        self.said = ""                # and the verdict of the freeze that met it
        self.held = ""                # what came of it with --hold-ungated
        self.named = ""               # and where that was not nothing: with --hold-program


def once(way, top, env):
    """Prepare, act, finish; returns (result, changes seen by a walk) or None and a reason."""
    r = Run(way, top, env)
    if not r.ready():
        word = r.text.decode(errors="replace").strip().splitlines()
        return None, (word[-1] if word else f"exit {r.code}, no word")
    before = observer.walk(r.dir)
    r.go()
    if not r.finish(30):
        return None, "hangs"
    r.count()
    return r.result(), observer.differences(before, observer.walk(r.dir))


def compare(way, got, what):
    names = ("output", "exit code", "what is left on disk")
    for n, a, b in zip(names, way.bare, got):
        if a != b:
            if isinstance(a, dict):
                a = {k: v for k, v in a.items() if b.get(k) != v}
                b = {k: v for k, v in b.items() if way.bare[2].get(k) != v}
            way.failures.append(f"{what}: {n} differs: bare {a!r}, gated {b!r}")


# The last word of a way that was refused something (EPERM, EACCES).
REFUSED = ("errno=1", "errno=13")


def bare(way, top):
    got, word = once(way, top, os.environ)
    if Run.confine and (got is None and word == f"exit {-signal.SIGSYS}, no word" or got and got[1] == -signal.SIGSYS):
        way.skip = "the filter kills it bare"
        return
    if got is None or got[0].startswith("skip") or "\nskip" in got[0] or "skip" in str(word)[:5]:
        text = word if got is None else got[0]
        if "skip" in str(text):
            way.skip = str(text).split("skip ", 1)[1].splitlines()[0]
        elif os.geteuid() and str(word).endswith(REFUSED):
            way.skip = f"refused to who is not root ({word})"
        else:
            way.failures.append(f"bare: {word}")
        return
    way.bare = got
    if way.kind in ("holds", "past") and not word:
        if os.geteuid():
            way.skip = "changes nothing for who is not root"
            return
        way.failures.append("bare: this way changes nothing on disk, so it shows nothing")


def gated(way, top, env):
    got, word = once(way, top, env)
    if got is None:
        way.failures.append(f"gated: {word}")
    else:
        compare(way, got, "gated")


def barrier(batch, top, gate, hold=()):
    """One freeze over a batch of ways; `hold`: with these options, of an exception. Returns the thaw's exit code and verdict."""
    runs = []
    for w in batch:
        r = Run(w, top, gate.environment(w.family in WHOLE_STORAGE))
        runs.append(r)
    live = []
    for r in runs:
        if r.ready():
            live.append(r)
        else:
            r.way.failures.append("barrier: never ready: " + r.text.decode(errors="replace"))
    watch = observer.Fanotify(top)
    try:
        for r in live:
            watch.learn(r.dir, r.way.id)
        token = gate.freeze(extra=hold)
        before = {r: observer.walk(r.dir) for r in live}
        watch.drain()
        for r in live:
            r.go()
        end = time.monotonic() + SETTLE_S
        for r in live:
            r.read(max(0.0, end - time.monotonic()) if r.way.kind != "passes" else 3, b"done\n")
        time.sleep(max(0.0, end - time.monotonic()))
        after = {r: observer.walk(r.dir) for r in live}
        events = watch.drain()
        done = {r: r.over() for r in live}
        inside = {r: r.inside() for r in live}
        code, verdict = gate.thaw(token)
    except BaseException:
        for r in live:
            r.finish(0)
        raise
    finally:
        watch.close()
    for r in live:
        w, changed = r.way, observer.differences(before[r], after[r]) + events.get(r.way.id, [])
        if hold:
            w.held = "still" if changed else "nothing"
        elif w.kind == "past":
            w.seen = changed
            if not changed:
                w.failures.append("barrier: named as an exception, but nothing got past: take it off the list")
        elif changed:
            w.failures.append(f"barrier: the disk changed under it: {'; '.join(changed[:6])}")
        if w.kind == "holds" and done[r]:
            w.failures.append("barrier: the act ended before the thaw")
        if w.kind == "passes" and not done[r]:
            w.failures.append("barrier: held, although it changes nothing")
        if r.counts and w.kind == "holds" and not any(n > 0 for n in inside[r].values()):
            w.failures.append("spy: held, and no call that came in was kept from libc")
        if not r.finish(20):
            w.failures.append("barrier: did not finish within 20 s of the thaw")
        else:
            r.count()
            compare(w, r.result(), "barrier")
    return code, verdict


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--libc", default="glibc", choices=("glibc", "musl"))
    a.add_argument("--only", default="*")
    a.add_argument("--library")
    a.add_argument("--command")
    a.add_argument("--work", default="/var/tmp")
    a.add_argument("--bare", action="store_true", help="only that each way works and is seen to change the disk")
    a.add_argument("--kind", help="only ways of these kinds (way.h), with commas between")
    a.add_argument("--programs", metavar="DIR", help="the programs are built there, or lie there already")
    a.add_argument("--without-gate", action="store_true")
    a.add_argument("--write-docs", action="store_true")
    a.add_argument("--spy", action="store_true")
    a.add_argument("--broken", metavar="NAME=TIMES", help="of --spy: this hook calls so many times instead of once")
    a.add_argument("--filter", choices=("service", "membarrier"))
    a.add_argument("-v", action="store_true")
    o = a.parse_args()
    if o.filter:
        code = confine.program(confine.system_service(), ["membarrier"] if o.filter == "membarrier" else [])
        Run.confine = staticmethod(lambda: confine.install(code))
    library, command = gates.binary("libwritegate.so", o.library), gates.binary("writegate", o.command)
    work = tempfile.mkdtemp(prefix="writegate-calls-", dir=o.work)
    programs = build(o.libc, o.programs or os.path.join(work, "bin"))
    if o.spy:
        os.makedirs(os.path.join(work, "bin"), exist_ok=True)
        Run.spy = spy.Spy(os.path.join(work, "bin"), o.broken)
    ways = [Way(f, prog, n, k) for f, (prog, listed) in programs.items() for n, k in listed
            if fnmatch.fnmatch(f"{f}.{n}", o.only) or fnmatch.fnmatch(n, o.only) or f == o.only]
    ways = [w for w in ways if not o.kind or w.kind in o.kind.split(",")]
    if not ways:
        shutil.rmtree(work, ignore_errors=True)
        print(f"no way matches {o.only!r}" + f" and is of kind {o.kind}" * bool(o.kind) + ": nothing was run", file=sys.stderr)
        return 64
    gate, skipped_parts = None, []
    try:
        with ThreadPoolExecutor(4) as pool:
            top = os.path.join(work, "bare")
            os.mkdir(top)
            list(pool.map(lambda w: bare(w, top), ways))
            if o.without_gate:
                gate, command = gates.NoGate(), True
                os.mkdir(os.path.join(work, "p"))
            elif o.bare or not library:
                skipped_parts.append("gated and barrier runs: " + ("--bare" if o.bare else "no libwritegate.so"))
            else:
                protected = os.path.join(work, "p")
                os.mkdir(protected)
                gate = gates.Gate(library, command, protected)
                top = os.path.join(protected, "gated")
                os.mkdir(top)
                list(pool.map(lambda w: w.bare and gated(w, top, gate.environment(w.family in WHOLE_STORAGE)), ways))
        if gate and not command:
            skipped_parts.append("barrier runs: no writegate command")
        elif gate and os.geteuid():
            skipped_parts.append(NO_ROUNDS)
        elif gate:
            rounds(ways, os.path.join(work, "p"), gate)
    finally:
        if gate:
            gate.close()
        shutil.rmtree(work, ignore_errors=True)
    if o.without_gate:
        return caught(ways)
    return report(ways, skipped_parts, o)


# Why there are none as a user.
NO_ROUNDS = "barrier runs: to watch what changes meanwhile (fanotify) needs root"


def rounds(ways, protected, gate):
    """Barrier runs: the ordinary ways in batches, each exception in a freeze of its own."""
    plain = [w for w in ways if w.bare and w.kind in ("holds", "passes", "either")]
    todo = [plain[i:i + BATCH] for i in range(0, len(plain), BATCH)]
    todo += [[w] for w in ways if w.bare and w.kind == "past"]
    count = 0
    while todo:
        batch = todo.pop(0)
        top = os.path.join(protected, f"barrier{count}")
        count += 1
        os.mkdir(top)
        try:
            code, verdict = barrier(batch, top, gate)
        except RuntimeError as e:
            code, verdict = -1, {"text": str(e)}
        shutil.rmtree(top, ignore_errors=True)
        if batch[0].kind == "past":
            batch[0].said = f"{verdict.get('verdict')}, coverage {verdict.get('coverage')}"
            if verdict.get("verdict") == "CONSISTENT" and verdict.get("coverage") == "full":
                # A change between the drain and the arming of the watch lies before any
                # snapshot, and is rightly not reported: such a run shows nothing.
                batch[0].runs = getattr(batch[0], "runs", 0) + 1
                if batch[0].runs < 3:
                    print(f"note: {batch[0].id}: not seen in the window, run {batch[0].runs}; again")
                    batch[0].failures.clear()
                    todo.insert(0, batch)
                    continue
                batch[0].failures.append(f"past: got past, and the freeze does not say so: {verdict['text']}")
            held_at_rest(batch[0], os.path.join(protected, f"held{count}"), gate)
        elif verdict.get("verdict") != "CONSISTENT" or code:
            # The verdict is one for all: halve the batch until it names the way that spoils it.
            if len(batch) == 1:
                batch[0].failures.append(f"verdict: thaw exit {code}: {verdict['text']}")
            else:
                todo[0:0] = [batch[:len(batch) // 2], batch[len(batch) // 2:]]
                whole = f"exit {code}: {verdict['text']}"
                if not any(w.failures for w in batch):
                    print(f"note: batch {batch[0].id} to {batch[-1].id}: {whole}")


def held_at_rest(way, top, gate):
    """The same once more with --hold-ungated, and where that is not enough with the program's name: a change that is still
    seen must be in the verdict."""
    ungated = held_by(("--hold-ungated",), way, top, gate)
    if not ungated.startswith("nothing"):
        way.named = held_by(("--hold-program", way.program), way, top, gate)
    way.held = ungated


def held_by(options, way, top, gate):
    os.mkdir(top)
    try:
        code, verdict = barrier([way], top, gate, hold=options)
    except RuntimeError as e:
        code, verdict = -1, {"text": str(e)}
    shutil.rmtree(top, ignore_errors=True)
    said = f"{verdict.get('verdict')}, coverage {verdict.get('coverage')}"
    if way.held != "nothing" and verdict.get("verdict") == "CONSISTENT" and verdict.get("coverage") == "full":
        way.failures.append(f"past, {options[0]}: {way.held}, and the freeze does not say so: exit {code}: {verdict['text']}")
    return {"nothing": f"nothing; {said}", "still": f"the same; {said}"}.get(way.held, f"not frozen; {said}")


def caught(ways):
    """--without-gate: whatever was to be held must have been seen on disk under the "barrier"."""
    tried = [w for w in ways if w.bare and w.kind == "holds"]
    missed = [w for w in tried if not any("disk changed" in f for f in w.failures)]
    for w in missed:
        print(f"FAIL {w.id}: nobody was held, and the observer saw nothing")
    print(f"{len(tried) - len(missed)} passed, {len(missed)} failed, {len(ways) - len(tried)} skipped")
    return 1 if missed else 0


def report(ways, skipped_parts, o):
    failed = [w for w in ways if w.failures]
    skipped = [w for w in ways if w.skip and not w.failures]
    for w in ways:
        if w.failures:
            print(f"FAIL {w.id} ({w.kind})")
            for f in dict.fromkeys(w.failures):
                print("     " + f)
        elif w.skip:
            print(f"skip {w.id}: {w.skip}")
        elif o.v:
            print(f"ok   {w.id} ({w.kind})" + (f" past: {'; '.join(w.seen[:3])}" if w.seen else ""))
    for s in skipped_parts:
        print(f"skip {s}")
    exceptions = [w for w in ways if w.kind == "past"]
    if o.write_docs and not skipped_parts and not any(w.failures for w in exceptions):
        past.write(exceptions, os.path.join(gates.ROOT, "docs", "admin", "gets-past.md"))
    count = len(skipped) + len(skipped_parts)
    if o.spy:
        never = Run.spy.never()
        print(f"spy: {len(Run.spy.came_in)} calls of the table were made and counted; not made: {len(never)}: {' '.join(never)}")
    print(f"{len(ways) - len(failed) - len(skipped)} passed, {len(failed)} failed, {count} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
