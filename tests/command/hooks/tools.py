"""borgmatic (Debian's 1.x and PyPI's 2.x) with borg, restic, btrbk and rsnapshot: the real programs."""
import json
import shutil
import time
from pathlib import Path

import pypi
from rig import ROOT, need, run, whole


def borg_environment(rig, **more):
    return rig.environment(BORG_BASE_DIR=rig.folder / "borg", BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes",
                           BORG_RELOCATED_REPO_ACCESS_IS_OK="yes", **more)


def archives(rig, repository):
    done = run("borg", "list", "--json", repository, env=borg_environment(rig))
    return [archive["name"] for archive in json.loads(done.stdout)["archives"]]


def extract(rig, repository, name):
    """The tree of the archive, wherever in it the two files lie."""
    to = rig.folder / f"out-{name}"
    to.mkdir()
    run("borg", "extract", f"{repository}::{name}", cwd=to, env=borg_environment(rig))
    return next(path.parent for path in to.rglob("a"))


def borg_repository(rig):
    need("borg")
    repository = rig.folder / "repo"
    run("borg", "init", "-e", "none", repository, env=borg_environment(rig))
    return repository


def config_1(rig, repository, snapshot, freeze):
    config = rig.folder / "borgmatic.yaml"
    config.write_text(f"""
location:
    source_directories: [{snapshot}]
    repositories: [{repository}]
hooks:
    before_backup:
        - {json.dumps(freeze)}
    after_backup:
        - btrfs -q subvolume delete {snapshot}
    on_error:
        - "! test -d {snapshot} || btrfs -q subvolume delete {snapshot}"
""")
    return config


def test_borgmatic_1_snapshot_in_before_backup(rig):
    need("borgmatic")
    version = run("/usr/bin/borgmatic", "--version").stdout.strip()
    assert version.startswith("1."), f"Debian's borgmatic is {version}: mend this test"
    repository, snapshot = borg_repository(rig), rig.volume / "snap"
    rig.write()
    freeze = f"writegate freeze -g mail --retries 0 -- btrfs -q subvolume snapshot -r {rig.tree} {snapshot} || exit 1"
    run("/usr/bin/borgmatic", "-c", config_1(rig, repository, snapshot, freeze), "create",
        env=borg_environment(rig))
    [name] = archives(rig, repository)
    whole(extract(rig, repository, name))
    assert not snapshot.exists()

    rig.stop_writers()
    rig.write(hold=60)
    freeze = freeze.replace("--retries 0", "--retries 0 --drain 200ms")
    done = run("/usr/bin/borgmatic", "-c", config_1(rig, repository, snapshot, freeze), "create", check=False,
               env=borg_environment(rig))
    assert done.returncode != 0 and archives(rig, repository) == [name], done.stderr
    # And the fact for which `|| exit 1` stands there: 75 is taken for no error.
    bare = freeze.replace(" || exit 1", "")
    done = run("/usr/bin/borgmatic", "-c", config_1(rig, repository, snapshot, bare), "create", check=False,
               env=borg_environment(rig))
    assert done.returncode == 0, f"75 is an error now: say so in contrib/borgmatic ({done.stderr})"
    assert archives(rig, repository) == [name]


def config_2(rig, repository, extra, sources):
    config = rig.folder / "borgmatic2.yaml"
    config.write_text(f"""
source_directories: [{sources}]
repositories:
    - path: {repository}
user_runtime_directory: {rig.folder}/runtime
user_state_directory: {rig.folder}/state2
{extra}
""")
    (rig.folder / "runtime").mkdir(exist_ok=True)
    return config


def test_borgmatic_2_own_btrfs_snapshots(rig):
    borgmatic = pypi.program("borgmatic")
    repository = borg_repository(rig)
    rig.write()
    around = ROOT / "contrib/around/writegate-around"
    before = rig.freezes()
    # It looks for a mounted subvolume, so the mail's is mounted by itself.
    at = rig.folder / "srv"
    at.mkdir()
    run("mount", "-o", f"loop,subvol=mail,noatime", rig.image, at)
    rig.mounts.append(at)
    config = config_2(rig, repository, f"btrfs:\n    btrfs_command: {around} btrfs", at)
    done = run(borgmatic, "-c", config, "create", "--verbosity", "2", env=borg_environment(rig))
    [name] = archives(rig, repository)
    whole(extract(rig, repository, name))
    assert rig.freezes() == before + 1, f"{rig.freezes() - before} freezes: {done.stdout[-1500:]}"

    rig.stop_writers()
    rig.write(hold=60)
    rig.configure(options="--drain 200ms --retries 0")
    done = run(borgmatic, "-c", config, "create", check=False, env=borg_environment(rig))
    assert done.returncode != 0 and archives(rig, repository) == [name], done.stderr


def test_borgmatic_2_commands(rig):
    borgmatic = pypi.program("borgmatic")
    repository, snapshot = borg_repository(rig), rig.volume / "snap"
    rig.write()
    extra = (ROOT / "contrib/borgmatic/writegate.yaml").read_text()
    extra = extra[extra.index("\ncommands:"):extra.index("# The same for borgmatic 1.x")]
    extra = (extra.replace("-g default", "-g mail --retries 0 --drain 300ms").replace("/srv/mail", str(rig.tree))
             .replace("/srv/.writegate-snapshot", str(snapshot)))
    config = config_2(rig, repository, extra, snapshot)
    run(borgmatic, "-c", config, "create", env=borg_environment(rig))
    [name] = archives(rig, repository)
    whole(extract(rig, repository, name))
    assert not snapshot.exists()
    rig.stop_writers()
    rig.write(hold=60)
    done = run(borgmatic, "-c", config, "create", check=False, env=borg_environment(rig))
    assert done.returncode != 0 and archives(rig, repository) == [name], done.stdout + done.stderr
    assert not snapshot.exists()


