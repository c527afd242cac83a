"""Stock servers under a systemd of their own: `setup --install --apply` must end in a trusted freeze, thirty freezes
under load must lose nothing, a writer past the gate must be told, and --remove and purge must leave /etc byte for byte.
"""
import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import machine as machines
from stock import SERVERS

HERE = Path(__file__).resolve().parent
FREEZES = 30
STOP = "running.stop"


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def case(release, name):
    def run(debs, work):
        server = SERVERS[name]
        with machines.Machine(release, work, server.packages, systemd=True) as machine:
            whole(machine, name, server, debs, work)
    return run


def whole(machine, name, server, debs, work):
    for command in server.prepare:
        machine.run(*command)
    machine.run("systemctl", "restart", server.service)
    time.sleep(2)
    check(machine.run("systemctl", "is-active", server.service, check=False)[1].strip() == "active",
          f"{server.service} does not run as its package made it: nothing of the set-up could be shown")
    for deb in debs:
        shutil.copy(deb, machine.inside("/root"))
    base = machine.etc()
    machine.run("sh", "-c", "dpkg -i /root/writegate_*.deb")
    before = machine.etc()
    code, _ = machine.run("writegate", "doctor", name, check=False)
    check(code != 0, "green before it was set up: this check is blind")

    code, said = machine.run("writegate", "setup", name, "--install", "--apply", check=False)
    check(code == 0 and "verdict=CONSISTENT" in said, f"setup --install --apply: {code}: {said[-2500:]}")
    code, said = machine.run("writegate", "doctor", name, check=False)
    check(code == 0, f"doctor {name} without -g: {said}")
    gates = sorted(path.name for path in machine.inside("/run/writegate").iterdir())
    check(gates == [server.gate], f"gates {gates}: one was made by accident, and `-g` may be left out no more")
    freezes(machine, server, work)
    ungated(machine, server)

    code, said = machine.run("writegate", "setup", name, "--remove", "--apply", check=False)
    check(code == 0, f"setup --remove --apply: {said}")
    left = changed(before, machine.etc())
    check(not left, f"after --remove: {left}")
    check(machine.run("systemctl", "is-active", server.service)[1].strip() == "active", "it does not run any more")
    machine.run("dpkg", "-P", "writegate")
    left = changed(base, machine.etc())
    check(not left, f"after purge: {left}")


def freezes(machine, server, work):
    """The load runs here, in the machine's network; each copy must hold everything that was acknowledged before."""
    log = work / "acknowledged"
    load = subprocess.Popen(["nsenter", "-t", str(machine.pid), "--net", sys.executable, HERE / "load.py", server.load,
                             str(server.port), log], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not (log.exists() and log.read_text().count("\n") >= 5):
            check(load.poll() is None and time.monotonic() < deadline, "the load does not run")
            time.sleep(0.1)
        for number in range(FREEZES):
            acknowledged = log.read_text().split()
            copy = ["sh", "-c", f"rm -rf /srv/copy; mkdir -p /srv/copy; cp -a --parents {' '.join(server.copied)} /srv/copy"]
            code, said = machine.run("writegate", "freeze", "-g", server.gate, "-t", "20s", "--drain", "10s", "--", *copy, check=False)
            check(code == 0 and "verdict=CONSISTENT" in said, f"freeze {number}: {code}: {said}")
            wrong = contradictions(machine.inside("/srv/copy"), acknowledged)
            check(not wrong, f"freeze {number}: {wrong[:3]}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            load.terminate()
        load.wait(timeout=30)


def contradictions(copy, acknowledged):
    """Messages that are nowhere in the copy, and those in a mailbox that are cut off."""
    text = b"".join(path.read_bytes() for path in copy.rglob("*") if path.is_file())
    wrong = [f"{token} was acknowledged and is nowhere" for token in acknowledged if f"begin-{token}".encode() not in text]
    return wrong + [f"{token} is cut off" for token in acknowledged
                    if text.count(f"begin-{token}".encode()) != text.count(f"end-{token}".encode())]


def ungated(machine, server):
    """A tool that was not started through the gate writes in the window: told, and no trust."""
    target = f"{server.copied[0]}/not-gated"
    stranger = subprocess.Popen([str(a) for a in machine.argv("sh", "-c", f"while :; do echo x >>{target}; sleep 0.05; done")],
                                stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        code, said = machine.run("writegate", "freeze", "-g", server.gate, "-t", "20s", "--paths", server.copied[0], "--",
                                 "sleep", "1", check=False)
    finally:
        stranger.kill()
        stranger.wait()
    machine.run("rm", target)
    check(code == 65 and "not-gated" in said, f"a writer past the gate: {code}: {said}")


def changed(before, after):
    noise = ("ld.so.cache",)
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name) and name not in noise)
