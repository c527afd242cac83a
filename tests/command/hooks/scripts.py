"""The scripts by themselves: what `writegate hook` prints, what passes through, what a late thaw says."""
import subprocess
import time

from rig import BIN, ROOT, pair, run, whole


def test_hook_prints_the_files(rig):
    listed = run(BIN / "writegate", "hook", env=rig.environment()).stdout.splitlines()[1:]
    files = [path for path in (ROOT / "contrib").rglob("*") if path.is_file()]
    texts = {path.read_text().rstrip("\n"): path for path in files}
    assert len(listed) >= 16, listed
    for name in (line.split()[0] for line in listed):
        text = run(BIN / "writegate", "hook", name, env=rig.environment()).stdout.rstrip("\n")
        assert text in texts, f"`hook {name}` is no file of contrib/"
        if text.startswith("#!/bin/sh"):
            run("sh", "-n", texts[text])
    done = run(BIN / "writegate", "hook", "nothing", env=rig.environment(), check=False)
    assert done.returncode == 64 and "there are around, qemu-ga" in done.stderr, done.stderr


def test_without_the_gate_copies_are_torn(rig):
    """The control: the writer is such that a snapshot at any moment shows it."""
    rig.write()
    torn = 0
    for number in range(10):
        snapshot = rig.volume / f"bare{number}"
        run("btrfs", "-q", "subvolume", "snapshot", "-r", rig.tree, snapshot)
        one, two = pair(snapshot)
        torn += one != two
    assert torn >= 2, f"only {torn} of 10 were torn: the other cases show nothing"


def test_around_freezes_for_snapshots_only(rig):
    rig.write()
    before = rig.freezes()
    for words in (["btrfs", "subvolume", "list", rig.volume], ["btrfs", "subvolume", "show", rig.tree]):
        done = rig.hook("around/writegate-around", *words)
        assert "verdict" not in done.stderr, done.stderr
    assert rig.freezes() == before, "listing froze the gate"
    snapshot = rig.volume / "snap"
    done = rig.hook("around/writegate-around", "btrfs", "subvolume", "snapshot", "-r", rig.tree, snapshot)
    assert "verdict=CONSISTENT" in done.stderr and "verdict" not in done.stdout, done.stderr
    assert rig.freezes() == before + 1
    whole(snapshot)
    rig.hook("around/writegate-around", "btrfs", "subvolume", "delete", snapshot)
    assert rig.freezes() == before + 1 and not snapshot.exists()


def test_around_knows_the_other_tools_words(rig):
    """By stand-ins: what each is called with by borgmatic, sanoid, rsnapshot and by hand."""
    rig.write()
    bin_dir = rig.folder / "bin"
    bin_dir.mkdir()
    for name in "zfs", "lvcreate", "snapper", "lvm":
        (bin_dir / name).write_text("#!/bin/sh\nexit 0\n")
        (bin_dir / name).chmod(0o755)
    for freezes, words in [
        (1, "zfs snapshot -r tank/mail@x"), (1, "zfs snap tank/mail@x"), (0, "zfs list -t snapshot"),
        (0, "zfs destroy tank/mail@snapshot"), (0, "zfs get all snapshot"), (1, "lvcreate --snapshot -n s vg/m"),
        (1, "lvcreate -s -n s vg/m"), (0, "lvcreate -n mail -L 1G vg"), (1, "lvm lvcreate -s -n s vg/m"),
        (1, "snapper -c mail create"), (0, "snapper list"),
    ]:
        before = rig.freezes()
        first, *rest = words.split()
        rig.hook("around/writegate-around", bin_dir / first, *rest)
        assert rig.freezes() - before == freezes, words


def test_around_makes_no_snapshot_of_a_gate_that_does_not_drain(rig):
    rig.write(hold=60)
    rig.configure(options="--drain 200ms --retries 0")
    snapshot = rig.volume / "snap"
    done = rig.hook("around/writegate-around", "btrfs", "subvolume", "snapshot", "-r", rig.tree, snapshot, check=False)
    assert done.returncode == 1, f"75 would be a soft failure for borgmatic: {done.returncode}"
    assert "NOT_DRAINED" in done.stderr and not snapshot.exists(), done.stderr


def two_step(rig, freeze, thaw):
    """Token mode: good, then late."""
    rig.write()
    freeze()
    assert not rig.is_open()
    good = thaw()
    assert good.returncode == 0 and rig.is_open(), good.stderr + good.stdout
    rig.configure(limit="300ms")
    freeze()
    time.sleep(0.6)
    assert rig.is_open(), "the lease is over and the gate is closed"
    late = thaw()
    assert late.returncode != 0, f"a late thaw: {late.stdout}{late.stderr}"
    return late


