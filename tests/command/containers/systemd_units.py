"""Hardened units under systemd itself: in a Debian of its own (tests/command/packages/machine.py), where systemd is the first process.
What each option is to bring about is looked at, so that none stands there without effect. PrivateUsers is not among them: that
Debian lives in a chroot, where no user namespace can be made (units.py has it).
"""
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.append(str(Path(__file__).resolve().parents[1] / "packages"))
import machine as machines                              # noqa: E402
from world import BIN, Skip, tell                       # noqa: E402

# A root that the part `packages` has made already, where it has been run.
PACKAGES = ("postfix",)
UNIT = """[Service]
Environment=LD_PRELOAD={library} WRITEGATE_GATE=unit WRITEGATE_PATHS=/srv/mail
ExecStart=/usr/local/bin/member
StandardInput=file:/srv/talk/orders
StandardOutput=file:/srv/talk/answers
{options}
"""
FREEZER = """[Service]
Type=oneshot
ExecStart={command}
StandardOutput=append:/srv/talk/said
StandardError=append:/srv/talk/said
{options}
"""
LIBRARY = "/usr/lib/x86_64-linux-gnu/libwritegate.so"
WRITES = "ReadWritePaths=/srv/mail -/run/writegate"


def seccomp(machine, pid):
    return "Seccomp:\t2" in status(machine, pid)


def no_new(machine, pid):
    return "NoNewPrivs:\t1" in status(machine, pid)


def read_only(_, pid):
    return os.statvfs(f"/proc/{pid}/root/usr").f_flag & os.ST_RDONLY


def few_processes(machine, pid):
    return "subset=pid" in Path(f"/proc/{pid}/mountinfo").read_text()


def hidden(machine, pid):
    return "hidepid=invisible" in Path(f"/proc/{pid}/mountinfo").read_text()


def other_root(machine, pid):
    return not os.path.exists(f"/proc/{pid}/root/etc/shadow")


def no_rights(machine, pid):
    return "CapBnd:\t0000000000000000" in status(machine, pid)


def other_user(machine, pid):
    return os.stat(f"/proc/{pid}").st_uid > 60_000


def status(_, pid):
    return Path(f"/proc/{pid}/status").read_text()


EVERYTHING = ["NoNewPrivileges=yes", "MemoryDenyWriteExecute=yes", "SystemCallFilter=@system-service", "SystemCallErrorNumber=EPERM",
              "CapabilityBoundingSet=", "PrivateTmp=yes", "PrivateDevices=yes", "PrivateNetwork=yes",
              "ProtectSystem=strict", WRITES, "ProtectHome=yes", "ProtectProc=invisible", "ProtectClock=yes", "ProtectHostname=yes",
              "ProtectKernelLogs=yes", "ProtectKernelModules=yes", "ProtectControlGroups=yes", "LockPersonality=yes",
              "RestrictRealtime=yes", "RestrictSUIDSGID=yes", "RestrictNamespaces=yes", "RestrictAddressFamilies=AF_UNIX",
              "SystemCallArchitectures=native", "RemoveIPC=yes", "UMask=0077"]

# name: the unit's options, what must be so then, the outcome (none: works, with half a set waited for; else an exit code)
ROWS = {
    "MemoryDenyWriteExecute": (["MemoryDenyWriteExecute=yes"], seccomp, None),
    "SystemCallFilter=@system-service": (["SystemCallFilter=@system-service"], seccomp, None),
    "NoNewPrivileges": (["NoNewPrivileges=yes"], no_new, None),
    "CapabilityBoundingSet=": (["CapabilityBoundingSet="], no_rights, None),
    "ProtectSystem=strict": (["ProtectSystem=strict", WRITES], read_only, None),
    "ProtectProc=invisible": (["ProtectProc=invisible"], hidden, None),
    "ProcSubset=pid": (["ProcSubset=pid"], few_processes, None),
    "DynamicUser": (["DynamicUser=yes", WRITES], other_user, 75),
    "RootDirectory": (["RootDirectory=/srv/root", "MountAPIVFS=yes", "BindReadOnlyPaths=/usr /lib /lib64 /bin",
                       "BindPaths=/srv/mail /run/writegate"], other_root, None),
    "all that systemd-analyze security asks for": (EVERYTHING, lambda *at: seccomp(*at) and no_new(*at) and no_rights(*at) and read_only(*at), None),
}
# The freezer as a unit: options, the outcome (an exit code).
FREEZERS = {
    "everything there": ([], 0),
    "NoNewPrivileges, MemoryDenyWriteExecute": (["NoNewPrivileges=yes", "MemoryDenyWriteExecute=yes"], 0),
    "ProtectSystem=strict": (["ProtectSystem=strict", "ReadWritePaths=/run/writegate /srv/mail"], 0),
    "SystemCallFilter=@system-service": (["SystemCallFilter=@system-service", "SystemCallErrorNumber=EPERM"], 0),
    "CapabilityBoundingSet=CAP_SYS_PTRACE CAP_SYS_ADMIN CAP_DAC_READ_SEARCH":
        (["CapabilityBoundingSet=CAP_SYS_PTRACE CAP_SYS_ADMIN CAP_DAC_READ_SEARCH"], 0),
    "CapabilityBoundingSet=": (["CapabilityBoundingSet="], 77),
    "ProcSubset=pid": (["ProcSubset=pid"], 78),
    "ProtectProc=invisible": (["ProtectProc=invisible"], 0),
}
FREEZE = ("writegate", "freeze", "-g", "unit", "-t", "20s", "--drain", "1s", "--retries", "0")


