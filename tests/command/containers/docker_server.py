#!/usr/bin/env python3
"""By hand: Debian 12's own Dovecot in a Docker container, under load, frozen by a sidecar with the rights of contrib/containers/compose.yaml.

  docker_server.py [--freezes N] [--without]

Each freeze is a token of the sidecar, a btrfs snapshot that the host makes, and the thaw. In each snapshot every message that
was acknowledged before must be there, whole, and Dovecot's own index must name each message file (`--without`: the same
snapshots, no freeze, for comparison). Ends with a line of figures. Needs root, dockerd, debootstrap, btrfs-progs.
"""
import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parent / "packages")]
import docker                                            # noqa: E402
import machine as machines                               # noqa: E402
from world import BIN, World                             # noqa: E402

SETTINGS = """
mail_location = maildir:/srv/mail/%u
mail_privileged_group = mail
disable_plaintext_auth = no
ssl = no
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/srv/mail/%u
}
first_valid_uid = 8
log_path = /dev/stderr
import_environment = TZ LD_PRELOAD WRITEGATE_GATE WRITEGATE_PATHS
"""
CLIENTS = 4


def load(pid, folder):
    """Clients of the server, in its container's network; each writes down what was acknowledged."""
    program = f"""
import imaplib, sys, threading
def client(n):
    server = imaplib.IMAP4("127.0.0.1", 143)
    server.login(f"u{{n}}", "secret")
    log = open("{folder}/log", "a", buffering=1)
    for number in range(100000):
        token = f"m{{n}}-{{number:06}}"
        body = "".join(f"line {{i}} of {{token}}\\r\\n" for i in range(80))
        assert server.append("INBOX", None, None, f"Subject: {{token}}\\r\\n\\r\\nbegin-{{token}}\\r\\n{{body}}end-{{token}}\\r\\n".encode())[0] == "OK"
        log.write(token + "\\n")
for n in range({CLIENTS}):
    threading.Thread(target=client, args=(n,)).start()
"""
    return subprocess.Popen(["nsenter", "-t", str(pid), "--net", sys.executable, "-c", program], stdin=subprocess.DEVNULL)


