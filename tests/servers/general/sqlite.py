"""SQLite: several databases, WAL and rollback journal, and one invariant across all of them.

Workers move money between databases: two commits in two databases under one flock, and in
between commits of their own in one database. So the sum over all databases is constant at
every moment at which nobody holds the lock, and each database is sound by its own check.
"""
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

NAME, DATABASES, START = "sqlite", 4, 1_000
# The index beside a write-ahead log (-shm) is mapped shared and writable; SQLite makes it anew from the log.
FREEZE_OPTIONS = "--accept", "partial"


def unavailable():
    return None


def paths(trees):
    """Databases take turns on the trees; even ones use WAL, odd ones a rollback journal."""
    return [Path(trees[n % len(trees)]) / f"bank{n}.db" for n in range(DATABASES)]


def prepare(trees):
    for n, path in enumerate(paths(trees)):
        db = sqlite3.connect(path)
        db.execute(f"pragma journal_mode={'wal' if n % 2 == 0 else 'delete'}")
        db.execute("create table account (id integer primary key, balance integer)")
        db.execute("create table entry (id integer primary key, account integer, amount integer, note text)")
        db.executemany("insert into account values (?, ?)", [(i, START) for i in range(5)])
        db.commit()
        db.close()


def workers(trees, work):
    return [[sys.executable, __file__, str(n), str(locks(trees)[0]), *map(str, trees)]
            for n in range(3)]


def work(number, lock, trees):
    import fcntl
    rng = random.Random(number)
    dbs = [sqlite3.connect(p, timeout=30, isolation_level=None) for p in paths(trees)]
    with open(lock, "a") as guard:
        while True:
            one, two = rng.sample(range(DATABASES), 2)
            amount = rng.randint(1, 50)
            fcntl.flock(guard, fcntl.LOCK_EX)
            for db, sum_ in ((dbs[one], -amount), (dbs[two], amount)):
                transfer(db, rng.randrange(5), sum_)
            fcntl.flock(guard, fcntl.LOCK_UN)
            db = dbs[rng.randrange(DATABASES)]          # within one database: no lock of ours
            db.execute("begin immediate")
            db.execute("delete from entry where id <= (select max(id) - 200 from entry)")
            db.execute("update account set balance = balance + 7 where id = 0")
            db.execute("update account set balance = balance - 7 where id = 1")
            db.execute("commit")
            time.sleep(rng.uniform(0, 0.01))


def transfer(db, account, amount):
    db.execute("begin immediate")
    db.execute("update account set balance = balance + ? where id = ?", (amount, account))
    db.execute("insert into entry (account, amount, note) values (?, ?, ?)", (account, amount, "x" * 300))
    db.execute("commit")


def locks(trees):
    return [Path(trees[0]) / "bank.lock"]


def check(trees):
    """Sentences about what is wrong in these trees (read on a copy: SQLite recovers as it opens)."""
    wrong, total = [], 0
    with tempfile.TemporaryDirectory() as copy:
        for path in paths(trees):
            for file in path.parent.glob(path.name + "*"):
                shutil.copy(file, copy)
                if file.name.endswith("-journal") and file.stat().st_size and any(file.read_bytes()[:8]):
                    wrong.append(f"{path.name}: a hot journal: a transaction was cut")
            try:
                db = sqlite3.connect(Path(copy) / path.name)
                sound = [row[0] for row in db.execute("pragma integrity_check")]
                total += db.execute("select sum(balance) from account").fetchone()[0]
                db.close()
            except sqlite3.Error as broken:
                sound = [str(broken)]
            if sound != ["ok"]:
                wrong.append(f"{path.name}: {sound[:3]}")
    if total != DATABASES * 5 * START:
        wrong.append(f"the databases hold {total} in all, not {DATABASES * 5 * START}")
    return wrong


if __name__ == "__main__":
    work(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
