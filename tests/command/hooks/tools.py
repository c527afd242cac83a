"""borgmatic (Debian's 1.x and PyPI's 2.x) with borg: the real programs."""
import json
import shutil

import bad
import pypi
from harm import btrfs, every_bad_run
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


def contrib(rig, snapshot, part):
    """A part of the file as it is printed, with this rig's places."""
    text = (ROOT / "contrib/borgmatic/writegate.yaml").read_text()
    text = part(text)
    assert "writegate-snapshot create" in text and "writegate-snapshot delete" in text, text
    return (text.replace("/usr/local/sbin/writegate-snapshot", str(ROOT / "contrib/snapshot/writegate-snapshot"))
            .replace("/srv/mail", str(rig.tree)).replace("/srv/.writegate-borgmatic", str(snapshot)))


def bad_runs(rig, call, repository, only):
    """In none of them may an archive come or go, nor may anything be pruned. `borg` writes its words down."""
    log = rig.folder / "borg.log"
    path = bad.stand_in(rig, "borg", shutil.which("borg"))["PATH"]
    (rig.folder / "before/borg").write_text(f'#!/bin/sh\necho "$*" >>{log}\nexec {shutil.which("borg")} "$@"\n')
    btrfs(rig)
    pruned = lambda: [line for line in log.read_text().splitlines() if line.startswith("prune ")]  # noqa: E731
    assert call(PATH=path).returncode == 0 and pruned(), log.read_text()
    names = archives(rig, repository)
    log.write_text("")
    for name, _ in every_bad_run(rig, call, lambda: archives(rig, repository), {"PATH": path},
                                 dict.fromkeys([69, 75, 78, 124, 65, 5], None), only):
        assert not pruned(), f"{name}: {log.read_text()}"
    return names


def test_borgmatic_1_snapshot_in_before_backup(rig):
    need("borgmatic")
    version = run("/usr/bin/borgmatic", "--version").stdout.strip()
    assert version.startswith("1."), f"Debian's borgmatic is {version}: mend this test"
    repository, snapshot = borg_repository(rig), rig.volume / "snap"
    config = rig.folder / "borgmatic.yaml"

    def configure(hooks):
        config.write_text(f"location:\n    source_directories: [{snapshot}]\n    repositories: [{repository}]\n"
                          f"retention:\n    keep_daily: 1\n{hooks}")
    text = contrib(rig, snapshot, lambda text: text[text.index("# hooks:"):].replace("# ", ""))
    configure(text)
    call = lambda **env: run("sh", "-c", 'borgmatic() { /usr/bin/borgmatic -c "$0" "$@"; }; '  # noqa: E731
                             "borgmatic create && borgmatic prune", config, check=False, env=borg_environment(rig, **env))
    rig.write()
    [name] = bad_runs(rig, call, repository, ("the server is stopped", "late"))
    whole(extract(rig, repository, name))
    assert not snapshot.exists()
    # And the fact for which `|| exit 1` stands there: 75 is taken for no error.
    rig.stop_writers()
    rig.write(hold=60)
    rig.configure(options="--drain 200ms --retries 0")
    configure(text.replace(" || exit 1", ""))
    done = call()
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
    extra = contrib(rig, snapshot, lambda text: text[text.index("\ncommands:"):text.index("# The same for borgmatic 1.x")])
    config = config_2(rig, repository, f"keep_daily: 1\n{extra}", snapshot)
    rig.write()
    call = lambda **env: run(borgmatic, "-c", config, "create", "prune", check=False, env=borg_environment(rig, **env))  # noqa: E731
    [name] = bad_runs(rig, call, repository, ("does not drain", "the first of two gates, forged words"))
    whole(extract(rig, repository, name))
    assert not snapshot.exists()
