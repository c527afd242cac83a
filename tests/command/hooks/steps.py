"""Hooks with a freeze and a thaw of their own: every bad run of bad.token, and what each leaves behind."""
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import bad
import pypi
from rig import ROOT, Skip, need, run, whole


def every_bad_step(rig, freeze, thaw, snapshot=lambda: None, refusal=None):
    """Yields (name, code, what the freeze said, what the thaw said or None). `refusal`: the code of any failed freeze."""
    rig.write(paths=rig.tree)
    begun = freeze()
    assert begun.returncode == 0 and not rig.is_open(), begun.stderr
    snapshot()
    yield "good", 0, begun, thaw()
    for name, code, refused, meanwhile in bad.token(rig):
        begun = freeze()
        assert begun.returncode == ((refusal or code) if refused else 0), f"{name}: {begun.returncode}: {begun.stderr}"
        if not refused:
            snapshot()
            meanwhile()
        yield name, code, begun, None if refused else thaw()


def test_open_vm_tools_leaves_the_number(rig):
    script, last = "open-vm-tools/10-writegate", rig.state / "last"
    call = lambda word: rig.hook(script, word, check=False)  # noqa: E731
    for name, code, _, done in every_bad_step(rig, lambda: call("freeze"), lambda: call("thaw")):
        if done is None:
            assert not last.exists(), f"{name}: the last run's verdict is still there"
            assert call("thaw").returncode == 76 and not last.exists(), "a thaw of nothing is no verdict"
            assert call("freezeFail").returncode == 0
            continue
        assert done.returncode == code and last.read_text() == f"{code}\n", f"{name}: {done.returncode}, {last.read_text()}"
        report = json.loads((rig.state / "last.json").read_text())
        assert report["exit"] == code and (report["verdict"] == "CONSISTENT") == (code == 0), report["verdict"]
    # There is no snapshot after a freezeFail: no verdict for a host to find.
    assert call("freeze").returncode == 0 and call("freezeFail").returncode == 0 and not last.exists()


def test_veeam_in_every_bad_run(rig):
    names = {name: rig.folder / name for name in ("pre-freeze.sh", "post-thaw.sh")}
    for name in names.values():
        name.symlink_to(ROOT / "contrib/veeam/writegate-veeam")
    call = lambda name: run(names[name], env=rig.environment(), check=False)  # noqa: E731
    for name, code, begun, done in every_bad_step(rig, lambda: call("pre-freeze.sh"), lambda: call("post-thaw.sh")):
        if done is None:
            assert "untouched" in begun.stderr, f"{name}: {begun.stderr}"
            done, code = call("post-thaw.sh"), 76
        assert done.returncode == code, f"{name}: {done.returncode}: {done.stderr}"


def test_velero_commands_in_every_bad_run(rig):
    """The two commands of the annotations as they stand there; without Velero."""
    text = (ROOT / "contrib/velero/annotations.yaml").read_text()
    text = text.replace("/run/writegate/velero", f"{rig.folder}/velero")
    pre, post = (json.loads(words) for words in re.findall(r"command: >-\n\s+(\[.*\])", text))
    freeze = lambda: run(pre[0], pre[1], options(rig, pre[2]), env=rig.environment(), check=False)  # noqa: E731
    thaw = lambda: run(*post, env=rig.environment(), check=False)  # noqa: E731
    for name, code, _, done in every_bad_step(rig, freeze, thaw):
        if done is None:
            assert thaw().returncode not in (0, code), f"{name}: the post hook of a failed freeze has a verdict"
        else:
            assert done.returncode == code, f"{name}: {done.returncode}: {done.stderr}"


def options(rig, command):
    """The command with the gates, the limit and the options that this run's hook.conf has."""
    conf = dict(re.findall(r'(\w+)="?([^"\n]*)', rig.conf.read_text()))
    words = " ".join(f"-g {gate}" for gate in conf["GATES"].split()) + f" -t {conf['LIMIT']} {conf['FREEZE_OPTIONS']}"
    found, number = re.subn(r"-g default -t \w+ --drain \w+", words, command)
    assert number == 1, command
    return found


