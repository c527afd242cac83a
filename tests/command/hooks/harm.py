"""What no hook that wraps a command may do: take a bad run for good, or lose the last snapshot that was good.

Each hook has one good run and then every bad one of bad.wrapped, with the tool's real program where it exists.
"""
import re
import shutil
import subprocess
import time

import bad
from rig import BIN, ROOT, need, run, whole

AROUND = "around/writegate-around"
SNAPSHOT = "snapshot/writegate-snapshot"
TRUE_WORDS = "untouched", "nothing is deleted"


def every_bad_run(rig, call, kept, before=None, codes=None, only=None):
    """`kept()`: what is there after the good run and must be there, the same, after each bad one.

    `codes`: what the hook makes of writegate's code; None: anything but 0. `only`: the names of some, for slow tools.
    """
    good = kept()
    assert good, "no good run: this shows nothing"
    for name, code, environment in bad.wrapped(rig, only):
        done = call(**{**(before or {}), **environment})
        code = (codes or {}).get(code, code)
        assert (done.returncode == code) if code else done.returncode, \
            f"{name}: {done.returncode}, not {code}: {done.stdout[-600:]}{done.stderr[-1500:]}"
        assert kept() == good, f"{name}: {good} has become {kept()}: {done.stderr}"
        yield name, done


def says_what_is_true(name, done, *of_the_good):
    """It tells nobody that something was made when nothing was, and names no good snapshot for removal."""
    assert any(word in done.stderr for word in TRUE_WORDS) or code_only(name), f"{name}: {done.stderr}"
    for path in of_the_good:
        # As a whole name: btrbk calls a second snapshot of the same second NAME_1.
        named = re.search(rf"(?<![\w.+-]){re.escape(str(path))}(?![\w.+-])", done.stderr)
        assert not named, f"{name} names the good one, {path}: {done.stderr}"
    if name in ("the server is stopped", "does not drain"):
        assert "made just now" not in done.stderr and "no snapshot was made" in done.stderr, f"{name}: {done.stderr}"


def code_only(name):
    return name == "a policy that is not for hooks"


def btrfs(rig):
    return bad.stand_in(rig, "btrfs", shutil.which("btrfs"), "*subvolume\\ snapshot*")


def test_around_in_every_bad_run(rig):
    before, good = btrfs(rig), rig.volume / "good"
    rig.write()
    number = iter(range(100))
    call = lambda **env: rig.hook(AROUND, "btrfs", "subvolume", "snapshot", "-r", rig.tree,  # noqa: E731
                                  rig.volume / f"new{next(number)}", check=False, **env)
    rig.hook(AROUND, "btrfs", "subvolume", "snapshot", "-r", rig.tree, good)
    whole(good)
    for name, done in every_bad_run(rig, call, lambda: good.exists() and good.stat().st_ino, before, {75: 1}):
        says_what_is_true(name, done, good)
        if name in ("late", "the first of two gates, forged words"):
            assert "a snapshot was made just now" in done.stderr, done.stderr
        if name == "the tool fails":
            assert "the snapshot command failed" in done.stderr, done.stderr
    assert not list(rig.state.glob("around.*")), "left in /run"


