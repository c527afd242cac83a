#!/usr/bin/env python3
"""Which files are protected: outsiders who write by every path are found out, what came after the start is held,
a directory that is not there refuses the freeze. Ends with a line "N passed, N failed, N skipped".

  run.py --only PATTERN   only these cases (exit 64 if there is none)
  run.py --costs          100 directories, 1,000 mounts: what publication and watch cost

WRITEGATE_BIN_DIR: where writegate and libwritegate.so lie (target/release). Needs root.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
from lab import suite                                    # noqa: E402

BIN = Path(os.environ.get("WRITEGATE_BIN_DIR", HERE.parents[2] / "target/release")).resolve()
GATE = "places"
HELD_S = 0.3                    # how long a change gets to show itself behind the barrier
# What no case is about: a busy machine may need long to let go of its caches, or to let a process run at all.
LIMIT, DRAIN, PATIENCE_S = "60s", "20s", 180


class Skipped(Exception):
    """This cannot be tried here."""


class Lab:
    """A gate of its own, a protected directory, and what must be undone."""

    def __init__(self, root, profile=""):
        self.programs, self.root = Path(root), Path(tempfile.mkdtemp(dir=root))
        self.gates, self.mail, self.other = (self.root / name for name in ("gates", "mail", "other"))
        for folder in (self.gates, self.mail, self.other):
            folder.mkdir()
        self.profile = self.root / "profile.conf"
        self.profile.write_text(profile)
        self.procs, self.mounts = [], []

    def env(self, gated=False, paths=None, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("WRITEGATE", "LD_"))}
        env.update(WRITEGATE_DIR=str(self.gates), WRITEGATE_CONF=str(self.profile))
        if gated:
            env.update(LD_PRELOAD=str(BIN / "libwritegate.so"), WRITEGATE_GATE=GATE)
            if paths is None:
                paths = self.mail
            if paths:
                env.update(WRITEGATE_PATHS=str(paths))
        return {**env, **more}

    def member(self, *before, gated=True, paths=None, **more):
        p = subprocess.Popen([*before, self.programs / "member"], env=self.env(gated, paths, **more), text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self.root)
        self.procs.append(p)
        assert p.stdout.readline() == "done\n", "it did not start"
        return p

    def mount(self, *args):
        subprocess.run(["mount", *map(str, args)], check=True)
        self.mounts.append(args[-1])
        return Path(args[-1])

    def btrfs(self):
        image, top = self.root / "image", self.root / "btrfs"
        with open(image, "wb") as f:
            f.truncate(256 << 20)
        subprocess.run(["mkfs.btrfs", "-q", image], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        top.mkdir()
        self.mount("-o", "loop", image, top)
        return top

    def freeze(self, *args, command=("true",), before=(), drain=DRAIN):
        return subprocess.run([*before, BIN / "writegate", "freeze", "-g", GATE, "-t", LIMIT, "--drain", drain, "--retries", "0",
                               *map(str, args), "--", *map(str, command)], env=self.env(), text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S)

    def outsider(self, script, *before, args=()):
        """Somebody who does this in the window; the snapshot command waits for it. `args`: of the freeze."""
        go, over = self.root / "go", self.root / "over"
        for f in (go, over):
            f.unlink(missing_ok=True)
        self.procs.append(subprocess.Popen(
            [*before, "sh", "-c", f"until [ -e {go} ]; do sleep .02; done; {script}; touch {over}"], env=self.env()))
        return self.freeze(*args, command=["sh", "-c", f"touch {go}; until [ -e {over} ]; do sleep .02; done"])

    def held(self, member, order, path, args=()):
        """Is what the member is told to do held until the thaw, and done then? `args`: of the freeze."""
        said = subprocess.run([BIN / "writegate", "freeze", "-g", GATE, "-t", LIMIT, *args], env=self.env(), text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S)
        assert said.returncode == 0, said.stderr
        before = look(path)
        tell(member, order, wait=False)
        time.sleep(HELD_S)
        now = look(path)
        subprocess.run([BIN / "writegate", "thaw", said.stdout.split()[-1]], env=self.env(), capture_output=True, timeout=PATIENCE_S)
        assert member.stdout.readline() == "done\n", "it failed"
        assert now == before, f"{path} changed behind the barrier: {before} {now}"
        assert look(path) != before, "it changed nothing"

    def close(self):
        for p in self.procs:
            p.kill()
            p.wait()
        for at in reversed(self.mounts):
            if subprocess.run(["umount", at], stderr=subprocess.DEVNULL).returncode:
                subprocess.run(["umount", "-l", at])
        shutil.rmtree(self.root, ignore_errors=True)


def tell(member, order, wait=True):
    member.stdin.write(order + "\n")
    member.stdin.flush()
    if wait:
        assert member.stdout.readline() == "done\n", order


def look(path):
    try:
        s = os.lstat(path)
        return s.st_size, s.st_mtime_ns, s.st_ctime_ns
    except FileNotFoundError:
        return None


def accused(said, name):
    assert said.returncode == 65 and re.search(r"verdict=(ESCAPED|UNGATED)", said.stdout), said.stdout
    assert name in said.stdout, said.stdout


def good(said, watched="full"):
    assert said.returncode == 0 and f"verdict=CONSISTENT coverage=full watched={watched}" in said.stdout, said.stdout


# Outsiders, by every path.
def nobody(lab):
    lab.member()
    good(lab.freeze())


def direct(lab):
    lab.member()
    accused(lab.outsider(f"echo x > {lab.mail}/new"), "mail/new")


def bind_mount(lab):
    (lab.root / "bound").mkdir()
    lab.mount("--bind", lab.mail, lab.root / "bound")
    lab.member()
    accused(lab.outsider(f"echo x > {lab.root}/bound/new"), "new")


def bind_mount_of_a_part(lab):
    (lab.mail / "bob").mkdir()
    (lab.root / "bound").mkdir()
    lab.mount("--bind", lab.mail / "bob", lab.root / "bound")
    lab.member()
    accused(lab.outsider(f"exec 3> {lab.root}/bound/new; echo x >&3"), "new")


def other_namespace(lab):
    (lab.root / "elsewhere").mkdir()
    lab.member()
    script = f"mount --bind {lab.mail} {lab.root}/elsewhere; echo x > {lab.root}/elsewhere/new"
    accused(lab.outsider(script, "unshare", "-m"), "new")


def through_a_link(lab):
    (lab.root / "link").symlink_to(lab.mail)
    lab.member()
    accused(lab.outsider(f"echo x > {lab.root}/link/new"), "mail/new")


def mounted_below(lab):
    (lab.mail / "slow").mkdir()
    lab.mount("-t", "tmpfs", "none", lab.mail / "slow")
    lab.member()
    accused(lab.outsider(f"echo x > {lab.mail}/slow/new"), "slow/new")


def hard_link(lab):
    (lab.mail / "message").write_text("one")
    os.link(lab.mail / "message", lab.other / "same")
    lab.member()
    accused(lab.outsider(f"echo x >> {lab.other}/same"), "mail/message")


def hard_link_of_others(lab):
    (lab.other / "a").write_text("one")
    os.link(lab.other / "a", lab.other / "b")
    lab.member()
    good(lab.outsider(f"echo x >> {lab.other}/a"))


def number_given_out_again(lab):
    """Files with two names elsewhere, changed and removed while the gate is closed: whoever makes a file after the thaw
    gets their numbers."""
    disk, volume, makers = lab.root / "disk", lab.root / "volume", 8
    with open(disk, "wb") as f:
        f.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-N", "1024", disk], check=True, stderr=subprocess.DEVNULL)
    volume.mkdir()
    lab.mount("-o", "loop", disk, volume)
    mail, other = volume / "mail", volume / "other"
    for folder in (mail, other, *(mail / f"box{n}" for n in range(200))):
        folder.mkdir()
    for n in range(50):
        (other / f"a{n}").write_text("one")
        os.link(other / f"a{n}", other / f"b{n}")
    gone = {os.lstat(other / f"a{n}").st_ino for n in range(50)}
    members = [lab.member(paths=mail) for _ in range(makers)]
    for n, member in enumerate(members):
        member.stdin.write("".join(f"write {mail}/box{n}/new{k}\n" for k in range(5)))
    go, over = lab.root / "go", lab.root / "over"
    outsider = f"until [ -e {go} ]; do sleep .02; done; for a in {other}/a*; do echo x >> $a; done; sleep .3; rm {other}/*; touch {over}"
    lab.procs.append(subprocess.Popen(["sh", "-c", outsider], env=lab.env()))
    freeze = subprocess.Popen([BIN / "writegate", "freeze", "-g", GATE, "-t", LIMIT, "--drain", DRAIN, "--retries", "0", "--",
                               "sh", "-c", f"touch {go}; until [ -e {over} ]; do sleep .02; done; sync"], env=lab.env(),
                              text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lab.procs.append(freeze)
    while not go.exists() and freeze.poll() is None:
        time.sleep(.01)
    for member in members:
        member.stdin.flush()                             # (from now on it waits at the barrier)
    said = freeze.communicate(timeout=PATIENCE_S)[0]
    good(subprocess.CompletedProcess([], freeze.returncode, said))
    for member in members:
        for _ in range(5):
            assert member.stdout.readline() == "done\n", "it failed"
    assert gone & {os.lstat(at).st_ino for at in mail.glob("box*/new*")}, "no number was given out again"


def by_its_handle(lab):
    """As NFS clients write through this machine's server: the kernel knows no directory of the file."""
    for top, is_ours in ((lab.mail, True), (lab.other, False)):
        (top / "box").mkdir()
        (top / "box" / "message").write_text("one")
    lab.member()
    for top, is_ours in ((lab.mail, True), (lab.other, False)):
        message = top / "box" / "message"
        said = lab.outsider(f"{lab.programs}/by_handle {message} 2> {lab.root}/why || echo >> {lab.root}/why")
        why = (lab.root / "why").read_text()
        if why:
            raise Skipped(why.strip())
        assert message.read_text() == "onex", "it wrote nothing"
        if is_ours:
            accused(said, "box/message")
        else:
            good(said)


