"""Tools that call one command before and one after: the generic pair, and the files of tools that are not to be had
here, their commands run as that tool calls them (its documentation's example, not the tool): each whole, refused, late.
"""
import json
import os
import re
import time

import bad
from rig import BIN, ROOT, run, whole
from steps import every_bad_step

PAIR = ROOT / "contrib/prepost/writegate-prepost"


def held_to(rig, name, before, after):
    """Every bad run of a pair; what the next backup finds in NAME.last."""
    last = rig.state / f"{name}.last"
    for what, code, begun, done in every_bad_step(rig, before, after):
        if done is None:
            assert "untouched" in begun.stderr and not last.exists(), f"{what}: {begun.stderr}"
            assert after().returncode == 76 and not last.exists(), "a thaw of nothing is no verdict"
        else:
            assert done.returncode == code and last.read_text() == f"{code}\n", f"{what}: {done.returncode}: {done.stderr}"


def calls(rig, argv, **more):
    return lambda: run(*argv, env=rig.environment(WRITEGATE_PREPOST=PAIR, **more), check=False)


def test_prepost_in_every_bad_run(rig):
    held_to(rig, "any", calls(rig, [PAIR, "pre", "any"]), calls(rig, [PAIR, "post", "any"]))


def test_prepost_ends_in_its_own_time(rig):
    rig.write(hold=60)
    rig.configure(options="--drain 20s --retries 0", limit="25s")
    rig.conf.write_text(rig.conf.read_text() + "WITHIN=1\n")
    begun = time.monotonic()
    done = rig.hook("prepost/writegate-prepost", "pre", "any", check=False)
    assert done.returncode == 124 and "not frozen" in done.stderr, done
    took = time.monotonic() - begun
    assert took < 15 and rig.is_open(), f"the tool would have gone on while we wait ({took:.1f} s)"
    assert not (rig.state / "any.token").exists()


def test_prepost_of_a_run_that_never_ended(rig):
    rig.write(paths=rig.tree)
    assert rig.hook("prepost/writegate-prepost", "pre", "any").returncode == 0
    done = rig.hook("prepost/writegate-prepost", "pre", "any")
    assert "never came to its end" in done.stderr and not rig.is_open(), done.stderr
    assert rig.hook("prepost/writegate-prepost", "post", "any").returncode == 0 and rig.is_open()
    for words in ([], ["pre"], ["pre", "../x"], ["pre", ""], ["sideways", "any"]):
        assert rig.hook("prepost/writegate-prepost", *words, check=False).returncode == 64, words
    rig.configure(options="--policy crash-consistent")
    assert rig.hook("prepost/writegate-prepost", "pre", "any", check=False).returncode == 78 and rig.is_open()


def test_azure_backup_configuration(rig):
    settings = json.loads((ROOT / "contrib/azure/VMSnapshotScriptPluginConfig.json").read_text())
    assert settings["continueBackupOnFailure"] is False and settings["timeoutInSeconds"] > 30, settings
    assert settings["preScriptNoOfRetries"] == settings["postScriptNoOfRetries"] == 0, "one limit for all retries"
    before, after = ([PAIR, *settings[f"{name}ScriptParams"]] for name in ("pre", "post"))
    assert {settings[f"{name}ScriptLocation"] for name in ("pre", "post")} == {f"/usr/local/sbin/{PAIR.name}"}
    held_to(rig, "azure", calls(rig, before), calls(rig, after))


def test_aws_lifecycle_manager_document(rig):
    text = (ROOT / "contrib/aws/writegate-dlm.yaml").read_text()
    script = re.search(r"runCommand:\n\s+- \|\n((?: {10}.*\n)+)", text)[1].replace("/usr/local/sbin/writegate-prepost", str(PAIR))
    said = lambda word: ["sh", "-c", script.replace("{{ command }}", word)]  # noqa: E731
    assert "allowedValues: [pre-script, post-script, dry-run]" in text
    assert calls(rig, said("dry-run"))().returncode == 0
    held_to(rig, "dlm", calls(rig, said("pre-script")), calls(rig, said("post-script")))


def test_google_guest_flush(rig):
    names = [rig.folder / name for name in ("pre.sh", "post.sh")]
    for name in names:
        name.symlink_to(ROOT / "contrib/gcp/writegate-guest-flush")
    held_to(rig, "gcp", calls(rig, [names[0]]), calls(rig, [names[1]]))


def test_docker_volume_backup_labels(rig):
    text = (ROOT / "contrib/docker-volume-backup/compose.yaml").read_text()
    words = {name: re.search(rf"archive-{name}: (.*)", text)[1].split() for name in ("pre", "post")}
    before, after = ([PAIR, *words[name][1:]] for name in ("pre", "post"))
    assert words["pre"][0] == f"/usr/local/sbin/{PAIR.name}"
    held_to(rig, "volume", calls(rig, before), calls(rig, after))