def test_snapshot_removes_its_own_only(rig):
    before, at = btrfs(rig), rig.volume / "snap"
    rig.write()
    rig.hook(SNAPSHOT, "create", rig.tree, at)
    whole(at)
    identity = lambda: run("btrfs", "inspect-internal", "rootid", at).stdout  # noqa: E731
    create = lambda **env: rig.hook(SNAPSHOT, "create", rig.tree, at, check=False, **env)  # noqa: E731
    # Another run, while this one's snapshot is being read.
    first = identity()
    done = create()
    assert done.returncode == 1 and "untouched" in done.stderr and identity() == first, done.stderr
    rig.hook(SNAPSHOT, "delete", at)
    assert not at.exists()
    # Somebody else's at that place: neither `create` nor `delete` takes it for its own.
    bare = lambda: run("btrfs", "-q", "subvolume", "snapshot", "-r", rig.tree, at)  # noqa: E731
    bare()
    for words in ["create", rig.tree, at], ["delete", at]:
        done = rig.hook(SNAPSHOT, *words, check=False)
        assert done.returncode == 1 and "untouched" in done.stderr and at.exists(), (words, done.stderr)
    bad.delete(at)
    rig.hook(SNAPSHOT, "create", rig.tree, at)
    bad.delete(at)
    bare()
    done = rig.hook(SNAPSHOT, "delete", at, check=False)
    assert done.returncode == 1 and at.exists(), f"another snapshot at that place was removed: {done.stderr}"
    bad.delete(at)
    rig.hook(SNAPSHOT, "delete", at)
    # It comes into being in another's hands after `create` has looked.
    done = create(**before, BEFORE=f"{shutil.which('btrfs')} -q subvolume snapshot -r {rig.tree} {at}")
    assert done.returncode and at.exists(), f"another's was removed: {done.stderr}"
    bad.delete(at)

    kept = rig.volume / "kept"
    run("btrfs", "-q", "subvolume", "snapshot", "-r", rig.tree, kept)
    for name, done in every_bad_run(rig, create, kept.exists, before):
        says_what_is_true(name, done, kept)
        assert not at.exists(), f"{name}: left for a backup to read"
    assert not list(rig.state.iterdir()), f"left in /run: {list(rig.state.iterdir())}"


def test_btrbk_keeps_the_last_good_one_and_its_backup(rig):
    need("btrbk")
    before, config = btrfs(rig), rig.folder / "btrbk.conf"
    for name in "snaps", "target":
        (rig.volume / name).mkdir()
    config.write_text(f"timestamp_format long-iso\nlockfile {rig.folder}/btrbk.lock\nsnapshot_dir snaps\n"
                      "snapshot_preserve_min latest\nsnapshot_preserve no\ntarget_preserve_min latest\n"
                      f"target_preserve no\nvolume {rig.volume}\n  subvolume mail\n    target {rig.volume}/target\n")
    call = lambda **env: rig.hook("btrbk/writegate-btrbk", "-c", config, check=False, **env)  # noqa: E731
    listed = lambda: sorted(p.name for folder in ("snaps", "target") for p in (rig.volume / folder).iterdir()  # noqa: E731
                            if not p.name.startswith("UNTRUSTED."))
    aside = lambda: list((rig.volume / "snaps").glob("UNTRUSTED.*"))  # noqa: E731
    rig.write()
    done = call()
    assert done.returncode == 0, done.stderr
    good = listed()
    assert len(good) == 2
    for name, done in every_bad_run(rig, call, listed, before, {5: 10}):
        says_what_is_true(name, done, *good)
    assert len(aside()) == 2, f"the late one and the accused one: {aside()}"
    # A run that was killed: its snapshot has no verdict, and the next run sees to it.
    (rig.volume / "snaps/mail.20000101T000000+0000").mkdir()
    (rig.state / "btrbk.999999999").write_text(
        f"t snapshot starting {rig.volume}/snaps/mail.20000101T000000+0000 {rig.tree} - -\n")
    done = call()
    assert done.returncode == 0 and len(aside()) == 3 and not list(rig.state.glob("btrbk.*")), done.stderr
    # Retention as usual: the new good one has taken the old one's place; the others are still there.
    assert len(listed()) == 2 and listed() != good, listed()
    for tree in (rig.volume / "target").iterdir():
        whole(tree)


def test_restic_backs_up_nothing_bad(rig):
    need("restic")
    snapshot = rig.volume / "snap"
    more = {**btrfs(rig), "RESTIC_REPOSITORY": rig.folder / "restic", "RESTIC_PASSWORD": "x",
            "RESTIC_CACHE_DIR": rig.folder / "cache"}
    run("restic", "init", env=rig.environment(**more))
    call = lambda **env: rig.hook("restic/writegate-restic", rig.tree, snapshot, check=False, **env)  # noqa: E731
    rig.write()
    assert call(**more).returncode == 0 and not snapshot.exists()
    run("restic", "restore", "latest", "--target", rig.folder / "out", env=rig.environment(**more))
    whole(next(path.parent for path in (rig.folder / "out").rglob("a")))
    snapshots = lambda: sorted(path.name for path in (rig.folder / "restic/snapshots").iterdir())  # noqa: E731
    for name, done in every_bad_run(rig, call, snapshots, more):
        assert "nothing was backed up" in done.stderr and not snapshot.exists(), f"{name}: {done.stderr}"
    # What is at that place and not its own stays.
    run("btrfs", "-q", "subvolume", "snapshot", "-r", rig.tree, snapshot)
    done = call(**more)
    assert done.returncode == 1 and snapshot.exists() and len(snapshots()) == 1, done.stderr


