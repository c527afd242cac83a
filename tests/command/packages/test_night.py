"""What happens at night, with nobody there: a timer that is due while the machine starts, a service that is restarted in
the middle of a freeze, unattended-upgrades, needrestart after an upgrade, and `setup --apply` on a service that somebody has stopped or masked, or that does not come back.
By hand (run.py --all)."""
import contextlib
import email.utils
import hashlib
import shutil
import subprocess
import time

import machine as machines
from test_package import LIBRARY, check, variant

WORKER = """#!/bin/sh
while :; do ( flock 9; echo a >>/srv/mail/a; echo b >>/srv/mail/b ) 9>/srv/mail/lock; sleep 0.01; done &
"""
UNIT = """[Service]
Type=forking
ExecStart=/usr/local/bin/store
[Install]
WantedBy=multi-user.target
"""
DROP_IN = f"""[Service]
Environment=LD_PRELOAD={LIBRARY} WRITEGATE_GATE=store WRITEGATE_PATHS=/srv/mail
ExecStartPre=+-/usr/bin/writegate exec -g store -- /bin/true
"""
FREEZE = "writegate freeze -g store -t 30s --drain 20s -- true"
SNAPSHOT = "[Unit]\n{order}\n[Service]\nType=oneshot\nExecStart=/bin/sh -c '{freeze} 2>/root/{name}.said; echo $? >/root/{name}.code'\n"
TIMER = "[Timer]\nOnActiveSec=0\n[Install]\nWantedBy=timers.target\n"
UNITS = "etc/systemd/system"


def write(top, name, text, mode=0o644):
    path = top / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def enable(top, unit, target):
    wants = top / UNITS / f"{target}.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / unit).symlink_to(f"/{UNITS}/{unit}")


def store(top, drop_in=True):
    """A small service that changes two files under one lock."""
    (top / "srv/mail").mkdir(parents=True)
    write(top, "usr/local/bin/store", WORKER, 0o755)
    write(top, f"{UNITS}/store.service", UNIT)
    enable(top, "store.service", "multi-user.target")
    if drop_in:
        write(top, f"{UNITS}/store.service.d/writegate.conf", DROP_IN)


def unpacked(debs, top):
    deb = next(path for path in debs if path.name.startswith("writegate_"))
    subprocess.run(["dpkg-deb", "-x", deb, top], check=True)


def patient(machine, *argv, wanted=0):
    """Until the command ends so; what it said."""
    for _ in range(100):
        code, said = machine.run(*argv, check=False)
        if code == wanted:
            return said
        time.sleep(0.2)
    raise AssertionError(f"{' '.join(argv)}: {code}: {said}")


def timers(release):
    """A snapshot that is due while the machine starts: before the service it is 69 and says so; ordered behind it, it is good."""
    def prepare(debs, top):
        unpacked(debs, top)
        store(top)
        early, ordered = "DefaultDependencies=no\nBefore=store.service", "Requires=store.service\nAfter=store.service"
        for name, order in ("early", early), ("ordered", ordered):
            write(top, f"{UNITS}/{name}.service", SNAPSHOT.format(order=order, freeze=FREEZE, name=name))
        # What a timer starts is ordered before nobody who is started already: it may come early, and this one does.
        enable(top, "early.service", "sysinit.target")
        write(top, f"{UNITS}/ordered.timer", TIMER)
        enable(top, "ordered.timer", "timers.target")

    def run(debs, work):
        with machines.Machine(release, work, systemd=True, prepare=lambda top: prepare(debs, top)) as machine:
            for name, wanted in ("early", "69"), ("ordered", "0"):
                patient(machine, "test", "-s", f"/root/{name}.code")
                code, said = (machine.inside(f"/root/{name}.{what}").read_text().strip() for what in ("code", "said"))
                check(code == wanted, f"{name}: {code}: {said}")
                print(f"        {name}: exit code {code}: {said.splitlines()[-1]}", flush=True)
    return run


