"""The .deb in a clean root of the oldest Debian: installed, used, upgraded and downgraded under a running process,
removed, purged, and damaged."""
import re
import shutil
import subprocess
import time

LIBRARY = "/usr/lib/x86_64-linux-gnu/libwritegate.so"
WORKER = ("mkdir -p /srv/mail; while :; do ( flock 9; echo a >>/srv/mail/a; echo b >>/srv/mail/b ) 9>/srv/mail/lock; "
          "sleep 0.01; done")


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def variant(deb, version, work):
    """The same package under another version."""
    tree = work / f"as-{version}"
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True, capture_output=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {version}", control.read_text(), flags=re.M))
    made = work / f"writegate-{version}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", tree, made], check=True, capture_output=True)
    shutil.rmtree(tree)
    return made


def mode(machine):
    return oct(machine.inside(LIBRARY).stat().st_mode & 0o7777)


def start_worker(machine):
    machine.run("sh", "-c", f"WRITEGATE_PATHS=/srv/mail writegate exec -g mail -- sh -c '{WORKER}' >/dev/null 2>&1 & echo $! >/run/worker")
    for _ in range(100):
        code, said = machine.run("writegate", "doctor", "-g", "mail", check=False)
        if code == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"the worker is not gated: {said}")


def freeze(machine, why):
    code, said = machine.run("writegate", "freeze", "-g", "mail", "-t", "30s", "--drain", "20s", "--paths", "/srv/mail", "--", "true",
                             check=False)
    check(code == 0 and "verdict=CONSISTENT" in said, f"{why}: {code}: {said}")