def test_snapper_cleanup_keeps_the_good_ones(rig):
    """The real one, without D-Bus."""
    need("snapper")
    rig.write()
    name = f"wg{time.time_ns()}"
    words = ["--no-dbus", "-c", name]
    snapper = lambda *argv: run("snapper", *words, *argv).stdout  # noqa: E731
    snapper("create-config", rig.tree)
    try:
        snapper("set-config", "NUMBER_LIMIT=1", "NUMBER_MIN_AGE=0", "NUMBER_CLEANUP=yes")
        # snapper makes its snapshots by itself, not by `btrfs`: the moment is just before.
        before = bad.stand_in(rig, "snapper", shutil.which("snapper"), "*\\ create\\ *")
        call = lambda **env: rig.hook("snapper/writegate-snapper", *words, "create", "-c", "number", "-d", "nightly",  # noqa: E731
                                      check=False, **env)
        rows = lambda: [line.split(",") for line in snapper("--csvout", "list", "--columns",  # noqa: E731
                        "number,cleanup,description,userdata").splitlines()[2:]]
        assert call().returncode == 0
        [[good, cleanup, text, _]] = rows()
        assert (cleanup, text) == ("number", "nightly"), rows()
        kept = lambda: (snapper("cleanup", "number"), [row for row in rows() if row[0] == good])[1]  # noqa: E731
        for name_of_it, done in every_bad_run(rig, call, kept, before):
            says_what_is_true(name_of_it, done)
        marked = [row for row in rows() if row[0] != good]
        assert [row[2:] for row in marked] == [["UNTRUSTED (writegate: 124)", "writegate=untrusted"],
                                               ["UNTRUSTED (writegate: 65)", "writegate=untrusted"]], marked
        assert not any(row[1] for row in marked), "it would be counted by the cleanup"
        assert call().returncode == 0
        snapper("cleanup", "number")
        assert [row[2] for row in rows()].count("nightly") == 1, rows()
        assert len([row for row in rows() if row[2].startswith("UNTRUSTED")]) == 2, rows()
    finally:
        subprocess.run(["snapper", *words, "delete-config"], capture_output=True)


def test_rsnapshot_rotates_nothing_after_a_bad_run(rig):
    """The real rsnapshot with sync_first; LVM by stand-ins (btrfs below)."""
    need("rsnapshot", "rsync")
    bin_dir, at, snapshot = rig.folder / "bin", rig.folder / "mnt", rig.volume / "snap"
    bin_dir.mkdir()
    at.mkdir()
    log = rig.folder / "removed"
    for name, body in {
        "lvcreate": f'eval "${{BEFORE:-}}"; exec btrfs -q subvolume snapshot -r {rig.tree} {snapshot}',
        "lvremove": f'echo "$@" >>{log}; exec btrfs -q subvolume delete {snapshot}',
        "mount": f"exec mount --bind {snapshot} {at}", "umount": f"exec umount {at}",
    }.items():
        (bin_dir / name).write_text(f"#!/bin/sh\n{body}\n")
        (bin_dir / name).chmod(0o755)
    config = rig.folder / "rsnapshot.conf"
    rows = [("config_version", "1.2"), ("snapshot_root", f"{rig.folder}/backups/"), ("cmd_rsync", shutil.which("rsync")),
            ("sync_first", "1"), ("retain", "daily", "2"), ("lockfile", f"{rig.folder}/rsnapshot.pid"),
            ("linux_lvm_cmd_lvcreate", ROOT / "contrib/rsnapshot/writegate-lvcreate"),
            ("linux_lvm_cmd_lvremove", bin_dir / "lvremove"), ("linux_lvm_cmd_mount", bin_dir / "mount"),
            ("linux_lvm_cmd_umount", bin_dir / "umount"), ("linux_lvm_snapshotsize", "100M"),
            ("linux_lvm_snapshotname", "rsnapshot"), ("linux_lvm_vgpath", "/dev"), ("linux_lvm_mountpath", at),
            ("backup", "lvm://vg0/mail/", "mail/")]
    config.write_text("".join("\t".join(str(field) for field in row) + "\n" for row in rows))
    more = {"LVCREATE": bin_dir / "lvcreate", "LVREMOVE": bin_dir / "lvremove"}
    call = lambda **env: run("sh", "-c", 'rsnapshot -c "$0" sync && rsnapshot -c "$0" daily', config, check=False,  # noqa: E731
                             env=rig.environment(**env))
    copies = lambda: [(path.parent.name, path.read_bytes()) for path in  # noqa: E731
                      sorted((rig.folder / "backups").glob("daily.*/mail/a"))]
    rig.write()
    done = call(**more)
    assert done.returncode == 0 and len(copies()) == 1, done.stdout + done.stderr
    whole(rig.folder / "backups/daily.0/mail")
    log.unlink()
    removed = []
    for name, done in every_bad_run(rig, call, copies, more, dict.fromkeys([69, 75, 78, 124, 65, 5], 1)):
        if log.exists():
            removed.append((name, log.read_text()))
            log.unlink()
        assert not snapshot.exists(), f"{name}: rsnapshot could make no other one"
        says_what_is_true(name, done)
    # Why sync_first: without it, and with link_dest, the good ones are shifted out by runs that copy nothing.
    config.write_text(config.read_text().replace("sync_first\t1\n", "link_dest\t1\n"))
    rig.stop_writers()
    for _ in range(2):
        assert run("rsnapshot", "-c", config, "daily", check=False, env=rig.environment(**more)).returncode
    assert not copies(), f"rsnapshot has learned to wait: say so in contrib/rsnapshot ({copies()})"
    assert removed == [(name, "--force /dev/vg0/rsnapshot\n") for name in ("late", "the first of two gates, forged words")], removed


