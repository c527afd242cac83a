"""The control page and where it lies: full, cut, foreign, not a file; and the limits that a program was given.

Whatever stands there, the program runs as without the library. Where the page is not sound it runs ungated.
"""
import os
import resource
import socket
import struct
import subprocess
from pathlib import Path

import rig

NOBODY = 65534


def _same(host, env, work, seconds=10, **kw):
    """None, or how the program's run differs from its bare one."""
    bare = rig.run([host, work], rig.clean(), **kw)
    with_library = rig.run([host, work], env, seconds, **kw)
    if bare != with_library:
        return f"bare {bare}, with the library {with_library}"
    return None


def _cannot_be_made(host, work, gates, **kw):
    """The first start of a gate where no page can be made: nothing is left."""
    bad = _same(host, rig.loaded(gates), work, **kw)
    left = rig.left_behind(gates)
    page = gates / rig.GATE / "control"
    if not bad and left:
        bad = f"left behind: {left}"
    if not bad and page.exists() and page.stat().st_size != rig.PAGE_SIZE:
        bad = f"half a page stands there: {page.stat()}"
    return bad


def _fill(directory, leave):
    """Fills a tmpfs but for some bytes."""
    vfs = os.statvfs(directory)
    with open(directory / "filler", "wb") as f:
        f.write(bytes(vfs.f_bavail * vfs.f_frsize - leave))


def full(host, work):
    for leave in (0, 4096, 8192, 12288):
        with rig.Tmpfs("size=256k") as gates:
            _fill(gates, leave)
            yield f"a tmpfs with {leave} bytes left", _cannot_be_made(host, work, gates)
    with rig.Tmpfs("size=256k") as gates:
        _fill(gates, 16384 + 4096)
        bad = _cannot_be_made(host, work, gates)
        made = (gates / rig.GATE / "control").exists()
        yield "a tmpfs with just enough left: the page is made", bad or (None if made else "it is not")
    with rig.Tmpfs("size=1m,nr_inodes=2") as gates:
        (gates / "x").touch()
        yield "a tmpfs without an inode left", _cannot_be_made(host, work, gates)
    with rig.Tmpfs("size=1m") as gates:
        subprocess.run(["mount", "-o", "remount,ro", gates], check=True)
        yield "a read-only file system", _cannot_be_made(host, work, gates)


def limits(host, work):
    def limit(which, value):
        def apply():
            resource.setrlimit(which, (value, value))
        return apply
    for size in (0, 1, 4096, 16383):
        with rig.Tmpfs() as gates:
            bad = None
            # The program's own writes meet the limit too; one that writes nothing.
            code, out, err = rig.run(["/bin/echo", "fine"], rig.loaded(gates), preexec_fn=limit(resource.RLIMIT_FSIZE, size))
            if (code, out) != (0, b"fine\n"):
                bad = f"exit {code}, {out} {err}"
            yield f"RLIMIT_FSIZE {size} at the first start", bad or rig.left_behind(gates) or None
    with rig.Tmpfs() as gates:
        rig.run(["/bin/echo", "fine"], rig.loaded(gates), preexec_fn=limit(resource.RLIMIT_FSIZE, 16384))
        made = (gates / rig.GATE / "control").exists()
        yield "RLIMIT_FSIZE 16384: the page is made", None if made else "it is not"
    for first in (True, False):
        when = "at the first start" if first else "later"
        for name, which, values in (("NOFILE", resource.RLIMIT_NOFILE, (4, 5, 6)), ("AS", resource.RLIMIT_AS, (3 << 20, 4 << 20, 6 << 20, 10 << 20)),
                                    ("NPROC", resource.RLIMIT_NPROC, (1,)), ("STACK", resource.RLIMIT_STACK, (32 << 10, 64 << 10)),
                                    ("MEMLOCK", resource.RLIMIT_MEMLOCK, (0,)), ("DATA", resource.RLIMIT_DATA, (0, 1 << 20))):
            for value in values:
                with rig.Tmpfs() as gates:
                    if not first:
                        rig.make_page(gates)
                    # What loading any second library needs, the program has in both runs: so the bare one has it too.
                    spare = rig.clean(LD_PRELOAD="libm.so.6")
                    bare = rig.run(["/bin/echo", "fine"], spare, preexec_fn=limit(which, value))
                    got = rig.run(["/bin/echo", "fine"], rig.loaded(gates), preexec_fn=limit(which, value))
                    if bare[0] != 0:
                        continue
                    yield f"RLIMIT_{name} {value} {when}", None if got == bare else f"bare {bare}, with the library {got}"