def renamed_directory(lab):
    (lab.mail / "bob").mkdir()
    lab.member()
    accused(lab.outsider(f"mv {lab.mail}/bob {lab.mail}/alice; echo x > {lab.mail}/alice/new"), "mail/")


def changed_and_closed(lab):
    """Of a store through a mapping and of native aio the kernel's watch tells nothing but that the file was closed. Whoever has only had it open has changed nothing."""
    index, member = lab.mail / "index", lab.programs / "member"
    index.write_text("x" * 4096)
    (lab.other / "counters").write_text("x" * 4096)
    lab.member()
    time.sleep(.1)                                       # what was changed just now is not told from what is changed next
    for order in ("map-store-unmap", "native-aio"):
        before = index.read_text()
        said = lab.outsider(f"echo {order} {index} | {member} > /dev/null")
        assert index.read_text() != before, f"{order} changed nothing"
        accused(said, "mail/index")
    os.link(index, lab.other / "same")
    accused(lab.outsider(f"echo map-store-unmap {lab.other}/same | {member} > /dev/null"), "mail/index")
    time.sleep(.1)
    good(lab.outsider(f"echo open-close {index} | {member} > /dev/null; echo map-store-unmap {lab.other}/counters | {member} > /dev/null"))


def renamed_with_what_it_lies_in(lab):
    """And back: whoever copies by names meanwhile finds nothing there."""
    mail, beside = lab.root / "above" / "mail", lab.root / "beside" / "box"
    for folder in (mail, beside):
        folder.mkdir(parents=True)
    lab.member(paths=mail)
    for what in (mail, mail.parent):
        accused(lab.outsider(f"mv {what} {lab.root}/gone; mv {lab.root}/gone {what}"), str(what))
    good(lab.outsider(f"mv {beside} {lab.root}/gone; mv {lab.root}/beside {lab.root}/gone/beside"))
    accused(lab.outsider(f"mv {mail} {lab.root}/away; mkdir {mail}"), "mail")