def life(machine, debs, work):
    deb = next(path for path in debs if path.name.startswith("writegate_"))
    setuid = next(path for path in debs if path.name.startswith("writegate-setuid_"))
    newer, older = variant(deb, "0.2.0", work), variant(deb, "0.0.9", work)
    cut = work / "cut.deb"
    cut.write_bytes(deb.read_bytes()[:deb.stat().st_size // 2])
    for file in deb, setuid, newer, older, cut:
        shutil.copy(file, machine.inside("/root"))
    before = machine.etc()

    code, said = machine.run("dpkg", "-i", "/root/cut.deb", check=False)
    check(code, f"a package that is cut off was installed: {said}")
    check(not machine.inside("/usr/bin/writegate").exists(), "half of it lies there")
    machine.run("dpkg", "--purge", "writegate", check=False)

    machine.run("dpkg", "-i", f"/root/{deb.name}")
    check(mode(machine) == "0o644", mode(machine))
    for file in ("/usr/share/man/man5/writegate.conf.5.gz", "/usr/share/man/man1/writegate-freeze.1.gz",
                 "/usr/lib/tmpfiles.d/writegate.conf", "/usr/share/bash-completion/completions/writegate",
                 "/usr/share/doc/writegate/sbom.cdx.json", "/usr/share/writegate/contrib/qemu-ga/fsfreeze-hook"):
        check(machine.inside(file).exists(), f"{file} is not there")
    check(machine.run("writegate", "exec", "-g", "x", "--", "/bin/echo", "ran")[1] == "ran\n", "exec")
    shutil.rmtree(machine.inside("/run/writegate/x"))
    start_worker(machine)
    check(f"library {LIBRARY}" in machine.run("writegate", "doctor", "-g", "mail", check=False)[1], "doctor does not say which library")
    freeze(machine, "after the installation")

    was = machine.inside(LIBRARY).stat().st_ino
    machine.run("dpkg", "-i", "/root/writegate-0.2.0.deb")
    check(machine.inside(LIBRARY).stat().st_ino != was, "written over in place: every process that has it would crash")
    freeze(machine, "after an upgrade under a running process")
    machine.run("dpkg", "-i", "/root/writegate-0.0.9.deb")
    freeze(machine, "after a downgrade")
    during = ["writegate", "freeze", "-g", "mail", "--paths", "/srv/mail", "-t", "60s", "--", "dpkg", "-i", f"/root/{deb.name}"]
    code, said = machine.run(*during, check=False)
    check(code == 0 and "verdict=CONSISTENT" in said, f"an upgrade in the middle of a freeze: {code}: {said}")

    machine.run("dpkg", "-i", f"/root/{setuid.name}")
    check(mode(machine) == "0o4755", mode(machine))
    machine.run("dpkg", "-i", "--force-depends", "/root/writegate-0.2.0.deb")
    check(mode(machine) == "0o4755", "the bit is lost at an upgrade")
    machine.run("dpkg", "-P", "writegate-setuid")
    check(mode(machine) == "0o644", "the bit is kept after its package is gone")

    unit = machine.inside("/etc/systemd/system/store.service")
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text("[Service]\nExecStart=/bin/sleep 9\n")
    with_unit = machine.etc()
    gates = sorted(path.name for path in machine.inside("/run/writegate").iterdir())
    machine.run("writegate", "setup", "store.service", "--install")
    left = sorted(path.name for path in machine.inside("/run/writegate").iterdir())
    check(left == gates, f"its look at the library made a gate: {left}")
    said = machine.run("dpkg", "-r", "writegate")[1]
    check("store is still set up" in said and "writegate setup store --remove" in said, f"removed without a word: {said}")
    check(not machine.inside(LIBRARY).exists(), "the library is left over")
    machine.run("dpkg", "-i", f"/root/{deb.name}")
    machine.run("writegate", "setup", "store", "--remove")
    check(not changed(with_unit, machine.etc(), ours=True), f"--remove left {changed(with_unit, machine.etc(), ours=True)}")
    unit.unlink()
    machine.run("sh", "-c", "kill $(cat /run/worker)", check=False)
    machine.run("dpkg", "-P", "writegate")
    left = [path for path in ("/usr/bin/writegate", LIBRARY, "/usr/share/writegate", "/usr/share/doc/writegate",
                              "/var/lib/writegate", "/etc/writegate") if machine.inside(path).exists()]
    check(not left, f"purged, and left {left}")
    check(not changed(before, machine.etc()), f"after purge: {changed(before, machine.etc())}")


def wrong_libraries(machine, debs, work):
    """Each is refused in words, and nothing is changed."""
    deb = next(path for path in debs if path.name.startswith("writegate_"))
    shutil.copy(deb, machine.inside("/root"))
    machine.run("dpkg", "-i", f"/root/{deb.name}")
    good = machine.inside(LIBRARY).read_bytes()
    machine.run("mkdir", "-p", "/etc/systemd/system", "/opt/x")
    machine.inside("/etc/systemd/system/store.service").write_text("[Service]\nExecStart=/bin/sleep 9\n")
    library = machine.inside("/opt/x/libwritegate.so")
    before = machine.etc()
    narrow, foreign = bytearray(good), bytearray(good)
    narrow[4], foreign[18] = 1, 183
    for what, content, rights, said_must in (
            ("cut off", good[:5000], 0o644, "is cut off"), ("32 bits", bytes(narrow), 0o644, "another machine"),
            ("aarch64", bytes(foreign), 0o644, "aarch64"), ("text", b"#!/bin/sh\n", 0o644, "no shared library"),
            ("others may write", good, 0o666, "can be changed by users who are not root"),
            ("nobody may read", good, 0o600, "cannot be read by a service's user")):
        library.write_bytes(content)
        library.chmod(rights)
        code, said = machine.run("writegate", "setup", "store.service", "--install", "--library", "/opt/x/libwritegate.so",
                                 check=False)
        check(code == 78 and said_must in said, f"{what}: {code}: {said}")
    code, said = machine.run("writegate", "setup", "store.service", "--install", "--library", "/opt/x/libwritgate.so", check=False)
    check(code == 78 and LIBRARY in said, f"a typo: {code}: {said}")
    check(not changed(before, machine.etc()), f"refused, and changed {changed(before, machine.etc())}")


def changed(before, after, ours=False):
    """What differs; `ours`: but for what the package itself brings."""
    def mine(name):
        return ours and name.startswith("apparmor.d")
    caches = ("ld.so.cache",)
    return sorted(name for name in before.keys() | after.keys()
                  if before.get(name) != after.get(name) and name not in caches and not mine(name))