def wrong(snapshot, acknowledged):
    """What the snapshot lacks, cuts off, or has in one of its files and not in the other."""
    found = []
    for user in sorted(path for path in snapshot.iterdir() if path.is_dir()):
        messages = [path for folder in ("cur", "new") for path in (user / folder).glob("*")]
        text = b"".join(path.read_bytes() for path in messages)
        for token in acknowledged:
            if token.startswith(f"m{user.name[1:]}-"):
                begins, ends = (text.count(f"{word}-{token}".encode()) for word in ("begin", "end"))
                if not begins or begins != ends:
                    found.append(f"{token}: {begins} begins, {ends} ends")
        listed = (user / "dovecot-uidlist").read_text().splitlines()[1:]
        names = {line.split(" :", 1)[1].split(":")[0].split(",")[0] for line in listed if " :" in line}
        on_disk = {path.name.split(":")[0].split(",")[0] for path in messages}
        found += [f"{user.name}: {name} is in no line of dovecot-uidlist" for name in on_disk - names]
        found += [f"{user.name}: {name} is listed and not there" for name in names - on_disk]
    return found


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--freezes", type=int, default=30)
    options.add_argument("--without", action="store_true")
    options = options.parse_args()
    base = machines.base("bookworm", ("dovecot-imapd",))
    work = Path(tempfile.mkdtemp(prefix="writegate-docker-server-", dir="/var/tmp"))
    work.chmod(0o755)
    with contextlib.ExitStack() as undo:
        undo.callback(subprocess.run, ["rm", "-rf", work])
        volume = work / "volume"
        volume.mkdir()
        subprocess.run(f"truncate -s 2G {work}/image && mkfs.btrfs -q {work}/image && mount -o loop,noatime {work}/image {volume}",
                       shell=True, check=True)
        undo.callback(subprocess.run, ["umount", "-l", volume])
        mail = volume / "mail"
        subprocess.run(["btrfs", "-q", "subvolume", "create", mail], check=True)
        os.chown(mail, 8, 8)
        program = work / "member"
        subprocess.run(["gcc", "-O1", "-o", program, HERE.parent / "places" / "member.c"], check=True)
        world = World(work, program)
        undo.callback(world.close)
        host = docker.Host(world)
        tar = subprocess.Popen(["tar", "-C", base, "--exclude=./proc", "--exclude=./sys", "--exclude=./var/cache", "-c", "."],
                               stdout=subprocess.PIPE)
        done = host.daemon.call("import", "-", "dovecot", stdin=tar.stdout)
        assert done.returncode == 0 and tar.wait() == 0, done.stdout
        settings = work / "dovecot.conf"
        settings.write_text("protocols = imap\n" + SETTINGS)
        volumes = [f"{world.gates}:/run/writegate", f"{BIN}/libwritegate.so:{docker.LIBRARY}:ro", f"{BIN}/writegate:{docker.COMMAND}:ro",
                   f"{mail}:/srv/mail", f"{settings}:/etc/dovecot/dovecot.conf:ro"]
        given = ["--network=none", *(word for one in volumes for word in ("-v", one))]
        host.names += ["server", "sidecar"]
        env = [] if options.without else host.gated("/srv/mail")
        run = host.run("run", "-d", "--name=server", *given, *env, "dovecot", "/usr/sbin/dovecot", "-F")
        assert run.returncode == 0, run.said
        # (The sidecar's image is the server's: the command of this build is linked dynamically.)
        run = host.run("run", "-d", "--name=sidecar", "--pid=container:server", *docker.LEAST, *given, "dovecot", "sleep", "infinity")
        assert run.returncode == 0, run.said
        pid = int(host.daemon.call("inspect", "-f", "{{.State.Pid}}", "server").stdout)
        time.sleep(2)
        clients = load(pid, work)
        undo.callback(clients.wait)
        undo.callback(clients.kill)
        log = work / "log"
        until = time.monotonic() + 30
        while not (log.exists() and log.read_text().count("\n") >= 40):
            assert clients.poll() is None and time.monotonic() < until, host.daemon.call("logs", "server").stdout[-2000:]
            time.sleep(0.1)
        bad, drains, helds, codes = 0, [], [], {}
        for number in range(options.freezes):
            acknowledged = log.read_text().split()
            snapshot = volume / f"snap{number}"
            if not options.without:
                done = subprocess.run([*host.daemon.docker, "exec", "sidecar", "writegate", "freeze", "-g", docker.GATE, "-t", "10s",
                                       "--drain", "5s"], capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
            subprocess.run(["btrfs", "-q", "subvolume", "snapshot", "-r", mail, snapshot], check=True)
            if not options.without:
                thawed = subprocess.run([*host.daemon.docker, "exec", "sidecar", "writegate", "thaw", "--json", done.stdout.split()[-1]],
                                        capture_output=True, text=True)
                codes[thawed.returncode] = codes.get(thawed.returncode, 0) + 1
                line = re.search(r"drain=([\d.]+)(µs|ms|s) held=([\d.]+)(µs|ms|s)", thawed.stderr)
                if line:
                    unit = {"µs": 0.001, "ms": 1, "s": 1000}
                    drains.append(float(line[1]) * unit[line[2]])
                    helds.append(float(line[3]) * unit[line[4]])
                if thawed.returncode:
                    print(thawed.stderr, flush=True)
            found = wrong(snapshot, acknowledged)
            bad += bool(found)
            for what in found[:2]:
                print(f"snapshot {number}: {what}", flush=True)
            subprocess.run(["btrfs", "-q", "subvolume", "delete", snapshot], check=True)
            time.sleep(0.2)
        messages = log.read_text().count("\n")
        middle = (f", drain median {statistics.median(drains):.0f} ms, longest {max(drains):.0f} ms; held median "
                  f"{statistics.median(helds):.0f} ms, longest {max(helds):.0f} ms" if drains else "")
        print(f"{options.freezes} snapshots {'without' if options.without else 'with'} a freeze, {bad} wrong, exit codes of thaw "
              f"{json.dumps(codes)}, {messages} messages by {CLIENTS} clients{middle}; load {os.getloadavg()[0]:.0f}")
    return 1 if bad and not options.without else 0


if __name__ == "__main__":
    sys.exit(main())