def test_kanister_commands_in_every_bad_run(rig):
    """The freeze phase's script and the thaw's command; `kando` by a stand-in."""
    text = (ROOT / "contrib/kanister/blueprint.yaml").read_text()
    script = re.search(r"- \|\n((?: {14}.*\n)+)", text).group(1)
    assert "writegate freeze" in script and '["writegate", "thaw", ' in text, script
    token, bin_dir = rig.folder / "token", rig.folder / "bin"
    bin_dir.mkdir()
    (bin_dir / "kando").write_text(f'#!/bin/sh\n[ "$1 $2" = "output token" ] && printf %s "$3" >{token}\n')
    (bin_dir / "kando").chmod(0o755)
    environment = rig.environment(PATH=f"{bin_dir}:{rig.environment()['PATH']}")
    freeze = lambda: (token.unlink(missing_ok=True),  # noqa: E731
                      run("sh", "-c", options(rig, script), env=environment, check=False))[1]
    thaw = lambda: run("writegate", "thaw", token.read_text(), env=environment, check=False)  # noqa: E731
    for name, code, _, done in every_bad_step(rig, freeze, thaw):
        if done is None:
            assert not token.exists(), f"{name}: a failed phase has an output"
        else:
            assert done.returncode == code, f"{name}: {done.returncode}"


def test_qemu_ga_hook_leaves_the_number(rig):
    last = rig.folder / "last"
    configure = rig.configure
    rig.configure = lambda **more: configure(last=str(last), **more)
    rig.configure()
    call = lambda word: rig.hook("qemu-ga/fsfreeze-hook", word, check=False, FSFREEZE_D="/nonexistent")  # noqa: E731
    for name, code, begun, done in every_bad_step(rig, lambda: call("freeze"), lambda: call("thaw"), refusal=1):
        if done is None:
            assert not last.exists(), f"{name}: the last run's verdict is still there"
            assert "untouched" in begun.stderr, begun.stderr
            assert call("thaw").returncode == 76 and not last.exists()
            continue
        assert done.returncode == code and last.read_text() == f"{code}\n", f"{name}: {done.returncode}"
        # A host that asks once more gets no better answer.
        assert call("thaw").returncode == 76, "a second thaw turned it into a good one"