def mounted_over(lab):
    """For a while, and so that it stays; and below, over a single file."""
    (lab.mail / "message").write_text("one")
    (lab.other / "message").write_text("two")
    lab.member()
    for script in (f"mount -t tmpfs none {lab.mail}; sleep .3; umount {lab.mail}",
                   f"mount --bind {lab.other}/message {lab.mail}/message; sleep .3; umount {lab.mail}/message"):
        accused(lab.outsider(script), "mail")
    good(lab.outsider(f"mount -t tmpfs none {lab.other}; sleep .3; umount {lab.other}"))
    lab.mounts.append(lab.mail)
    accused(lab.outsider(f"mount -t tmpfs none {lab.mail}"), "mail")


def not_told_by_its_mounts(lab):
    """The service's program ungated, in mount and PID namespaces of its own: which of them can come to the mail?"""
    (lab.root / "own").mkdir()
    own = lab.mount("-t", "tmpfs", "none", lab.root / "own")
    apart = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation", "private")
    lab.member()
    for before, root, may in (
            (apart, own, False),                         # a root of its own, in which nothing of the mail is mounted
            (apart, lab.root, True),                     # a chroot above the mail: its list of mounts is empty
            (("sh", "-c", 'exec 9</; exec "$@"', "sh", *apart), own, True),     # a directory open from which it comes to all
            ((), own, True)):                            # /proc shows it others' roots
        one = lab.member(*before, gated=False)
        tell(one, f"jail {root}")
        said = lab.freeze()
        if may:
            assert said.returncode == 65 and "runs the same program and is not gated" in said.stdout, (before, root, said.stdout)
        else:
            good(said)
        one.stdin.close()
        one.wait()