def test_restic_wrapped(rig):
    need("restic")
    repository, snapshot = rig.folder / "restic", rig.volume / "snap"
    more = {"RESTIC_REPOSITORY": repository, "RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": rig.folder / "cache"}
    run("restic", "init", env=rig.environment(**more))
    rig.write()
    script = "restic/writegate-restic"
    for _ in range(2):
        rig.hook(script, rig.tree, snapshot, "--tag", "mail", **more)
    assert not snapshot.exists()
    run("restic", "restore", "latest", "--target", rig.folder / "out", env=rig.environment(**more))
    whole(next(path.parent for path in (rig.folder / "out").rglob("a")))
    count = lambda: len(json.loads(run("restic", "snapshots", "--json", env=rig.environment(**more)).stdout))  # noqa: E731
    assert count() == 2

    rig.stop_writers()
    rig.write(hold=60)
    rig.configure(options="--drain 200ms --retries 0")
    done = rig.hook(script, rig.tree, snapshot, check=False, **more)
    assert done.returncode == 75 and count() == 2 and not snapshot.exists(), (done.returncode, done.stderr)


def test_btrbk_split_in_two(rig):
    need("btrbk")
    (rig.volume / "snaps").mkdir()
    (rig.volume / "target").mkdir()
    config = rig.folder / "btrbk.conf"
    config.write_text(f"""timestamp_format long-iso
lockfile {rig.folder}/btrbk.lock
snapshot_dir snaps
snapshot_preserve_min latest
snapshot_preserve no
target_preserve_min all
volume {rig.volume}
  subvolume mail
    target send-receive {rig.volume}/target
""")
    rig.write()
    before = rig.freezes()
    for _ in range(2):
        rig.hook("btrbk/writegate-btrbk", "-c", config)
        time.sleep(1.1)
    received = sorted((rig.volume / "target").iterdir())
    assert len(received) == 2 and rig.freezes() == before + 2, (received, rig.freezes() - before)
    for tree in received:
        whole(tree)
    kept = list((rig.volume / "snaps").iterdir())
    assert len(kept) == 1, f"btrbk resume cleans up: {kept}"

    rig.stop_writers()
    rig.write(hold=60)
    rig.configure(options="--drain 200ms --retries 0")
    done = rig.hook("btrbk/writegate-btrbk", "-c", config, check=False)
    assert done.returncode == 75 and "nothing is sent" in done.stderr, (done.returncode, done.stderr)
    assert len(list((rig.volume / "target").iterdir())) == 2


def test_rsnapshot_with_lvm_stand_ins(rig):
    """The real rsnapshot; LVM by stand-ins (btrfs below), since these machines have no device mapper."""
    need("rsnapshot", "rsync")
    bin_dir, at, snapshot = rig.folder / "bin", rig.folder / "mnt", rig.volume / "snap"
    bin_dir.mkdir()
    at.mkdir()
    stand_ins = {
        "lvcreate": f"exec btrfs -q subvolume snapshot -r {rig.tree} {snapshot}",
        "lvremove": f"exec btrfs -q subvolume delete {snapshot}",
        "mount": f"exec mount --bind {snapshot} {at}",
        "umount": f"exec umount {at}",
    }
    for name, body in stand_ins.items():
        (bin_dir / name).write_text(f"#!/bin/sh\n{body}\n")
        (bin_dir / name).chmod(0o755)
    config = rig.folder / "rsnapshot.conf"
    rows = [("config_version", "1.2"), ("snapshot_root", f"{rig.folder}/backups/"), ("cmd_rsync", shutil.which("rsync")),
            ("retain", "daily", "3"), ("lockfile", f"{rig.folder}/rsnapshot.pid"),
            ("linux_lvm_cmd_lvcreate", ROOT / "contrib/rsnapshot/writegate-lvcreate"),
            ("linux_lvm_cmd_lvremove", bin_dir / "lvremove"), ("linux_lvm_cmd_mount", bin_dir / "mount"),
            ("linux_lvm_cmd_umount", bin_dir / "umount"), ("linux_lvm_snapshotsize", "100M"),
            ("linux_lvm_snapshotname", "rsnapshot"), ("linux_lvm_vgpath", "/dev"), ("linux_lvm_mountpath", at),
            ("backup", "lvm://vg0/mail/", "mail/")]
    config.write_text("".join("\t".join(str(field) for field in row) + "\n" for row in rows))
    rig.write()
    before = rig.freezes()
    more = {"LVCREATE": bin_dir / "lvcreate"}
    run("rsnapshot", "-c", config, "daily", env=rig.environment(**more))
    assert rig.freezes() == before + 1
    whole(next(path.parent for path in (rig.folder / "backups/daily.0").rglob("a")))

    rig.stop_writers()
    rig.write(hold=60)
    rig.configure(options="--drain 200ms --retries 0")
    done = run("rsnapshot", "-c", config, "daily", check=False, env=rig.environment(**more))
    assert done.returncode != 0 and not snapshot.exists(), done.stdout + done.stderr
    newest = Path(rig.folder / "backups/daily.0/mail")
    assert not newest.exists() or not any(newest.iterdir()) or done.returncode, "a backup of nothing"
