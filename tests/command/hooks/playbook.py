"""The real ansible-core with two hosts (two gate directories on this machine): all or none."""
import json
import re
import tomllib

import pypi
from rig import ROOT, run, whole

COLLECTION = ROOT / "contrib/ansible"
PLAYBOOK = ROOT / "contrib/ansible/playbooks/snapshot.yml"


class Hosts:
    """Two writers under two gates of one name in two directories."""

    def __init__(self, rig, hold=(0.003, 0.003), own_commands=False):
        self.rig, self.trees, self.snapshots = rig, [], []
        inventory = ["[mail]"]
        for number in range(2):
            tree = rig.volume / f"mail{number}"
            run("btrfs", "-q", "subvolume", "create", tree)
            directory = rig.folder / f"run{number}"
            snapshot = rig.volume / f"snap{number}"
            if hold[number]:
                rig.write(hold=hold[number], directory=directory, tree=tree)
            self.trees.append(tree)
            self.snapshots.append(snapshot)
            values = {
                "ansible_connection": "local", "ansible_python_interpreter": pypi.HOME / "bin/python",
                "writegate_gate": "mail", "writegate_environment": json.dumps({"WRITEGATE_DIR": str(directory)}),
                "writegate_report": rig.folder / f"report{number}.json",
                "writegate_snapshot": f"btrfs subvolume snapshot -r {tree} {snapshot}",
                "writegate_untrusted": f"btrfs subvolume delete {snapshot}", "writegate_limit": "60s",
                "writegate_drain": "2s",
            }
            if own_commands:
                del values["writegate_snapshot"], values["writegate_untrusted"]
            words = " ".join(f"{key}='{value}'" for key, value in values.items())
            inventory.append(f"host{number} {words}")
        self.inventory = rig.folder / "inventory"
        self.inventory.write_text("\n".join(inventory) + "\n")

    def play(self, path="", playbook=PLAYBOOK, collections="", **more):
        extra = [word for key, value in more.items() for word in ("-e", f"{key}={value}")]
        env = self.rig.environment(ANSIBLE_LOCAL_TEMP=self.rig.folder / "tmp", ANSIBLE_REMOTE_TEMP=self.rig.folder / "tmp",
                                   ANSIBLE_COLLECTIONS_PATH=collections or self.rig.folder / "none", ANSIBLE_NOCOLOR="1", LC_ALL="C.UTF-8")
        env["PATH"] = f"{path}:{env['PATH']}" if path else env["PATH"]
        return run(pypi.program("ansible-playbook"), "-i", self.inventory, playbook, *extra, check=False, env=env,
                   timeout=300)


def test_ansible_two_hosts_at_one_moment(rig):
    pypi.program("ansible-playbook")
    hosts = Hosts(rig)
    done = hosts.play()
    assert done.returncode == 0, done.stdout[-2500:] + done.stderr
    assert "all hosts stood still together for" in done.stdout, done.stdout[-1500:]
    for snapshot in hosts.snapshots:
        whole(snapshot)
    reports = [json.loads((rig.folder / f"report{n}.json").read_text())["gates"][0] for n in range(2)]
    assert max(r["drained"]["wall_ns"] for r in reports) < min(r["opened"]["wall_ns"] for r in reports)
    # The same with a demand that no pair of windows can meet: refused, and both snapshots removed.
    for snapshot in hosts.snapshots:
        run("btrfs", "-q", "subvolume", "delete", snapshot)
    done = hosts.play(writegate_clock_ms="600000")
    assert done.returncode != 0 and "do not trust this set" in done.stdout, done.stdout[-1500:]
    assert not any(snapshot.exists() for snapshot in hosts.snapshots), "left although it was refused"


def test_ansible_as_a_collection(rig):
    """Built, installed and called by its name, by the real ansible-galaxy; no server of collections is asked."""
    galaxy = pypi.program("ansible-galaxy")
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    env = rig.environment(ANSIBLE_LOCAL_TEMP=rig.folder / "tmp", ANSIBLE_NOCOLOR="1", LC_ALL="C.UTF-8")
    run(galaxy, "collection", "build", COLLECTION, "--output-path", rig.folder, env=env)
    run(galaxy, "collection", "install", "--offline", "-p", rig.folder / "collections", rig.folder / f"writegate-gate-{version}.tar.gz",
        env=env)
    hosts = Hosts(rig)
    done = hosts.play(playbook="writegate.gate.snapshot", collections=rig.folder / "collections")
    assert done.returncode == 0 and "all hosts stood still together for" in done.stdout, done.stdout[-2500:] + done.stderr
    for snapshot in hosts.snapshots:
        whole(snapshot)
    # The third of its runs; the second is that of one host that does not drain.
    for snapshot in hosts.snapshots:
        run("btrfs", "-q", "subvolume", "delete", snapshot)
    done = hosts.play(playbook="writegate.gate.snapshot", collections=rig.folder / "collections", writegate_limit="1ms",
                      writegate_drain="1ms")
    assert done.returncode != 0 and "do not trust this set" in done.stdout, done.stdout[-1500:]
    assert not any(snapshot.exists() for snapshot in hosts.snapshots), "left although it was refused"


def test_ansible_one_host_does_not_drain(rig):
    pypi.program("ansible-playbook")
    hosts = Hosts(rig, hold=(0.003, 60))
    done = hosts.play(writegate_drain="300ms")
    assert done.returncode != 0 and "do not trust this set" in done.stdout, done.stdout[-1500:]
    assert not any(snapshot.exists() for snapshot in hosts.snapshots), "no host may take a snapshot"
    assert "not drained" in done.stdout, done.stdout[-1500:]


def test_ansible_one_host_is_late(rig):
    """With the commands of the playbook itself, by stand-ins: each play has a name of its own and touches no other."""
    pypi.program("ansible-playbook")
    hosts = Hosts(rig, own_commands=True)
    bin_dir, log = rig.folder / "bin", rig.folder / "log"
    bin_dir.mkdir()
    for name, more in ("btrfs", "sleep 2.5"), ("mv", ""):
        (bin_dir / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{log}\n{more}\n')
        (bin_dir / name).chmod(0o755)
    # A report of yesterday, which must not speak for today.
    for number in range(2):
        (rig.folder / f"report{number}.json").write_text("{}")
    done = hosts.play(path=f"{bin_dir}:/usr/bin:/bin", writegate_limit="1500ms")
    assert done.returncode != 0 and "do not trust this set" in done.stdout, done.stdout[-1500:]
    lines = log.read_text().splitlines()
    taken = [line.rsplit(" ", 1) for line in lines if line.startswith("btrfs")]
    [name] = {name for _, name in taken}
    assert re.fullmatch(r"/srv/\.writegate-\d{8}T\d{6}Z", name) and len(taken) == 2, lines
    assert [line for line in lines if line.startswith("mv")] == [f"mv -T {name} {name}.untrusted"] * 2, lines
    reports = [json.loads((rig.folder / f"report{number}.json").read_text()) for number in range(2)]
    assert all(report["verdict"] == "EXPIRED" for report in reports), reports
