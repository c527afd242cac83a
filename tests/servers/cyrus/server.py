"""Debian's Cyrus 3.6 in a folder of the test's own: configuration, users, start and stop.

    with Server(tree, run, users=8, gate=g) as s:    # g: lab.gate.Gate, or None for bare
        s.imap_port, s.lmtp_port, s.users, s.password

`tree` is what gets snapshotted (configuration directory and partition, all cross-file state);
`run` holds what Debian keeps in /run: locks (`mboxname_lockpath`), sockets, process files. It lies
outside the protected tree on purpose: most locks of a real Cyrus do.
"""
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from lab import debs, procs

MASTER = "/usr/lib/cyrus/bin/master"

# conversations, immediate expunge and delete, and quota roots: the most state across files.
IMAPD_CONF = """\
configdirectory: {tree}/conf
defaultpartition: default
partition-default: {tree}/spool
mboxname_lockpath: {run}/lock
proc_path: {run}/proc
idlesocket: {run}/socket/idle
lmtpsocket: {run}/socket/lmtp
notifysocket: {run}/socket/notify
sievedir: {tree}/sieve
admins: cyrus
allowplaintext: yes
allowanonymouslogin: no
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {run}/sasldb2
sasl_mech_list: PLAIN LOGIN
servername: cyrus.test
defaultdomain: cyrus.test
virtdomains: off
unixhierarchysep: no
altnamespace: no
hashimapspool: true
conversations: 1
conversations_db: twoskip
mboxlist_db: twoskip
annotation_db: twoskip
seenstate_db: twoskip
duplicate_db: twoskip
statuscache_db: twoskip
quota_db: quotalegacy
subscription_db: flat
expunge_mode: immediate
delete_mode: immediate
popminpoll: 0
duplicatesuppression: no
autocreate_quota: -1
lmtp_downcase_rcpt: yes
tls_server_cert: disabled
"""

# With a replica (rolling replication by sync_client) and a search index that follows (squatter).
REPLICATED_CONF = """\
sync_log: yes
sync_log_channels: "" squatter
sync_host: 127.0.0.1
sync_port: {port}
sync_authname: cyrus
sync_password: {password}
sync_repeat_interval: 1
search_engine: squat
"""

REPLICATED_START = """\
    syncclient cmd="{sync_client} -C {conf} -r"
    squatter   cmd="{squatter} -C {conf} -R"
"""

# Each program needs -C of its own: the master does not hand its own down, and they would silently
# use /etc/imapd.conf.
CYRUS_CONF = """\
START {{
    recover  cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -C {conf} -r"
{start}}}
SERVICES {{
    imap  cmd="{imapd} -C {conf}" listen="127.0.0.1:{imap_port}" prefork=2 maxchild=200
    lmtp  cmd="/usr/lib/cyrus/bin/lmtpd -C {conf} -a" listen="127.0.0.1:{lmtp_port}" prefork=1 maxchild=50
}}
DAEMON {{
    idled  cmd="{idled} -C {conf}"
}}
EVENTS {{
}}
"""


def install():
    """What can stand beside any other server here is installed, where it may be; at the cost of
    another package nothing is. imapd's package conflicts with Dovecot's: see lab/debs.py."""
    wanted = {MASTER: "cyrus-common", "/usr/sbin/saslpasswd2": "sasl2-bin"}
    missing = [package for path, package in wanted.items() if not os.path.exists(path)]
    if not missing or not shutil.which("apt-get"):
        return
    # RUNLEVEL=1: where no systemd runs, Debian's scripts then do not start the installed server.
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    print("installing", *missing, file=sys.stderr, flush=True)
    for command in (["update"], ["install", "-y", "--no-remove", "--no-install-recommends", *missing]):
        done = subprocess.run(["apt-get", "-q", *command], env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=500)
        if done.returncode:
            print("apt-get %s: %s" % (command[0], done.stderr.strip()), file=sys.stderr, flush=True)


