"""One server under load with freezes: what `servers` records. `python3 -m witness.sessions SERVER PLACE COUNT SEED`.

The rigs are those of tests/servers; only their volume is another: plain folders on the recorded ext4 file system,
and the snapshot command does nothing, since what is judged is the record.
"""
import contextlib
import importlib
import random
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "servers")]

MTAS = ("postfix", "exim", "opensmtpd", "sendmail", "courier")
DOVECOT = ("maildir", "mbox", "sdbox", "mdbox")
SESSIONS = ("cyrus", *(f"dovecot-{f}" for f in DOVECOT), *MTAS)
EMPTY_EVERY = 25                                        # freezes between two times that the store is emptied


def freezes(gate, count, rng, between=None):
    """`count` freezes at random moments; what each said."""
    for n in range(count):
        time.sleep(rng.uniform(0.01, 0.15))
        outcome = gate.freeze(["sleep", "0.005"], limit="5s", drain="3s")
        if not outcome.consistent:
            print(f"{n}: {outcome.line}\n{outcome.stderr.strip()}", flush=True)
        if between and n % EMPTY_EVERY == EMPTY_EVERY - 1:
            between()


def cyrus(work, count, rng):
    from cyrus import rig
    with rig.Rig(work, gated=True, seed=rng.randrange(1000)) as r:
        freezes(r.gate, count, rng)


def dovecot(form):
    def session(work, count, rng):
        from dovecot import rig
        with rig.Rig(work, form, gated=True, seed=rng.randrange(1000)) as r:
            freezes(r.gate, count, rng)
    return session


def mta(name):
    def session(work, count, rng):
        from lab import load
        from mta import clients, trial
        evaluate = importlib.import_module(f"{name}.evaluate")
        options = trial.Options(profile=str(evaluate.PROFILE))
        with trial.Trial(evaluate.SERVER, options, work / "trial") as t:
            shared = {"port": t.running.port, "run": f"w{rng.randrange(10 ** 6)}", "most": 3,
                      "recipients": list(evaluate.SERVER.recipients), "sender": evaluate.SERVER.sender}
            every = [clients.Smtp(n, seed=rng.randrange(10 ** 6), **shared) for n in range(6)]
            with load.Load(every, log=work / "operations.jsonl") as loading:
                def empty():
                    loading.pause()
                    t.quiesce()
                    if evaluate.SERVER.empties:
                        t._empty_store()
                    loading.resume()
                freezes(t.gate, count, rng, empty)
    return session


def main(name, place, count, seed):
    from lab import procs, volume
    from .volumes import Folders
    Folders.place = place
    volume.Volume = Folders
    rng = random.Random(int(seed))
    session = {"cyrus": cyrus, **{f"dovecot-{f}": dovecot(f) for f in DOVECOT},
               **{m: mta(m) for m in MTAS}}[name]
    with procs.workspace(f"witness-{name}") as work, contextlib.redirect_stdout(sys.stderr):
        session(work, int(count), rng)


if __name__ == "__main__":
    main(*sys.argv[1:])