def test_open_vm_tools_script(rig):
    script = "open-vm-tools/10-writegate"
    two_step(rig, lambda: rig.hook(script, "freeze"), lambda: rig.hook(script, "thaw", check=False))
    assert "verdict=EXPIRED" in (rig.state / "last").read_text()
    assert rig.hook(script, "freezeFail").returncode == 0, "nothing frozen, nothing to thaw"


def test_veeam_script(rig):
    names = {}
    for name in "pre-freeze.sh", "post-thaw.sh":
        names[name] = rig.folder / name
        names[name].symlink_to(ROOT / "contrib/veeam/writegate-veeam")
    call = lambda name, check: run(names[name], env=rig.environment(), check=check)  # noqa: E731
    late = two_step(rig, lambda: call("pre-freeze.sh", True), lambda: call("post-thaw.sh", False))
    assert late.returncode == 124, late.returncode


def stand_in_zfs(rig):
    bin_dir, log = rig.folder / "bin", rig.folder / "zfs.log"
    bin_dir.mkdir(exist_ok=True)
    (bin_dir / "zfs").write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    (bin_dir / "zfs").chmod(0o755)
    return {"PATH": f"{bin_dir}:{rig.environment()['PATH']}"}, log


def test_sanoid_script_marks_the_snapshot(rig):
    more, log = stand_in_zfs(rig)
    call = lambda step, check: rig.hook("sanoid/writegate-sanoid", check=check, SANOID_SCRIPT=step,  # noqa: E731
                                        SANOID_TARGETS="tank/mail", SANOID_SNAPNAMES="auto", **more)
    rig.configure(options="--drain 2s --retries 0")
    two_step(rig, lambda: call("pre", True), lambda: call("post", False))
    assert log.read_text().splitlines() == ["set writegate:verdict=CONSISTENT tank/mail@auto",
                                            "set writegate:verdict=EXPIRED tank/mail@auto"], log.read_text()


def test_zrepl_script_marks_the_snapshot(rig):
    more, log = stand_in_zfs(rig)
    call = lambda step, check: rig.hook("zrepl/writegate-zrepl", check=check, ZREPL_HOOKTYPE=step,  # noqa: E731
                                        ZREPL_FS="tank/mail", ZREPL_SNAPNAME="auto", **more)
    late = two_step(rig, lambda: call("pre_snapshot", True), lambda: call("post_snapshot", False))
    assert late.returncode == 124
    assert log.read_text() == "set writegate:verdict=UNTRUSTED tank/mail@auto\n"


def test_snapper_wrap_marks_the_snapshot(rig):
    """With a snapper of the test's own: the real one wants a D-Bus daemon."""
    bin_dir, log = rig.folder / "bin", rig.folder / "snapper.log"
    bin_dir.mkdir()
    (bin_dir / "snapper").write_text(f'#!/bin/sh\necho "$@" >> {log}\ncase $* in *create*) sleep ${{SLOW:-0}}; echo 7;; esac\n')
    (bin_dir / "snapper").chmod(0o755)
    path = f"{bin_dir}:{rig.environment()['PATH']}"
    rig.write()
    words = ["snapper/writegate-snapper", "-c", "mail", "create", "-c", "number"]
    rig.hook(*words, PATH=path)
    rig.configure(limit="300ms")
    done = rig.hook(*words, PATH=path, SLOW="0.7", check=False)
    assert done.returncode == 124, done.stderr
    assert log.read_text().splitlines()[2].startswith("-c mail modify -d UNTRUSTED"), log.read_text()


def test_vzdump_script_refuses_without_a_verdict(rig):
    """With a `qm` of the test's own."""
    bin_dir = rig.folder / "bin"
    bin_dir.mkdir()
    (bin_dir / "qm").write_text('#!/bin/sh\necho "$ANSWER"\n[ -n "$ANSWER" ]\n')
    (bin_dir / "qm").chmod(0o755)
    text = (ROOT / "contrib/proxmox/writegate-vzdump").read_text()
    script = rig.folder / "vzdump"
    (rig.folder / "vzdump.conf").write_text('VMS="101"\n')
    script.write_text(text.replace("/etc/writegate/vzdump.conf", str(rig.folder / "vzdump.conf")))
    call = lambda phase, vm, answer: subprocess.run(  # noqa: E731
        ["sh", script, phase, "snapshot", vm], capture_output=True, text=True,
        env=rig.environment(PATH=f"{bin_dir}:/usr/bin:/bin", ANSWER=answer)).returncode
    assert call("backup-end", "101", "writegate: verdict=CONSISTENT") == 0
    assert call("backup-end", "101", "writegate: verdict=EXPIRED") == 1
    assert call("backup-end", "101", "") == 1
    assert call("backup-end", "102", "") == 0 and call("job-start", "101", "") == 0