def restarted(release):
    """The service is restarted by the snapshot command itself, with its barrier up: an answer in time, the next freeze good."""
    def prepare(debs, top):
        unpacked(debs, top)
        store(top)

    def run(debs, work):
        with machines.Machine(release, work, systemd=True, prepare=lambda top: prepare(debs, top)) as machine:
            patient(machine, "writegate", "doctor", "store")
            began = time.monotonic()
            code, said = machine.run("writegate", "freeze", "-g", "store", "-t", "20s", "--", "systemctl", "restart", "store.service",
                                     check=False)
            took = time.monotonic() - began
            print(f"        exit code {code} after {took:.1f} s: {said.splitlines()[-1]}", flush=True)
            check(code in (0, 65, 124) and "verdict=" in said, f"{code}: {said}")
            patient(machine, "writegate", "doctor", "store")
            code, said = machine.run("sh", "-c", FREEZE, check=False)
            check(code == 0 and "verdict=CONSISTENT" in said, f"the next freeze: {code}: {said}")
    return run


def needrestart(release):
    """After an upgrade needrestart names the service, for it still has the old library; restarted by it, it is gated."""
    def run(debs, work):
        deb = next(path for path in debs if path.name.startswith("writegate_"))
        with machines.Machine(release, work, ("needrestart",), systemd=True, prepare=store) as machine:
            for file in deb, variant(deb, "9.0.0", work):
                shutil.copy(file, machine.inside("/root"))
            machine.run("dpkg", "-i", f"/root/{deb.name}")
            machine.run("systemctl", "daemon-reload")
            machine.run("systemctl", "restart", "store.service")
            patient(machine, "writegate", "doctor", "store")
            check("store.service" not in machine.run("needrestart", "-b", "-r", "l")[1], "named before the upgrade: this check is blind")
            machine.run("dpkg", "-i", "/root/writegate-9.0.0.deb")
            code, said = machine.run("sh", "-c", FREEZE, check=False)
            check(code == 0 and "verdict=CONSISTENT" in said, f"with the old library of the same layout: {code}: {said}")
            named = "store.service" in machine.run("needrestart", "-b", "-r", "l")[1]
            before = machine.run("systemctl", "show", "-p", "ExecMainStartTimestampMonotonic", "store.service")[1]
            machine.run("needrestart", "-r", "a", "-q")
            after = machine.run("systemctl", "show", "-p", "ExecMainStartTimestampMonotonic", "store.service")[1]
            print(f"        named by needrestart: {named}; restarted by `-r a`: {before != after}", flush=True)
            patient(machine, "writegate", "doctor", "store")
            code, said = machine.run("sh", "-c", FREEZE, check=False)
            check(code == 0 and "verdict=CONSISTENT" in said, f"after it: {code}: {said}")
    return run


def repository(folder, deb):
    """A repository of packages that holds this one."""
    folder.mkdir()
    shutil.copy(deb, folder / deb.name)
    packages = subprocess.run(["dpkg-scanpackages", "."], cwd=folder, check=True, capture_output=True).stdout
    check(packages, "dpkg-scanpackages lists nothing")
    (folder / "Packages").write_bytes(packages)
    (folder / "Release").write_text("Origin: site\nLabel: site\nSuite: stable\n"
                                    f"Date: {email.utils.formatdate(usegmt=True)}\nSHA256:\n"
                                    f" {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n")


def unattended(release):
    """unattended-upgrades brings a newer package while the service writes: not one change lost, freezes before, while and after."""
    def prepare(top):
        store(top)
        write(top, "etc/apt/sources.list", "deb [trusted=yes] file:/srv/packages ./\n")
        write(top, "etc/apt/apt.conf.d/60site", 'Unattended-Upgrade::Origins-Pattern { "origin=site"; };\n')

    def run(debs, work):
        if not shutil.which("dpkg-scanpackages"):
            raise machines.Unavailable("dpkg-scanpackages is not there (Debian: dpkg-dev)")
        deb = next(path for path in debs if path.name.startswith("writegate_"))
        with machines.Machine(release, work, ("unattended-upgrades",), systemd=True, prepare=prepare) as machine:
            shutil.copy(deb, machine.inside("/root"))
            machine.run("dpkg", "-i", f"/root/{deb.name}")
            machine.run("systemctl", "daemon-reload")
            machine.run("systemctl", "restart", "store.service")
            patient(machine, "writegate", "doctor", "store")
            process = machine.run("systemctl", "show", "-p", "MainPID", "store.service")[1]
            repository(work / "packages", variant(deb, "9.0.0", work))
            shutil.copytree(work / "packages", machine.inside("/srv/packages"))
            machine.run("apt-get", "update")
            before = (machine.inside("/srv/mail/a").read_bytes(), machine.inside("/srv/mail/b").read_bytes())
            # The upgrade is the snapshot command: it runs with the gate closed.
            code, said = machine.run("sh", "-c", FREEZE.replace("-- true", "-- unattended-upgrade -v"), check=False)
            check(code == 0 and "verdict=CONSISTENT" in said, f"a freeze around the upgrade: {code}: {said}")
            installed = machine.run("dpkg-query", "-W", "-f", "${Version}", "writegate")[1]
            check(installed == "9.0.0", f"it was not upgraded: {installed}: {said}")
            check(machine.run("systemctl", "show", "-p", "MainPID", "store.service")[1] == process, "it was restarted")
            code, said = machine.run("sh", "-c", FREEZE, check=False)
            check(code == 0 and "verdict=CONSISTENT" in said, f"after it, with the old library: {code}: {said}")
            next_step = "the library of before an upgrade (its file was replaced); to get the new one: systemctl restart store.service"
            code, said = machine.run("writegate", "doctor", "store", check=False)
            check(code == 0 and next_step in said, f"the doctor after it: {code}: {said}")
            machine.run("systemctl", "restart", "store.service")
            check("before an upgrade" not in patient(machine, "writegate", "doctor", "store"), "restarted, and the old library still")
            machine.run("systemctl", "stop", "store.service")
            a, b = (machine.inside(f"/srv/mail/{name}").read_bytes() for name in "ab")
            check(a.startswith(before[0]) and b.startswith(before[1]) and len(a) > len(before[0]), "what was written is lost")
            check(abs(len(a) - len(b)) <= 2, f"{len(a)} and {len(b)}: a change is lost")
    return run


