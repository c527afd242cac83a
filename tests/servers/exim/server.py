"""An Exim 4.96 of the test's own, deliveries re-executed set-user-ID as Debian ships it.

    with volume.Volume(work) as vol:
        spool, store = vol.subvolume("queue"), vol.subvolume("store")
        with Exim(work, spool, store, gate=g) as server:         # gate=None: a control run
            ... smtplib.SMTP("127.0.0.1", server.port)

Recipients: b0..b3@local.test go into mboxes (dotlock and fcntl, retried every 3 s), d0..d3 into
maildirs, ANY@remote.test over SMTP to the port given as `remote`.  The package lives in an
overlay root (mta/root.py): there the library can lie in a standard directory with mode 4755,
which is what a set-user-ID program accepts, and this machine is not changed.
"""
import os

from lab import procs
from mta import root as roots
from mta import server as base

PACKAGES = ("exim4-daemon-light",)
MBOX = ("b0", "b1", "b2", "b3")
MAILDIR = ("d0", "d1", "d2", "d3")
RECIPIENTS = [u + "@local.test" for u in MBOX + MAILDIR]

CONFIG = """\
primary_hostname = mx.local.test
spool_directory = {spool}
log_file_path = /var/log/exim4/%slog
log_selector = +millisec +pid
split_spool_directory = {split}
keep_environment =
{environment}
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
disable_ipv6 = true
tls_advertise_hosts =
host_lookup =
helo_allow_chars = _
smtp_accept_max = 200
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_host = 0
smtp_reserve_hosts = 127.0.0.1
queue_run_max = 2
ignore_bounce_errors_after = 0s
timeout_frozen_after = 1h
acl_smtp_rcpt = accept
acl_smtp_data = accept
{extra}

begin routers
mboxes:
  driver = accept
  domains = local.test
  local_parts = {mbox}
  transport = mbox
maildirs:
  driver = accept
  domains = local.test
  local_parts = {maildir}
  transport = maildir
other_host:
  driver = manualroute
  domains = remote.test
  route_list = * 127.0.0.1::{remote}
  self = send
  transport = smtp
{routers}

begin transports
mbox:
  driver = appendfile
  file = {store}/mbox/$local_part_data
  user = mail
  group = mail
  mode = 0660
  envelope_to_add
  return_path_add
maildir:
  driver = appendfile
  maildir_format
  directory = {store}/maildir/$local_part_data
  create_directory
  user = mail
  group = mail
smtp:
  driver = smtp
  hosts_avoid_tls = *
  hosts_avoid_pipelining = *
  connect_timeout = 5s
  final_timeout = 5m
{transports}

begin retry
* * F,2h,2s
"""


class Exim(base.Server):
    PACKAGES, LOG = PACKAGES, "exim.out"

    def __init__(self, *args, extra="", routers="", transports="", split=False, **kw):
        super().__init__(*args, **kw)
        self.extra, self.split = extra, split
        self.routers, self.transports = routers, transports

    def argv(self):
        # env(1) inside, so that chroot itself does not look for the library outside.
        return self._gated_argv("/usr/sbin/exim4", "-bdf", "-q5s")

    def _gated_argv(self, *argv):
        if self.gate:
            argv = ("/usr/bin/env", "LD_PRELOAD=" + roots.LIBRARY_NAME) + argv
        return self.root.argv(*argv)

    def log(self):
        try:
            with open(self.root.inside("/var/log/exim4/mainlog"), errors="replace") as text:
                return text.read()
        except OSError:
            return ""

    def flush(self):
        """One queue run that ignores retry times; its deliveries are gated by add_environment."""
        done = procs.subprocess.run(self._gated_argv("/usr/sbin/exim4", "-qff"), timeout=120,
                                    capture_output=True, stdin=procs.subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError("exim -qff: %s" % done.stderr.decode()[-300:])

    def configure(self):
        environment = ""
        if self.gate:
            environment = "add_environment = LD_PRELOAD=" + roots.LIBRARY_NAME
            self.root.install_library(self.gate)
        self.make_boxes()
        self.root.run("chown", "Debian-exim:Debian-exim", self.queue)
        os.chmod(self.queue, 0o750)
        self.root.run("install", "-d", "-o", "Debian-exim", "-g", "adm", "/var/log/exim4")
        self.root.write("/etc/exim4/exim4.conf", CONFIG.format(
            spool=self.queue, store=self.store, port=self.port, remote=self.remote,
            mbox=":".join(MBOX), maildir=":".join(MAILDIR), environment=environment,
            extra=self.extra, routers=self.routers, transports=self.transports,
            split="true" if self.split else "false"))