def every_snapshot(rig, at, create, delete):
    """Whole, refused, late: of tools that read a snapshot which a command has made for them."""
    rig.write(paths=rig.tree)
    made = create({})
    assert made.returncode == 0, made.stderr
    whole(at)
    assert delete().returncode == 0 and not at.exists()
    for name, code, more in bad.wrapped(rig, only=("the server is stopped", "does not drain", "late")):
        stand_in = bad.stand_in(rig, "btrfs", "/usr/bin/btrfs", '*"subvolume snapshot"*')
        made = create({**stand_in, **more})
        assert made.returncode == code and not at.exists(), f"{name}: {made.returncode}: {made.stderr}"
        delete()
    return made


def snapshot_of(rig, text):
    """The command of a configuration, on this run's volume."""
    text = text.replace("/usr/local/sbin/writegate-snapshot", str(ROOT / "contrib/snapshot/writegate-snapshot"))
    return text.replace("/srv/mail", str(rig.tree))


def shell(rig, text, more=()):
    return run("sh", "-c", snapshot_of(rig, text), env=rig.environment(**dict(more)), check=False)


def test_kopia_actions(rig):
    script, at = ROOT / "contrib/kopia/writegate-kopia", rig.volume / "mail.writegate-kopia"
    act = lambda name, more=(): run(script, check=False, env=rig.environment(  # noqa: E731
        KOPIA_ACTION=name, KOPIA_SOURCE_PATH=rig.tree, **dict(more)))
    create = lambda more: act("before-folder", more)  # noqa: E731
    every_snapshot(rig, at, create, lambda: act("after-folder"))
    made = create({})
    assert made.stdout.strip().splitlines()[-1] == f"KOPIA_SNAPSHOT_PATH={at}", made.stdout
    assert act("after-snapshot-root").returncode == 0


def test_rustic_profile(rig):
    text = (ROOT / "contrib/rustic/writegate.toml").read_text()
    before, after = (re.search(rf'run-{name} = \["(.*)"\]', text)[1] for name in ("before", "finally"))
    at = rig.volume / "mail.writegate-rustic"
    assert f'sources = ["{at}"]' in snapshot_of(rig, text)
    every_snapshot(rig, at, lambda more: shell(rig, before, more), lambda: shell(rig, after))


def test_backrest_hooks(rig):
    begin, end = json.loads((ROOT / "contrib/backrest/hooks.json").read_text())
    assert begin["onError"] == "ON_ERROR_CANCEL"
    at = rig.volume / "mail.writegate-backrest"
    every_snapshot(rig, at, lambda more: shell(rig, begin["actionCommand"]["command"], more),
                   lambda: shell(rig, end["actionCommand"]["command"]))


def test_urbackup_scripts(rig):
    names = {name: rig.folder / name for name in ("prefilebackup", "postfilebackup", "postfilebackup_failed")}
    for name in names.values():
        name.symlink_to(ROOT / "contrib/urbackup/prefilebackup")
    configure = rig.configure

    def with_mail(**more):
        configure(**more)
        rig.conf.write_text(rig.conf.read_text() + f"MAIL={rig.tree}\n")
    rig.configure = with_mail
    rig.configure()
    call = lambda name, more=(): run(names[name], env=rig.environment(**dict(more)), check=False)  # noqa: E731
    at = rig.volume / "mail.writegate-urbackup"
    every_snapshot(rig, at, lambda more: call("prefilebackup", more), lambda: call("postfilebackup"))
    # One that a broken backup has left.
    assert call("prefilebackup").returncode == call("prefilebackup").returncode == 0
    assert call("postfilebackup_failed").returncode == 0 and not at.exists()


TOOL = r"""#!/bin/sh
echo "$@" >>"$CALLS"
case "$*" in
    *--no-send*) eval "${BEFORE:-}"; exec btrfs -q subvolume snapshot -r "$TREE" "$VOLUME/$NAME" ;;
esac
"""


def test_zfs_autobackup_wrapper(rig):
    """By a stand-in that makes a btrfs snapshot: snapshots in the freeze, nothing is sent of what cannot be trusted."""
    bin_dir, calls = rig.folder / "bin", rig.folder / "calls"
    bin_dir.mkdir()
    (bin_dir / "zfs-autobackup").write_text(TOOL)
    (bin_dir / "zfs-autobackup").chmod(0o755)

    def call(at, *words, **more):
        calls.write_text("")
        done = run(ROOT / "contrib/zfs_autobackup/writegate-zfs-autobackup", *words, check=False, env=rig.environment(
            PATH=f"{bin_dir}:{BIN}:{os.environ['PATH']}", CALLS=calls, VOLUME=rig.volume, TREE=rig.tree, NAME=at, **more))
        return done, calls.read_text()
    rig.write(paths=rig.tree)
    done, said = call("good", "--verbose", "mail", "--", "backup/pool")
    assert done.returncode == 0 and said.splitlines()[-1] == "--no-snapshot --verbose mail backup/pool", (done.stderr, said)
    assert "backup/pool" not in said.splitlines()[0], f"the target is asked within the freeze: {said}"
    whole(rig.volume / "good")
    for number, (name, code, more) in enumerate(bad.wrapped(rig)):
        done, said = call(f"bad{number}", "mail", **more)
        assert done.returncode == code and "--no-snapshot" not in said, f"{name}: {done.returncode}: {said}"
