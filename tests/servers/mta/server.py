"""What the servers of the MTA tests have in common: a root of their own, start and stop.

A server of tests/servers/SERVER/server.py derives from this and says its PACKAGES and LOG (of its own
output, in the work folder), how it is configured (`configure`) and started (`argv`).
"""
import os

from lab import procs

from . import root as roots


class Server:
    PACKAGES, LOG = (), "server.log"

    def __init__(self, work, queue, store, gate=None, remote=9, name="root", binds=()):
        """gate: None in a control run. remote: the port that stands for another host."""
        self.work, self.queue, self.store = work, str(queue), str(store)
        self.gate, self.remote = gate, remote
        self.root = roots.Root(self.PACKAGES, work, name=name,
                               binds=[self.queue, self.store, *binds])
        self.port = procs.free_port()
        self.service, self.up = None, False

    def configure(self):
        raise NotImplementedError

    def argv(self):
        """Of the server in the foreground, as run on this machine (`self.root.argv`)."""
        raise NotImplementedError

    def before_stop(self):
        """What the server wants done before it is ended by pid."""

    def __enter__(self):
        self.root.__enter__()
        try:
            self.configure()
            self.resume()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.halt()
        finally:
            self.root.__exit__()

    def resume(self):
        """Start it; also after a halt."""
        self.service = roots.Service(self.argv(), env=dict(os.environ), log=os.path.join(self.work, self.LOG))
        self.up = True
        self.service.start()
        procs.wait_for_port(self.port, service=self.service)

    def halt(self):
        """Stop it as its admin would, and whoever it leaves behind."""
        if self.up:
            self.up = False
            self.before_stop()
            self.service.stop()
            self.root.kill_all()

    def members(self):
        """Its processes now; of an MTA many are orphans."""
        return {*self.service.members(), *self.root.processes()}

    def make_boxes(self):
        """Folders of mboxes and maildirs that every user may write to."""
        for folder in ("mbox", "maildir"):
            path = os.path.join(self.store, folder)
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o1777)
