"""A Dovecot of the test's own: configuration, users, start and stop by pid.

Everything lies in folders of the test's own: the mail below `mail`, the indexes
below `index` (two subvolumes, as on a server with a fast disk for indexes), the
sockets and logs in `run`, which is never part of a snapshot.
"""

import os
import pwd
import shutil
import subprocess

from lab import procs

PACKAGES = ["dovecot-core", "dovecot-imapd", "dovecot-lmtpd", "dovecot-pop3d"]
FORMATS = ("mdbox", "sdbox", "maildir", "mbox")
UID = 5000
PASSWORD = "secret"
# What Dovecot 2.3 imports by default, and then the library's own.
IMPORT = ("TZ CORE_OUTOFMEM CORE_ERROR LD_PRELOAD WRITEGATE_GATE WRITEGATE_DIR "
          "WRITEGATE_PATHS WRITEGATE_EXCLUDE WRITEGATE_CONF")

CONF = """\
protocols = imap lmtp pop3
base_dir = {run}/base
state_dir = {run}/state
log_path = {run}/dovecot.log
instance_name = {name}
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_username_format = %Ln
import_environment = {imports}
first_valid_uid = {uid}
mail_location = {location}
mdbox_rotate_size = {rotate}
mail_fsync = optimized
mmap_disable = no
mail_max_userip_connections = 1000
default_client_limit = 1000
default_process_limit = 200
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = scheme=plain {run}/passwd
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={mail}/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Work {{
    auto = create
  }}
  mailbox Archive {{
    auto = create
  }}
}}
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp_port}
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
protocol lmtp {{
  info_log_path = {run}/lmtp.log
}}
{extra}
"""


def missing():
    """The packages that are not there; empty where the server can run."""
    need = {"dovecot-core": "/usr/sbin/dovecot", "dovecot-imapd": "/usr/lib/dovecot/imap",
            "dovecot-lmtpd": "/usr/lib/dovecot/lmtp", "dovecot-pop3d": "/usr/lib/dovecot/pop3"}
    return [p for p in PACKAGES if not os.path.exists(need[p])]


def install():
    """Installs what is missing where that is possible (root on Debian); True if all is there."""
    if missing() and os.geteuid() == 0 and shutil.which("apt-get"):
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        for cmd in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *missing()]):
            subprocess.run(cmd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           timeout=500, check=False)
    return not missing()


class Server:
    """One Dovecot with `users` mail users u0, u1, ...; `fmt` is one of FORMATS."""

    def __init__(self, fmt, mail, index, run, users=3, env=None, rotate="256k", extra="",
                 lmtp_port=None):
        self.fmt, self.mail, self.index, self.run = fmt, str(mail), str(index), str(run)
        run, mail, index = self.run, self.mail, self.index
        self.users = [f"u{i}" for i in range(users)]
        self.env = dict(os.environ)
        for name in [n for n in self.env if n.startswith("WRITEGATE_") or n == "LD_PRELOAD"]:
            del self.env[name]
        self.env.update(env or {})
        self.imap_port, self.lmtp_port, self.pop3_port = (procs.free_port() for _ in range(3))
        self.lmtp_port = lmtp_port or self.lmtp_port
        self.conf = os.path.join(run, "dovecot.conf")
        self.service = None
        for d in (run, mail, index):
            os.makedirs(d, exist_ok=True)
        os.chmod(run, 0o755)
        for user in self.users:
            for root in (mail, index):
                os.makedirs(os.path.join(root, user), exist_ok=True)
                os.chown(os.path.join(root, user), UID, UID)
        os.makedirs(os.path.join(run, "state"), exist_ok=True)
        with open(os.path.join(run, "passwd"), "w") as f:
            for user in self.users:
                f.write(f"{user}:{{plain}}{PASSWORD}\n")
        os.chown(os.path.join(run, "passwd"), pwd.getpwnam("dovecot").pw_uid, 0)
        with open(self.conf, "w") as f:
            f.write(CONF.format(run=run, mail=mail, uid=UID, imports=IMPORT, rotate=rotate,
                                name=f"wg{os.getpid()}-{id(self)}", location=self.location(), imap_port=self.imap_port,
                                pop3_port=self.pop3_port, lmtp_port=self.lmtp_port, extra=extra))

    def location(self):
        inbox = f":INBOX={self.mail}/%u/inbox" if self.fmt == "mbox" else ""
        place = f"{self.mail}/%u/{'folders' if self.fmt == 'mbox' else 'mail'}"
        return f"{self.fmt}:{place}{inbox}:INDEX={self.index}/%u"

    def start(self):
        self.service = procs.Service(["/usr/sbin/dovecot", "-F", "-c", self.conf], env=self.env,
                                     log=os.path.join(self.run, "stderr.log")).start()
        try:
            for port in (self.imap_port, self.lmtp_port, self.pop3_port):
                procs.wait_for_port(port, 15, self.service)
        except Exception as wrong:
            self.stop()
            raise RuntimeError(f"dovecot did not start ({wrong}):\n{self.log_tail()}") from wrong
        return self

    def stop(self):
        if self.service is not None:
            self.service.stop()
            self.service = None

    def pids(self):
        return list(self.service.members()) if self.service else []

    def log(self):
        text = ""
        for name in ("dovecot.log", "lmtp.log"):
            try:
                with open(os.path.join(self.run, name), errors="replace") as f:
                    text += f.read()
            except FileNotFoundError:
                pass
        return text

    def log_tail(self, lines=12):
        return "\n".join(self.log().splitlines()[-lines:])

    def complaints(self):
        """Lines with which Dovecot says that something on disk is not as it should be."""
        return [line for line in self.log().splitlines()
                if any(w in line for w in ("Error:", "Panic:", "Fatal:", "Warning: "))
                and not any(w in line for w in ("SIGTERM", "net_connect_unix", "ulimit", "fd limit"))]

    def doveadm(self, *args, timeout_s=60, check=False):
        return subprocess.run(["/usr/bin/doveadm", "-c", self.conf, *args], env=dict(os.environ),
                              capture_output=True, text=True, errors="replace",
                              timeout=timeout_s, check=check)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()