def put(machine, world):
    """What a unit here needs."""
    for source, at in ((BIN / "libwritegate.so", LIBRARY), (BIN / "writegate", "/usr/bin/writegate"),
                       (world.member_program, "/usr/local/bin/member")):
        machine.inside(at).write_bytes(Path(source).read_bytes())
        machine.inside(at).chmod(0o755)
    for folder in ("/srv/mail", "/srv/talk", "/srv/root/srv/mail", "/srv/root/run/writegate", "/run/writegate"):
        machine.inside(folder).mkdir(parents=True, exist_ok=True)
    for folder in ("usr", "lib", "lib64", "bin", "proc", "dev", "sys", "tmp", "etc", "var/tmp"):
        machine.inside(f"/srv/root/{folder}").mkdir(parents=True, exist_ok=True)
    for name in ("orders", "answers"):
        os.mkfifo(machine.inside(f"/srv/talk/{name}"), 0o666)
        machine.inside(f"/srv/talk/{name}").chmod(0o666)


class Unit:
    """A service that does what it is told."""

    def __init__(self, machine, options):
        self.machine = machine
        machine.inside("/srv/mail").chmod(0o777)
        machine.run("sh", "-c", "rm -rf /srv/mail/* /run/writegate/unit")
        # The page is root's, also where the service is another user's.
        machine.run("writegate", "exec", "-g", "unit", "--", "true")
        machine.inside("/etc/systemd/system/gated.service").write_text(UNIT.format(library=LIBRARY, options="\n".join(options)))
        ends = [os.open(machine.inside(f"/srv/talk/{name}"), os.O_RDWR) for name in ("orders", "answers")]
        self.member = SimpleNamespace(stdin=os.fdopen(ends[0], "w"), stdout=os.fdopen(ends[1]))
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "gated")
        running = machine.run("systemctl", "is-active", "gated", check=False)[1].strip()
        assert running == "active", machine.run("systemctl", "status", "gated", "--no-pager", check=False)[1]
        said = self.member.stdout.readline()
        assert said == "done\n", said
        inside = machine.run("systemctl", "show", "-p", "MainPID", "--value", "gated")[1].strip()
        # Its number here.
        self.pid = next(int(pid) for pid in os.listdir("/proc") if pid.isdigit() and numbers(pid)[-1:] == [inside]
                        and Path(f"/proc/{pid}/comm").read_text() == "member\n")

    def freeze(self, *options, unit=None):
        """(exit code, what it said); `unit`: by a unit with these options."""
        if unit is None:
            return self.machine.run(*FREEZE, *options, "--", "true", check=False)
        said = self.machine.inside("/srv/talk/said")
        said.write_text("")
        self.machine.inside("/etc/systemd/system/freezer.service").write_text(FREEZER.format(
            command=" ".join(("/usr/bin/" + FREEZE[0], *FREEZE[1:], *options, "--", "true")), options="\n".join(unit)))
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "start", "freezer", check=False)
        code = self.machine.run("systemctl", "show", "-p", "ExecMainStatus", "--value", "freezer")[1]
        self.machine.run("systemctl", "reset-failed", "freezer", check=False)
        return int(code), said.read_text()

    def stop(self):
        self.machine.run("systemctl", "stop", "gated", check=False)
        for end in (self.member.stdin, self.member.stdout):
            end.close()


def numbers(pid):
    try:
        return re.search(r"NSpid:\t(.*)", Path(f"/proc/{pid}/status").read_text())[1].split()
    except (OSError, TypeError):
        return []


def judged(unit, options=(), by=None):
    code, said = unit.freeze(*options, unit=by)
    assert code == 0 and "verdict=CONSISTENT coverage=full" in said and "procs=1 " in said, f"{code}: {said}"
    tell(unit.member, "lock /srv/mail/lock")
    tell(unit.member, "write /srv/mail/half")
    code, said = unit.freeze(*options, unit=by)
    assert code == 75, f"half a set: {code}: {said}"
    tell(unit.member, "unlock")


def within(world, do):
    try:
        with machines.Machine("bookworm", world.root / "machine", PACKAGES, systemd=True) as machine:
            put(machine, world)
            for name, row in do[0].items():
                try:
                    do[1](machine, *row)
                except AssertionError as why:
                    raise AssertionError(f"{name}: {why}") from None
    except machines.Unavailable as why:
        raise Skip(str(why)) from None


def service(machine, options, holds, outcome):
    unit = Unit(machine, options)
    try:
        assert holds(machine, unit.pid), "the option has no effect here"
        if not outcome:
            judged(unit)
            return
        # systemd keeps a lock of the main process in a socket, as long as the service runs (/run/systemd/dynamic-uid).
        code, said = unit.freeze("--users", str(os.stat(f"/proc/{unit.pid}").st_uid))
        assert code == outcome and "on its way to another process" in said, f"{code}: {said}"
    finally:
        unit.stop()


def freezer(machine, options, outcome):
    unit = Unit(machine, [])
    try:
        begun = time.monotonic()
        if not outcome:
            judged(unit, by=options)
            return
        code, said = unit.freeze(unit=options)
        assert code == outcome and "verdict=" not in said and time.monotonic() - begun < 15, f"{code}: {said}"
    finally:
        unit.stop()


def services_under_systemd_itself(world):
    within(world, (ROWS, service))


def freezers_under_systemd_itself(world):
    within(world, (FREEZERS, freezer))


CASES = [services_under_systemd_itself, freezers_under_systemd_itself]