def unavailable():
    """Why Cyrus cannot be run here, or None. Installs what is missing, where it may."""
    if os.geteuid() != 0:
        return "Cyrus needs root"
    install()
    if not Path(MASTER).exists():
        return "Cyrus is not installed (apt-get install cyrus-common sasl2-bin)"
    try:
        debs.program("/usr/lib/cyrus/bin/imapd", "cyrus-imapd")
    except OSError as wrong:
        return f"no imapd, and it cannot be had: {wrong}"
    if not shutil.which("saslpasswd2"):
        return "saslpasswd2 is not installed (apt-get install sasl2-bin)"
    return None


class Server:
    password = "writegate"

    def __init__(self, tree, run, users=8, gate=None, replica=None):
        """replica: another Server, which runs and gets what this one gets."""
        self.tree, self.run, self.gate, self.replica = Path(tree), Path(run), gate, replica
        self.users = [f"user{i}" for i in range(users)]
        self.imap_port, self.lmtp_port = procs.free_port(), procs.free_port()
        self.service = None

    def prepare(self):
        """Write the configuration and make the folders. Once for a tree; a restart keeps them."""
        names = {"tree": self.tree, "run": self.run, "imap_port": self.imap_port,
                 "lmtp_port": self.lmtp_port, "conf": self.run / "imapd.conf",
                 "imapd": debs.program("/usr/lib/cyrus/bin/imapd", "cyrus-imapd"),
                 "idled": debs.program("/usr/lib/cyrus/bin/idled", "cyrus-imapd")}
        for folder in ("conf", "spool", "sieve"):
            (self.tree / folder).mkdir(parents=True, exist_ok=True)
        for folder in ("conf/db", "conf/user", "conf/quota", "conf/log", "conf/socket", "conf/msg"):
            (self.tree / folder).mkdir(exist_ok=True)
        for folder in ("lock", "proc", "socket"):
            (self.run / folder).mkdir(parents=True, exist_ok=True)
        self.imapd_conf, self.cyrus_conf = self.run / "imapd.conf", self.run / "cyrus.conf"
        imapd_conf, start = IMAPD_CONF.format(**names), ""
        if self.replica:
            imapd_conf += REPLICATED_CONF.format(port=self.replica.imap_port,
                                                 password=self.password)
            start = REPLICATED_START.format(
                conf=self.imapd_conf,
                sync_client=debs.program("/usr/lib/cyrus/bin/sync_client", "cyrus-replication"),
                squatter=debs.program("/usr/lib/cyrus/bin/squatter", "cyrus-imapd"))
        self.imapd_conf.write_text(imapd_conf)
        self.cyrus_conf.write_text(CYRUS_CONF.format(start=start, **names))
        for name in ["cyrus", *self.users]:
            subprocess.run(["saslpasswd2", "-p", "-c", "-f", str(self.run / "sasldb2"),
                            "-u", "cyrus.test", name],
                           input=self.password.encode(), check=True, timeout=30)
        account = pwd.getpwnam("cyrus")
        for top in (self.tree, self.run):
            for folder, _, files in os.walk(top):
                os.chown(folder, account.pw_uid, account.pw_gid)
                for file in files:
                    os.chown(os.path.join(folder, file), account.pw_uid, account.pw_gid)

    def start(self):
        if not hasattr(self, "imapd_conf"):
            self.prepare()
        env = {k: v for k, v in os.environ.items() if not k.startswith("WRITEGATE_GATE")}
        if self.gate:
            env = self.gate.environment(env)
        self.service = procs.Service(
            [MASTER, "-C", self.imapd_conf, "-M", self.cyrus_conf, "-p", self.run / "master.pid",
             "-D"], env=env, log=self.run / "master.log")
        self.service.start()
        procs.wait_for_port(self.imap_port, service=self.service)
        procs.wait_for_port(self.lmtp_port, service=self.service)
        return self

    def stop(self):
        if self.service:
            self.service.stop()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