@contextlib.contextmanager
def with_store(release, debs, work):
    """A machine with the package and the small service, which is not set up."""
    deb = next(path for path in debs if path.name.startswith("writegate_"))
    with machines.Machine(release, work, systemd=True, prepare=lambda top: store(top, drop_in=False)) as machine:
        shutil.copy(deb, machine.inside("/root"))
        machine.run("dpkg", "-i", f"/root/{deb.name}")
        yield machine


def stopped(release):
    """What somebody has stopped or masked, `setup --apply` does not start; it says so, and what is next."""
    def run(debs, work):
        with with_store(release, debs, work) as machine:
            # A unit whose own file lies in /etc cannot be masked.
            machine.run("mv", f"/{UNITS}/store.service", "/lib/systemd/system/")
            machine.run("systemctl", "daemon-reload")
            for masked in False, True:
                machine.run("systemctl", "stop", "store.service")
                if masked:
                    machine.run("systemctl", "mask", "store.service")
                before = machine.etc()
                code, said = machine.run("writegate", "setup", "store", "--install", "--apply", check=False)
                how = "systemctl unmask store.service && systemctl start" if masked else "`systemctl start store.service`"
                check(code == 69 and how in said, f"masked {masked}: {code}: {said}")
                state = machine.run("systemctl", "is-active", "store.service", check=False)[1].strip()
                check(state == "inactive", f"it was started: {state}")
                code, said = machine.run("writegate", "setup", "store", "--remove", "--apply", check=False)
                check(code == 0 and machine.etc() == before, f"--remove of a stopped one: {code}: {said}")
                state = machine.run("systemctl", "is-active", "store.service", check=False)[1].strip()
                check(state == "inactive", f"started by --remove: {state}")
            machine.run("writegate", "setup", "store", "--install", "--apply", check=False)
            machine.inside("/etc/writegate/store.conf").write_text("path = /srv/mail\n")
            machine.run("systemctl", "unmask", "store.service")
            machine.run("systemctl", "start", "store.service")
            code, said = machine.run("writegate", "setup", "store", "--install", "--apply", check=False)
            check(code == 0 and "verdict=CONSISTENT" in said, f"started, and once more: {code}: {said}")
    return run


def lost(release):
    """A server that does not come back from the restart that `setup --apply` makes: said as that, with the way back."""
    def run(debs, work):
        with with_store(release, debs, work) as machine:
            before = machine.etc()
            machine.run("chmod", "-x", "/usr/local/bin/store")
            code, said = machine.run("writegate", "setup", "store", "--install", "--apply", check=False)
            check(code == 78 and "does not run any more" in said and "setup store --remove --apply" in said, f"{code}: {said}")
            machine.run("chmod", "+x", "/usr/local/bin/store")
            machine.run("sh", "-c", "writegate setup store --remove --apply && systemctl start store.service")
            check(machine.etc() == before, "the way back leaves something")
            check(machine.run("systemctl", "is-active", "store.service")[1].strip() == "active", "the way back does not start it")
    return run