def elsewhere_is_nobodys_business(lab):
    lab.member()
    good(lab.outsider(f"echo x > {lab.other}/new; mkdir {lab.root}/mailbox; echo x > {lab.root}/mailbox/new"))


def inside_a_container(lab):
    """The service's /data is the host's other/; the host's own /data is none of it."""
    inner = "writegate-places-test"
    script = f"mount -t tmpfs none /mnt; mkdir /mnt/{inner}; mount --bind {lab.mail} /mnt/{inner}; exec \"$0\""
    lab.member("unshare", "-m", "sh", "-c", script, paths=f"/mnt/{inner}")
    good(lab.freeze())
    accused(lab.outsider(f"echo x > {lab.mail}/new"), "new")


def on_btrfs(lab):
    top = lab.btrfs()
    for name in ("mail", "mail/inner"):
        subprocess.run(["btrfs", "-q", "subvolume", "create", top / name], check=True)
    lab.member(paths=top / "mail")
    good(lab.freeze())
    for name in "abcde":
        (top / "mail" / name).write_text("x")
    for script, name in (("rm a", "mail/a"), ("mv b bb", "mail/b"), ("touch c", "mail/c"), ("chmod 600 d", "mail/d"),
                         ("echo x >> e", "mail/e"), ("echo x > inner/new", "inner/new")):
        accused(lab.outsider(f"cd {top}/mail && {script}"), name)
    # Without the right to open by handle only the mount can be watched.
    few = ("setpriv", "--bounding-set=-dac_read_search", "--inh-caps=-dac_read_search")
    good(lab.freeze(before=few), watched="contents")


# Held: what came after the start.
def came_later(lab):
    late = lab.root / "late"
    m = lab.member(paths=late)
    said = lab.freeze()
    assert said.returncode == 78 and str(late) in said.stdout, said.stdout
    late.mkdir()
    lab.mount("-t", "tmpfs", "none", late)
    lab.held(m, f"write {late}/new", late / "new")
    accused(lab.outsider(f"echo x > {late}/by-other"), "late/by-other")