def test_on_untrusted_is_not_run_for_what_was_not_made(rig):
    """A command that failed has made nothing: what lies at its place may be the last good snapshot."""
    rig.write()
    good, mark = rig.volume / "good", rig.folder / "mark"
    take = ["btrfs", "-q", "subvolume", "snapshot", "-r", rig.tree, good]
    freeze = lambda *command, t="5s": run(BIN / "writegate", "freeze", "-g", "mail", "-t", t, "--on-untrusted",  # noqa: E731
                                          f"echo $WRITEGATE_VERDICT >{mark}; btrfs -q subvolume delete {good}", "--",
                                          *command, env=rig.environment(), check=False)
    assert freeze(*take).returncode == 0
    # The next night, under the same name: it fails, and the limit passes too.
    done = freeze("sh", "-c", "sleep 0.4; exec \"$@\"", "sh", *take, t="200ms")
    assert done.returncode == 124 and good.exists() and not mark.exists(), done.stderr
    assert "--on-untrusted was not run" in done.stderr, done.stderr
    rig.stop_writers()
    assert freeze(*take).returncode == 69 and good.exists() and not mark.exists()
    rig.write()
    bad.delete(good)
    done = freeze("sh", "-c", "\"$@\" && sleep 0.4", "sh", *take, t="200ms")
    assert done.returncode == 124 and not good.exists() and mark.read_text() == "EXPIRED\n", done.stderr


def test_no_hook_reads_a_line_or_deletes_by_place(rig):
    """The few lines of contrib/ that delete a snapshot, each with the reason why it may; none reads a verdict line."""
    may = {"snapshot/writegate-snapshot": 1,             # the id that it has recorded itself
           "rsnapshot/writegate-lvcreate": 1,            # what this call has made
           "timeshift/writegate-timeshift": 1}           # what was not there before this call
    for path in sorted((ROOT / "contrib").rglob("*")):
        if path.is_dir() or path.parent.name in ("grafana", "valgrind"):
            continue
        lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
        name = str(path.relative_to(ROOT / "contrib"))
        deletes = [line for line in lines if any(word in line for word in
                   ("subvolume delete", "zfs destroy", "LVREMOVE", "snapper delete", "timeshift --delete", "--on-untrusted", "forget"))]
        assert len(deletes) == may.get(name, 0), f"{name}: {deletes}"
        reads = [line for line in lines if "verdict=" in line and "writegate:verdict=" not in line]
        assert not reads, f"{name} reads words: {reads}"