class Pool:
    """A pool on a file, with one file system, mounted: by this machine's ZFS, or by a zfs-fuse of our own."""

    def __init__(self, rig):
        need("zpool", "zfs")
        self.daemon = None
        if subprocess.run(["zpool", "list"], capture_output=True).returncode:
            need("zfs-fuse")
            if not Path("/dev/fuse").exists():
                raise Skip("there is no /dev/fuse")
            self.daemon = subprocess.Popen(["zfs-fuse", "--no-daemon"], stdin=subprocess.DEVNULL,
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.name, self.at = f"wg{time.time_ns()}", rig.folder / "pool"
        for _ in range(100):
            if subprocess.run(["zpool", "list"], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            self.close()
            raise Skip("zfs-fuse does not run here")
        run("truncate", "-s", "100M", rig.folder / "pool.image")
        run("zpool", "create", "-m", self.at, self.name, rig.folder / "pool.image")
        self.mail = f"{self.name}/mail"
        run("zfs", "create", self.mail)
        rig.tree = self.at / "mail"

    def snapshots(self):
        """{name: (verdict, held)}"""
        text = run("zfs", "list", "-H", "-t", "snapshot", "-o", "name,writegate:verdict,userrefs", "-s", "creation").stdout
        return {name.split("@")[1]: (verdict, int(held)) for name, verdict, held in map(str.split, text.splitlines())}

    def whole(self, name):
        run("zfs", "clone", f"{self.mail}@{name}", f"{self.name}/copy")
        whole(self.at / "copy")

    def drop_copy(self):
        """Of `whole`. FUSE lets go of it a while later, and until then the snapshot could not be destroyed anyway."""
        for _ in range(100):
            if subprocess.run(["zfs", "destroy", f"{self.name}/copy"], capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError("the clone stays busy")

    def close(self):
        for _ in range(50):
            if subprocess.run(["zpool", "destroy", "-f", getattr(self, "name", "none")], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        if not self.daemon:
            return
        self.daemon.terminate()
        try:
            self.daemon.wait(10)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()


def with_pool(rig, work):
    pool = Pool(rig)
    try:
        work(pool)
    finally:
        rig.stop_writers()
        pool.close()


def test_zrepl_script_holds_the_last_good_one(rig):
    """With a real zfs, and in zrepl's place this case."""
    def work(pool):
        numbers = iter(range(100))
        now = {}
        call = lambda kind: rig.hook("zrepl/writegate-zrepl", check=False, ZREPL_HOOKTYPE=kind,  # noqa: E731
                                     ZREPL_FS=pool.mail, ZREPL_SNAPNAME=now["name"])

        def freeze():
            now["name"] = f"zrepl_{next(numbers)}"
            return call("pre_snapshot")
        take = lambda: run("zfs", "snapshot", f"{pool.mail}@{now['name']}")  # noqa: E731
        for name, code, begun, done in every_bad_step(rig, freeze, lambda: call("post_snapshot"), take):
            if name == "good":
                pool.whole("zrepl_0")
            there = pool.snapshots()
            assert there["zrepl_0"] == ("CONSISTENT", 1), (name, there)
            if done is None:
                assert len(there) == 1 and "untouched" in begun.stderr, (name, there, begun.stderr)
                continue
            assert done.returncode == code, f"{name}: {done.returncode}: {done.stderr}"
            if code:
                assert there.get(f"untrusted_{now['name']}") == ("UNTRUSTED", 0) and now["name"] not in there, (name, there)
        pool.drop_copy()
        refused = run("zfs", "destroy", f"{pool.mail}@zrepl_0", check=False)
        assert refused.returncode, "the last good one could be destroyed"
        # A snapshot that failed, under the name of an earlier, good one: that one is not touched.
        now["name"] = "zrepl_0"
        time.sleep(1.1)
        assert call("pre_snapshot").returncode == 0
        done = call("post_snapshot")
        assert done.returncode == 1 and "is older than this run" in done.stderr, done.stderr
        assert pool.snapshots()["zrepl_0"] == ("CONSISTENT", 1), pool.snapshots()
        # And none at all.
        now["name"] = "zrepl_never"
        assert call("pre_snapshot").returncode == 0
        done = call("post_snapshot")
        assert done.returncode == 1 and "was not made" in done.stderr, done.stderr
        # The next good one takes over.
        assert freeze().returncode == 0
        take()
        assert call("post_snapshot").returncode == 0
        there = pool.snapshots()
        assert there["zrepl_0"] == ("CONSISTENT", 0) and there[now["name"]] == ("CONSISTENT", 1), there
    with_pool(rig, work)


def test_sanoid_prunes_no_good_one_for_a_bad_one(rig):
    """The real sanoid on a real zfs."""
    need("sanoid")

    def work(pool):
        folder = rig.folder / "sanoid"
        folder.mkdir()
        shutil.copy("/usr/share/sanoid/sanoid.defaults.conf", folder)
        kinds = "hourly", "daily", "weekly", "monthly", "yearly"
        # zfs-fuse is of a time when `get` had no -t; the rest is its own.
        shim = bad.stand_in(rig, "zfs", shutil.which("zfs"), "nothing")
        (rig.folder / "before/zfs").write_text(f"""#!/bin/sh
case "$1 $2 $3" in "get -Hrpt snapshot"|"get -Hpt snapshot") flags=${{2%t}}; shift 3; {shutil.which("zfs")} get $flags "$@" | grep @
;; *) exec {shutil.which("zfs")} "$@" ;; esac
""")

        def sanoid(what, before="", **counts):
            """With so many to be kept of each kind."""
            script = rig.folder / "post"
            script.write_text(f"#!/bin/sh\n{before}\nexec {ROOT}/contrib/sanoid/writegate-sanoid\n")
            script.chmod(0o755)
            lines = ["[%s]" % pool.mail, "autosnap = yes", "autoprune = yes", "no_inconsistent_snapshot = yes",
                     "force_post_snapshot_script = yes", "script_timeout = 10", "frequently = 0",
                     f"pre_snapshot_script = {ROOT}/contrib/sanoid/writegate-sanoid", f"post_snapshot_script = {script}"]
            lines += [f"{kind} = {counts.get(kind, 0)}" for kind in kinds]
            (folder / "sanoid.conf").write_text("\n".join(lines) + "\n")
            return run("sanoid", "--configdir", folder, "--cache-dir", folder / "cache", "--run-dir", folder / "run", what,
                       "--verbose", "--force-update", env=rig.environment(**shim), check=False)
        rig.write(paths=rig.tree)
        done = sanoid("--take-snapshots", hourly=1)
        [(good, state)] = pool.snapshots().items()
        assert good.endswith("_hourly") and state == ("CONSISTENT", 1), (state, done.stdout, done.stderr)
        pool.whole(good)
        made = 0
        for name, code, refused, _ in bad.token(rig):
            # What bad.token would do before a thaw must be done by the post script: sanoid waits for nobody.
            before = {124: "sleep 0.6", 65: f"echo x >>{rig.volume}/other/x*"}.get(code, "")
            done = sanoid("--take-snapshots", before, daily=1)
            made += not refused
            there = pool.snapshots()
            assert len(there) == 1 + made and there[good] == ("CONSISTENT", 1), (name, there, done.stderr)
            aside = [one for one in there if one.startswith("untrusted_autosnap_")]
            assert len(aside) == made and all(there[one] == ("UNTRUSTED", 0) for one in aside), (name, there, done.stderr)
            if not refused:
                time.sleep(1.1)                          # they are named by the second
        pool.drop_copy()
        # All that can be pruned is: nothing of any kind is to be kept, and the good one is.
        time.sleep(1.1)
        done = sanoid("--prune-snapshots")
        assert good in pool.snapshots() and "could not remove" in done.stderr, (pool.snapshots(), done.stdout, done.stderr)
        done = sanoid("--take-snapshots", daily=1)
        time.sleep(1.1)
        sanoid("--prune-snapshots", daily=1)
        left = {name: state for name, state in pool.snapshots().items() if not name.startswith("untrusted_")}
        assert list(left.values()) == [("CONSISTENT", 1)] and good not in left, f"{left}: {done.stdout}{done.stderr}"
    with_pool(rig, work)


def test_zfs_autobackup_itself(rig):
    """The real zfs-autobackup (PyPI) makes its snapshots on a real zfs; to send them zfs-fuse is too old, so that half is written
    down by a stand-in."""
    autobackup, zfs = pypi.program("zfs-autobackup"), shutil.which("zfs")

    def work(pool):
        sent, folder = rig.folder / "sent", rig.folder / "before"
        shim = bad.stand_in(rig, "zfs", zfs, "nothing")
        # (It has no `get -t`, and no `written@`.)
        (folder / "zfs").write_text(f"""#!/bin/sh
case "$*" in
    "get -t volume,filesystem "*) shift 3; {zfs} get "$@" | grep -v @; exit 0 ;;
    *written@*) echo 1000000; exit 0 ;;
    snapshot*) eval "${{BEFORE:-}}" ;;
esac
exec {zfs} "$@"
""")
        (folder / "zfs-autobackup").write_text(f"""#!/bin/sh
case "$*" in *--no-snapshot*) echo "$@" >>{sent}; exit 0 ;; esac
exec {autobackup} "$@"
""")
        (folder / "zfs-autobackup").chmod(0o755)
        # The target is not there: within the freeze nobody asks for it.
        run("zfs", "set", "autobackup:mail=true", pool.mail)

        def backup(**more):
            return run(ROOT / "contrib/zfs_autobackup/writegate-zfs-autobackup", "--verbose", "mail", "--", f"{pool.name}/backup",
                       check=False, env=rig.environment(**{**shim, **more}))
        rig.write(paths=rig.tree)
        done = backup()
        [good] = pool.snapshots()
        assert done.returncode == 0 and good.startswith("mail-") and sent.read_text().count("\n") == 1, (done.stdout, done.stderr)
        pool.whole(good)
        for name, code, more in bad.wrapped(rig):
            time.sleep(1.1)                              # they are named by the second
            there = len(pool.snapshots())
            done = backup(**more)
            # It says how many of its datasets have failed.
            expected = {5: (1, 255)}.get(code, (code,))
            assert done.returncode in expected, f"{name}: {done.returncode}: {done.stdout}{done.stderr}"
            assert sent.read_text().count("\n") == 1, f"{name}: it was sent"
            made = len(pool.snapshots()) - there
            assert good in pool.snapshots() and made == (code == 124 or name.startswith("the first of two")), f"{name}: {made}"
        pool.drop_copy()
    with_pool(rig, work)


def test_vzdump_protects_the_last_good_backup(rig):
    """`qm` and `pvesh` of the test's own: the guest is this machine, and what is protected is written down."""
    bin_dir, last, log = rig.folder / "bin", rig.folder / "last", rig.folder / "pvesh.log"
    bin_dir.mkdir()
    (bin_dir / "qm").write_text("#!/usr/bin/env python3\n"
                                "import json, os, subprocess, sys\n"
                                "if os.environ.get('AGENT') == 'gone': sys.exit('no agent')\n"
                                "assert sys.argv[1:3] == ['guest', 'exec'] and sys.argv[4] == '--', sys.argv\n"
                                "done = subprocess.run(sys.argv[5:], capture_output=True, text=True)\n"
                                "print(json.dumps({'exitcode': done.returncode, 'exited': 1, 'out-data': done.stdout}))\n")
    (bin_dir / "pvesh").write_text(f'#!/bin/sh\necho "$@" >>{log}\n')
    for name in "qm", "pvesh":
        (bin_dir / name).chmod(0o755)
    (rig.folder / "vzdump.conf").write_text(f'VMS="101"\nLAST={last}\nKEPT={rig.folder}/kept\n')
    script = rig.folder / "vzdump"
    script.write_text((ROOT / "contrib/proxmox/writegate-vzdump").read_text()
                      .replace("/etc/writegate/vzdump.conf", str(rig.folder / "vzdump.conf")))

    def vzdump(phase, mode="snapshot", vm="101", **more):
        return run("sh", script, phase, mode, vm, check=False,
                   env=rig.environment(**{"PATH": f"{bin_dir}:{rig.environment()['PATH']}", "STOREID": "local", **more}))
    configure = rig.configure
    rig.configure = lambda **more: configure(last=str(last), **more)
    rig.configure()
    guest = lambda word: rig.hook("qemu-ga/fsfreeze-hook", word, check=False, FSFREEZE_D="/nonexistent")  # noqa: E731
    put = lambda name, value: f"set /nodes/localhost/storage/local/content/local:backup/{name} --protected {value}\n"  # noqa: E731

    def freeze():
        assert vzdump("backup-start").returncode == 0 and not last.exists()
        return guest("freeze")
    night = 0
    for name, code, _, done in every_bad_step(rig, freeze, lambda: guest("thaw"), refusal=1):
        night += 1
        backup = f"/dump/vzdump-{night}.vma"
        done = vzdump("backup-end", TARGET=backup)
        if name == "good":
            assert done.returncode == 0 and log.read_text() == put("vzdump-1.vma", 1), done.stderr
            continue
        assert done.returncode == 1 and log.read_text() == put("vzdump-1.vma", 1), f"{name}: {log.read_text()}{done.stderr}"
        assert f"do not trust the backup local:backup/vzdump-{night}.vma" in done.stderr, done.stderr
        assert "the last good one is protected: local:backup/vzdump-1.vma" in done.stderr, done.stderr
    # What an earlier hook wrote there, and what only looks like a 0.
    for words in "writegate: verdict=CONSISTENT", "0\n0", "00", "":
        last.write_text(words)
        assert vzdump("backup-end", TARGET="/dump/x.vma").returncode == 1, words
    last.write_text("0\n")
    assert vzdump("backup-end", TARGET="/dump/x.vma", AGENT="gone").returncode == 1
    # The old word of an agent that does not answer now: nothing is made, so that nothing is pruned for it.
    done = vzdump("backup-start", AGENT="gone")
    assert done.returncode == 1 and "nothing was made" in done.stderr and last.exists(), done.stderr
    assert vzdump("backup-start", mode="suspend").returncode == 1
    assert vzdump("backup-start", mode="stop").returncode == 0 == vzdump("backup-end", mode="stop").returncode
    assert vzdump("backup-end", vm="102").returncode == 0 == vzdump("job-start", vm="101").returncode
    assert log.read_text() == put("vzdump-1.vma", 1), log.read_text()
    # A backup server's archive; the one before it is let go afterwards, not before.
    assert freeze().returncode == 0 and guest("thaw").returncode == 0
    assert vzdump("backup-end", TARGET="vm/101/2026-01-01T00:00:00Z").returncode == 0
    assert log.read_text().splitlines(True)[1:] == [put("vm/101/2026-01-01T00:00:00Z", 1), put("vzdump-1.vma", 0)], log.read_text()