def mounted_later_and_reached_through_a_link(lab):
    m = lab.member()
    volume, link = lab.mail / "volume", lab.root / "way"
    volume.mkdir()
    link.symlink_to(volume)
    lab.mount("-t", "tmpfs", "none", volume)
    lab.held(m, f"write {link}/new", volume / "new")


def a_subvolume_made_later_and_mounted_elsewhere(lab):
    top = lab.btrfs()
    (top / "mail").mkdir()
    m = lab.member(paths=top / "mail")
    subprocess.run(["btrfs", "-q", "subvolume", "create", top / "mail" / "later"], check=True)
    lab.mount("--bind", top / "mail" / "later", lab.other)
    lab.held(m, f"write {lab.other}/new", lab.other / "new")


def by_the_freezers_word(lab):
    """On another device, named by --paths alone."""
    lab.mount("-t", "tmpfs", "none", lab.other)
    m = lab.member()
    named = ("--paths", f"{lab.mail}:{lab.other}")
    lab.held(m, f"write {lab.other}/held", lab.other / "held", args=named)
    accused(lab.outsider(f"echo x > {lab.other}/new", args=named), "other/new")
    good(lab.freeze(*named))
    # Not named, it is nobody's: neither held nor accused.
    good(lab.outsider(f"echo x > {lab.other}/new"))


def a_hundred_and_more_and_longer_than_any_buffer(lab):
    dirs = [lab.mail / f"partition-with-a-name-of-some-length-{n:03}" for n in range(120)]
    for d in dirs:
        d.mkdir()
    lab.mount("-t", "tmpfs", "none", dirs[-1])
    m = lab.member(paths=":".join(map(str, dirs)))
    tell(m, "blank")
    lab.held(m, f"write {dirs[-1]}/new", dirs[-1] / "new")
    accused(lab.outsider(f"echo x > {dirs[117]}/new"), "117/new")


def an_environment_written_over(lab):
    m = lab.member()
    tell(m, "blank")
    accused(lab.outsider(f"echo x > {lab.mail}/new"), "mail/new")


def an_exclusion_is_held_against_the_file_that_is_reached(lab):
    m = lab.member(WRITEGATE_EXCLUDE="/proc/*:/dev/*:*/free*")
    (lab.mail / "x").write_text("x")
    (lab.mail / "free").symlink_to(lab.mail / "x")
    os.link(lab.mail / "x", lab.mail / "free-too")
    (lab.mail / "message").write_text("x")
    tell(m, f"cd {lab.mail}")
    lab.held(m, "rename /proc/self/cwd/message /proc/self/cwd/moved", lab.mail / "message")
    for name in ("free", "free-too"):
        lab.held(m, f"write {name}", lab.mail / "x")


def a_list_that_grows_finds_what_was_begun_before(lab):
    lab.mount("-t", "tmpfs", "none", lab.other)
    m = lab.member()
    tell(m, f"lock {lab.root}/lock")
    tell(m, f"write {lab.other}/a")
    good(lab.freeze())
    said = lab.freeze("--paths", f"{lab.mail}:{lab.other}", drain="1s")
    assert said.returncode == 75, said.stdout
    tell(m, "unlock")
    good(lab.freeze("--paths", f"{lab.mail}:{lab.other}"))


# Said.
def not_there(lab):
    for paths, profile, args in ((lab.root / "mial", "", ()), (lab.mail, "path = /mial\n", ()), (lab.mail, "", ("--paths", "/mial"))):
        shutil.rmtree(lab.gates)
        lab.gates.mkdir()
        lab.profile.write_text(profile)
        m = lab.member(paths=paths if not profile else "")
        said = lab.freeze(*args)
        assert said.returncode == 78 and "mial" in said.stdout, said.stdout
        if not args:
            said = subprocess.run([BIN / "writegate", "doctor", "-g", GATE], env=lab.env(), capture_output=True, text=True)
            assert said.returncode == 78 and "mial" in said.stdout, said.stdout
        m.kill()
        m.wait()