def in_its_place(host, work):
    def cut(size):
        return lambda page: os.truncate(page, size)

    def replaced(make):
        def do(page):
            page.unlink()
            make(page)
        return do

    def sock(page):
        s = socket.socket(socket.AF_UNIX)
        s.bind(str(page))
        s.close()

    def sparse(size):
        return replaced(lambda p: (p.touch(), os.truncate(p, size)))

    def link(to):
        return replaced(lambda p: p.symlink_to(to))

    kinds = {"empty": cut(0), "cut to 1 byte": cut(1), "cut to a page": cut(4096), "cut by one byte": cut(16383), "one byte too long": cut(16385),
             "all hole": sparse(16384), "a tebibyte": sparse(1 << 40), "a FIFO": replaced(lambda p: os.mkfifo(p, 0o644)), "a socket": replaced(sock),
             "a directory": replaced(lambda p: p.mkdir()), "a device": replaced(lambda p: os.mknod(p, 0o20644, os.makedev(1, 5))),
             "a device that blocks": replaced(lambda p: os.mknod(p, 0o20644, os.makedev(5, 0))),
             "a dangling link": link("nowhere"), "a link to itself": link("control"), "a link to a FIFO": link("../fifo"),
             "nobody's": lambda p: os.chown(p, NOBODY, NOBODY), "open to all": lambda p: p.chmod(0o666), "unreadable": lambda p: p.chmod(0),
             "all zeros": lambda p: p.write_bytes(bytes(16384)), "all ones": lambda p: p.write_bytes(b"\xff" * 16384)}
    for full_of in (False, True):
        for name, change in kinds.items():
            with rig.Tmpfs("size=128k") as gates:
                page = rig.make_page(gates)
                os.mkfifo(gates / "fifo")
                change(page)
                if full_of:
                    _fill(gates, 0)
                yield f"in the page's place: {name}{', on a full file system' if full_of else ''}", _same(host, rig.loaded(gates), work, 5)
    with rig.Tmpfs("size=256k") as gates:
        # As a version before made it: what nobody stored to is a hole.
        page = rig.make_page(gates)
        head = page.read_bytes()[:4096]
        page.unlink()
        with open(page, "wb") as f:
            f.write(head)
            f.truncate(16384)
        _fill(gates, 0)
        yield "a page with holes behind its head, on a full file system", _same(host, rig.loaded(gates), work, 5)


REFUSED = 0xffffffff                    # gate/src/control.rs: PROFILE_REFUSED


def _profile_len(gates):
    return struct.unpack_from("=I", (gates / rig.GATE / "control").read_bytes(), 72)[0]


def around(host, work):
    with rig.Tmpfs() as gates:
        os.mkfifo(gates / "fifo")
        (gates / "file").touch()
        (gates / "loop").symlink_to("loop")
        (gates / "gone").symlink_to("nowhere")
        for name in ("fifo", "file", "loop", "gone", "a/b/c/d", "x" * 300):
            yield f"WRITEGATE_DIR is {name[:10]}", _same(host, rig.loaded(gates / name), work, 5)
        for name in ("..", ".", "", "a/b", "x" * 300, "\udcff\udcfe", "a b", "%s%n"):
            env = rig.loaded(gates) | {"WRITEGATE_GATE": name}
            yield f"WRITEGATE_GATE is {name[:10]!r}", _same(host, env, work, 5)
        for name in ("fifo", "file", "loop", "gone", "."):
            os.makedirs(gates / f"in-{name}", exist_ok=True)
            env = rig.loaded(gates / f"in-{name}", WRITEGATE_CONF=str(gates / name))
            bad = _same(host, env, work, 5)
            if not bad and name != "file" and (len_ := _profile_len(gates / f"in-{name}")) != REFUSED:
                bad = f"the page was made with a profile of {len_} bytes"
            yield f"WRITEGATE_CONF is {name}, at the first start", bad
        for device in ("/dev/zero", "/dev/tty", "/dev/full", "/proc/kmsg", "/proc/self/mem", "/dev/random"):
            os.makedirs(gates / device.replace("/", "-"), exist_ok=True)
            env = rig.loaded(gates / device.replace("/", "-"), WRITEGATE_CONF=device)
            yield f"WRITEGATE_CONF is {device}, at the first start", _same(host, env, work, 5)
        for paths in (":".join(f"/srv/{n}" for n in range(1000)), "/" * 5000, ":" * 5000, "fifo", str(gates / "fifo"), str(gates / "loop"), "\udcff"):
            env = rig.loaded(gates, WRITEGATE_PATHS=paths, WRITEGATE_EXCLUDE=paths)
            yield f"WRITEGATE_PATHS is {paths[:12]!r}, {len(paths)} bytes", _same(host, env, work, 5)


def descriptors(host, work):
    """No descriptor of the library's stays, none is taken that the program had closed."""
    for closed in ((0,), (1,), (2,), (0, 1, 2)):
        for first in (True, False):
            with rig.Tmpfs() as gates:
                if not first:
                    rig.make_page(gates)

                def shut():
                    for fd in closed:
                        os.close(fd)
                counts = []
                for env in (rig.clean(), rig.loaded(gates)):
                    rig.run([host, work, "descriptors"], env, preexec_fn=shut)
                    counts.append(Path(work, "descriptors").read_text())
                yield f"descriptors {closed} closed, {'first start' if first else 'later'}", None if counts[0] == counts[1] else f"{counts}"


def visible(host, work):
    """Who runs ungated although it was to be gated is seen: the doctor names it."""
    with rig.Tmpfs("size=128k") as gates:
        page = rig.make_page(gates)
        os.truncate(page, 4096)
        p = subprocess.Popen([host, work, "sleep"], env=rig.loaded(gates), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            while b"system" not in p.stdout.readline():
                pass
            yield "a page that was cut is not mapped", "it is" if "control" in Path(f"/proc/{p.pid}/maps").read_text() else None
            code, out, err = rig.run([rig.COMMAND, "doctor", "-g", rig.GATE, "--pid", p.pid], rig.clean(WRITEGATE_DIR=str(gates)), 30)
            bad = None if code not in (0, "hangs") and b"16384" in out + err else f"exit {code}: {out} {err}"
            yield "the doctor names a page that was cut", bad
            page.unlink()
            rig.make_page(gates)
            code, out, err = rig.run([rig.COMMAND, "doctor", "-g", rig.GATE, "--pid", p.pid], rig.clean(WRITEGATE_DIR=str(gates)), 30)
            yield "the doctor names who was started without a sound page", None if code not in (0, "hangs") else f"exit {code}: {out} {err}"
        finally:
            p.kill()
            p.wait()


def cases(work):
    host = rig.build(work, "host.c")
    for group in (full, limits, in_its_place, around, descriptors, visible):
        yield from group(host, work)
