"""The scripts by themselves: what `writegate hook` prints, what passes through."""
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
    assert done.returncode == 64 and "there are around, snapshot" in done.stderr, done.stderr


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