def exec_says_it(lab):
    said = subprocess.run([BIN / "writegate", "exec", "-g", GATE, "--paths", f"{lab.mail}:/mial", "--", "true"],
                          env=lab.env(), capture_output=True, text=True)
    assert said.returncode == 0 and "/mial" in said.stderr, said.stderr


def no_list(lab):
    lab.member(paths="")
    said = lab.freeze()
    assert said.returncode == 0 and "coverage=partial watched=none" in said.stdout, said.stdout
    assert "no protected directory is named" in said.stdout, said.stdout
    assert lab.freeze("--require", "watched").returncode == 65


def overlay(lab):
    layers = [lab.root / name for name in ("lower", "upper", "work", "all")]
    for layer in layers:
        layer.mkdir()
    lower, upper, work, everything = layers
    return lab.mount("-t", "overlay", "none", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", everything)


def on_an_overlay(lab):
    everything = overlay(lab)
    m = lab.member(paths=everything)
    said = lab.freeze()
    assert said.returncode == 0 and "watched=full" not in said.stdout, said.stdout
    lab.held(m, f"write {everything}/new", everything / "new")


def on_an_overlay_in_a_namespace_of_its_own(lab):
    """As a unit with ProtectSystem= has it: its mount is another one than the outsider's, and only mounts can be watched."""
    everything = overlay(lab)
    (everything / "box").write_text("mail\n")
    lab.member("unshare", "-m", "--propagation", "private", paths=everything)
    accused(lab.outsider(f"echo x >> {everything}/box"), "box")


def exported(lab):
    """This machine's own NFS server shows it to others; as exportfs notes it, in a mount namespace of the freezer's own."""
    lab.member()
    for flags, watched in (("rw,sync", "contents"), ("ro,sync", "full")):
        table = f"{lab.root.parent}\t10.0.0.0/8({flags},no_subtree_check)"
        said = subprocess.run(["unshare", "-m", "sh", "-c", f"mount -t tmpfs none /var/lib && mkdir /var/lib/nfs && "
                               f"echo '{table}' > /var/lib/nfs/etab && exec {BIN}/writegate freeze -g {GATE} -t {LIMIT} -- true"],
                              env=lab.env(), capture_output=True, text=True, timeout=PATIENCE_S)
        assert f"watched={watched}" in said.stderr, said.stderr
        assert ("exported by NFS" in said.stderr) == (watched == "contents"), said.stderr


def mapped(lab):
    for order in ("map", "map-first-to-read"):
        for gated in (True, False):
            for daemon in (False, True):
                (lab.mail / "index").write_text("x" * 4096)
                lab.member()
                m = lab.member(gated=gated)
                tell(m, f"{order} {lab.mail}/index")
                if daemon:
                    tell(m, "daemon")
                said = lab.freeze()
                accused_of_mapping(said)
                m.stdin.close()                          # a daemon ends with its orders
                assert m.stdout.read() == "", "it is still there"
                m.wait()
                for p in lab.procs:
                    p.kill()
                    p.wait()


def mapped_elsewhere(lab):
    """As a JVM keeps its counters in /tmp: on the device of what is protected, and no protected file."""
    for removed in (False, True):
        (lab.other / "counters").write_text("x" * 4096)
        m = lab.member()
        tell(m, f"map {lab.other}/counters")
        if removed:
            (lab.other / "counters").unlink()
        good(lab.freeze("--require", "coverage"))
        said = subprocess.run([BIN / "writegate", "doctor", "-g", GATE], env=lab.env(), capture_output=True, text=True, timeout=PATIENCE_S)
        assert "mapped a protected" not in said.stdout, said.stdout
    (lab.mail / "removed").write_text("x" * 4096)
    tell(m, f"map {lab.mail}/removed")
    accused_of_mapping(lab.freeze())
    (lab.mail / "removed").unlink()
    good(lab.freeze())


def mapped_elsewhere_on_btrfs(lab):
    """maps shows another device number there than stat."""
    top = lab.btrfs()
    for name in ("mail", "other"):
        subprocess.run(["btrfs", "-q", "subvolume", "create", top / name], check=True)
        (top / name / "counters").write_text("x" * 4096)
    m = lab.member(paths=top / "mail")
    tell(m, f"map {top}/other/counters")
    good(lab.freeze())
    tell(m, f"map {top}/mail/counters")
    accused_of_mapping(lab.freeze())


def mapped_elsewhere_on_an_overlay(lab):
    everything = overlay(lab)
    for name in ("mail", "other"):
        (everything / name).mkdir()
        (everything / name / "counters").write_text("x" * 4096)
    m = lab.member(paths=everything / "mail")
    tell(m, f"map {everything}/other/counters")
    said = lab.freeze()
    assert said.returncode == 0 and "coverage=full" in said.stdout, said.stdout
    tell(m, f"map {everything}/mail/counters")
    accused_of_mapping(lab.freeze())


def mapped_by_another_name(lab):
    for name in ("hard", "mounted", "unmounted"):
        (lab.mail / name).write_text("x" * 4096)
    os.link(lab.mail / "hard", lab.other / "hard")
    (lab.other / "mounted").touch()
    lab.mount("--bind", lab.mail / "mounted", lab.other / "mounted")
    (lab.root / "bound").mkdir()
    bound = lab.mount("--bind", lab.mail, lab.root / "bound")
    for path in (lab.other / "hard", lab.other / "mounted", bound / "unmounted"):
        m = lab.member()
        tell(m, f"map {path}")
        if path.name == "unmounted":
            accused_of_mapping(lab.freeze())
            subprocess.run(["umount", "-l", bound], check=True)
            lab.mounts.remove(str(bound) if str(bound) in lab.mounts else bound)
        accused_of_mapping(lab.freeze())
        m.kill()
        m.wait()


def mapped_and_unmapped_behind_the_barrier(lab):
    """No look at its mappings sees that; it has mapped another file before, which is no protected one."""
    (lab.other / "counters").write_text("x" * 4096)
    (lab.mail / "index").write_text("x" * 4096)
    m = lab.member()
    tell(m, f"map {lab.other}/counters")
    good(lab.freeze())
    said = subprocess.run([BIN / "writegate", "freeze", "-g", GATE, "-t", LIMIT], env=lab.env(), text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S)
    assert said.returncode == 0, said.stderr
    tell(m, f"map-store-unmap {lab.mail}/index")
    thawed = subprocess.run([BIN / "writegate", "thaw", said.stdout.split()[-1]], env=lab.env(), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S)
    assert (lab.mail / "index").read_text()[0] == "y", "it stored nothing"
    accused_of_mapping(thawed)
    good(lab.freeze())                                # it is over, and the next freeze knows


def accused_of_mapping(said):
    assert said.returncode == 65 and "coverage=partial" in said.stdout and "mapped" in said.stdout, said.stdout


def a_server_as_setup_sets_it_up(lab):
    """Each path once or twice; servers.py does all of them, often."""
    sys.path.insert(0, str(HERE))
    import servers
    lines = []
    try:
        bad = servers.of_server("dovecot", str(lab.root), 2, lines.append)
    except servers.roots.Unavailable as why:
        raise Skipped(why) from None
    assert not bad and len(lines) == 8, lines


CASES = {f.__name__: f for f in (
    nobody, direct, bind_mount, bind_mount_of_a_part, other_namespace, through_a_link, mounted_below, hard_link,
    hard_link_of_others, number_given_out_again, by_its_handle, renamed_directory, changed_and_closed,
    renamed_with_what_it_lies_in, mounted_over, not_told_by_its_mounts, elsewhere_is_nobodys_business,
    inside_a_container, on_btrfs, came_later, mounted_later_and_reached_through_a_link, a_subvolume_made_later_and_mounted_elsewhere, by_the_freezers_word,
    a_hundred_and_more_and_longer_than_any_buffer, an_environment_written_over,
    an_exclusion_is_held_against_the_file_that_is_reached, a_list_that_grows_finds_what_was_begun_before, not_there,
    exec_says_it, no_list, on_an_overlay, on_an_overlay_in_a_namespace_of_its_own, exported, mapped, mapped_elsewhere,
    mapped_elsewhere_on_btrfs, mapped_elsewhere_on_an_overlay, mapped_by_another_name, mapped_and_unmapped_behind_the_barrier, a_server_as_setup_sets_it_up)}
NEEDS = {"on_btrfs": "mkfs.btrfs", "mapped_elsewhere_on_btrfs": "mkfs.btrfs", "a_subvolume_made_later_and_mounted_elsewhere": "mkfs.btrfs"}


def costs(lab):
    """Nothing is judged: figures only. What lies between the listing and the closing is publication and a look at what speaks
    against the snapshot; the watch is armed between the drain and the command."""
    dirs = [lab.mail / f"d{n}" for n in range(100)]
    for d in dirs:
        d.mkdir()
    member = lab.member(paths=dirs[0])
    print("                                              whole  listed to closed   drain    held (of nothing)")
    for what, top in (("1 directory", None), ("100 directories", None), ("100, and 1,000 mounts elsewhere", lab.other),
                      ("100, and 1,000 mounts more below them", dirs[0])):
        if what.startswith("100 d"):
            member.kill()
            member.wait()
            member = lab.member(paths=":".join(map(str, dirs)))
        for n in range(1000 if top else 0):
            at = top / f"m{n}"
            at.mkdir()
            lab.mount("-t", "tmpfs", "-o", "size=4k", "none", at)
        for _ in range(3):
            begun = time.monotonic()
            said = lab.freeze("--report", lab.root / "report")
            whole = time.monotonic() - begun
            report = json.loads((lab.root / "report").read_text())
            gate = report["gates"][0]
            moments = {name: moment["monotonic_ns"] for name, moment in
                       (("listed", report["listed"]), *((name, gate[name]) for name in ("closed", "drained", "opened")))}
            took = [(moments[b] - moments[a]) / 1e6 for a, b in
                    (("listed", "closed"), ("closed", "drained"), ("drained", "opened"))]
            print(f"{what:42} {1000 * whole:6.0f} ms {took[0]:10.1f} ms {took[1]:8.1f} ms {took[2]:8.1f} ms  "
                  f"{re.search('verdict=[^ ]*', said.stdout)[0]}", flush=True)


def main():
    options = suite.parser(__doc__)
    options.add_argument("--costs", action="store_true")
    options = options.parse_args()
    if os.geteuid():
        print("skipped: all: needs root\n0 passed, 0 failed, 1 skipped")
        return 77
    chosen = [name for name in CASES if suite.fits(name, options.only)]
    if not chosen:
        return suite.nothing(options.only, CASES)
    work = Path(tempfile.mkdtemp(prefix="writegate-places-", dir="/var/tmp"))
    work.chmod(0o755)
    passed = failed = skipped = 0
    try:
        for program in ("member", "by_handle"):
            subprocess.run(["gcc", "-O1", "-o", work / program, HERE / f"{program}.c"], check=True)
        if options.costs:
            lab = Lab(work)
            try:
                costs(lab)
            finally:
                lab.close()
            return 0
        for name in chosen:
            lab = Lab(work)
            try:
                if name in NEEDS and not shutil.which(NEEDS[name]):
                    raise Skipped(f"{NEEDS[name]} is not there")
                CASES[name](lab)
                passed += 1
                print(f"ok   {name}", flush=True)
            except Skipped as why:
                print(f"skipped: {name}: {why}", flush=True)
                skipped += 1
            except Exception as why:
                failed += 1
                print(f"FAIL {name}: {why!r}", flush=True)
            finally:
                lab.close()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
