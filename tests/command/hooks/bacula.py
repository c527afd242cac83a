"""The real Bacula (Debian's director, storage and file daemon, with ports and a catalogue of their own) and the job of contrib/bareos."""
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import bad
from rig import ROOT, Skip, need, run, whole

TABLES = Path("/usr/share/bacula-director/make_sqlite3_tables")
DIRECTOR = """
Director {{ Name = dir; DIRport = {dir}; QueryFile = "{w}/query.sql"; WorkingDirectory = "{w}"; PidDirectory = "{w}"
  Password = "x"; Messages = log; DirAddress = 127.0.0.1 }}
JobDefs {{ Name = DefaultJob; Type = Backup; Level = Full; Client = fd; Storage = sd; Pool = pool; Messages = log }}
Client {{ Name = fd; Address = 127.0.0.1; FDPort = {fd}; Catalog = cat; Password = "x" }}
Storage {{ Name = sd; Address = 127.0.0.1; SDPort = {sd}; Password = "x"; Device = dev; Media Type = File }}
Catalog {{ Name = cat; dbname = "bacula"; dbuser = ""; dbpassword = "" }}
Pool {{ Name = pool; Pool Type = Backup; LabelFormat = "volume"; Recycle = no }}
Messages {{ Name = log; append = "{w}/log" = all }}
"""
STORAGE = """
Storage {{ Name = sd; SDPort = {sd}; SDAddress = 127.0.0.1; WorkingDirectory = "{w}"; PidDirectory = "{w}" }}
Director {{ Name = dir; Password = "x" }}
Device {{ Name = dev; Media Type = File; Archive Device = "{w}/volumes"; LabelMedia = yes; Random Access = yes; AutomaticMount = yes
  RemovableMedia = no; AlwaysOpen = no }}
Messages {{ Name = log; director = dir = all }}
"""
CLIENT = """
FileDaemon {{ Name = fd; FDport = {fd}; FDAddress = 127.0.0.1; WorkingDirectory = "{w}"; PidDirectory = "{w}" }}
Director {{ Name = dir; Password = "x" }}
Messages {{ Name = log; director = dir = all }}
"""
VERDICTS = {69: "nothing is gated", 75: "verdict=NOT_DRAINED", 124: "verdict=EXPIRED"}
CONSOLE = """
Director {{ Name = dir; DIRport = {dir}; address = 127.0.0.1; Password = "x" }}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Bacula:
    """Three daemons; the client's is started anew for each run, for its environment is the scripts'."""

    def __init__(self, rig, at):
        self.rig, self.work, self.daemons = rig, rig.folder / "bacula", {}
        (self.work / "volumes").mkdir(parents=True)
        (self.work / "query.sql").touch()
        ports = {"dir": free_port(), "sd": free_port(), "fd": free_port()}
        job = (ROOT / "contrib/bareos/writegate.conf").read_text()
        job = job.replace("/usr/local/sbin/writegate-snapshot", str(ROOT / "contrib/snapshot/writegate-snapshot"))
        job = job.replace("/srv/mail", str(rig.tree)).replace("/srv/.writegate-bareos", str(at))
        for name, text in {"dir": DIRECTOR, "sd": STORAGE, "fd": CLIENT, "console": CONSOLE}.items():
            text = text.format(w=self.work, **ports) + (job if name == "dir" else "")
            (self.work / f"{name}.conf").write_text(text)
        tables = TABLES.read_text().replace("cd /var/lib/bacula", f"cd {self.work}").replace("XXX_DBNAME_XXX", "bacula")
        run("sh", "-c", tables)
        self.start("sd")
        self.start("dir")

    def start(self, name, **more):
        argv = [f"bacula-{name}", "-f", "-c", self.work / f"{name}.conf"]
        self.daemons[name] = subprocess.Popen(argv, env=self.rig.environment(**more), stdin=subprocess.DEVNULL,
                                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self, name):
        daemon = self.daemons.pop(name, None)
        if daemon:
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def backup(self, **more):
        """(the job's status: T is good, what the log says of it)"""
        self.start("fd", **more)
        time.sleep(0.5)
        log = self.work / "log"
        before = log.stat().st_size if log.exists() else 0
        said = subprocess.run(["bconsole", "-c", self.work / "console.conf"], input="run job=mail yes\nwait\nquit\n", text=True,
                              capture_output=True, timeout=90)
        number = re.search(r"JobId=(\d+)", said.stdout)
        assert number, said.stdout + said.stderr
        self.stop("fd")
        with sqlite3.connect(self.work / "bacula.db") as catalogue:
            status, files = catalogue.execute("select JobStatus, JobFiles from Job where JobId = ?", (number[1],)).fetchone()
        return status, files, log.read_text()[before:] if log.exists() else ""

    def close(self):
        for name in list(self.daemons):
            self.stop(name)


def test_bacula_itself(rig):
    """Whole, refused, late: a job whose freeze is not CONSISTENT writes nothing to a volume."""
    need("bacula-dir", "bacula-sd", "bacula-fd", "bconsole", "bextract", "sqlite3")
    if not TABLES.exists():
        raise Skip(f"{TABLES} is not there")
    at = rig.volume / ".writegate-bareos"
    rig.write(paths=rig.tree)
    bacula = Bacula(rig, at)
    try:
        status, files, log = bacula.backup()
        assert status == "T" and files and not at.exists(), (status, log[-3000:])
        restored = rig.folder / "restored"
        restored.mkdir()
        [volume] = (bacula.work / "volumes").iterdir()
        run("bextract", "-c", bacula.work / "sd.conf", "-V", volume.name, "dev", restored)
        whole(restored / str(at).lstrip("/"))
        for name, code, more in bad.wrapped(rig, only=("the server is stopped", "does not drain", "late")):
            stand_in = bad.stand_in(rig, "btrfs", shutil.which("btrfs"), '*"subvolume snapshot"*')
            status, files, log = bacula.backup(**{**stand_in, **more})
            assert status in "fE" and not files and not at.exists(), f"{name}: {status} {files}: {log[-3000:]}"
            # What writegate said stands in the job's log, for whoever looks why it failed.
            assert VERDICTS[code] in log, f"{name}: {log[-3000:]}"
    finally:
        bacula.close()
