"""Another host: an SMTP sink that remembers what it took, and can be slow or hang.

    with Remote(delay_s=3.0) as other:        # 250 to the final dot comes after 3 s
        other.port; other.taken()             # {(number, user): time of the 250}

Runs in a process of its own, so that its slowness is not the harness's.
"""
import json
import multiprocessing
import os
import smtplib
import socket
import tempfile
import threading
import time

from . import message


class Peer:
    """An SMTP server on loopback, in a process of its own; `_talk` is what it says."""

    def __init__(self, port=0):
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        self._process = multiprocessing.get_context("fork").Process(target=self._serve,
                                                                    daemon=True)
        self._process.start()
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.join()
        self._listener.close()

    def _serve(self):
        parent = os.getppid()

        def watch():
            while os.getppid() == parent:
                time.sleep(0.5)
            os._exit(0)
        threading.Thread(target=watch, daemon=True).start()
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._session, args=(connection,), daemon=True).start()

    def _session(self, connection):
        try:
            self._talk(connection, connection.makefile("rb"))
        except (OSError, ValueError, smtplib.SMTPException):
            pass
        finally:
            connection.close()


class Remote(Peer):
    def __init__(self, delay_s=0.0, hang_at=None):
        """hang_at: "DATA" or "DOT": never answer there (until the client gives up)."""
        super().__init__()
        self.delay_s, self.hang_at = delay_s, hang_at
        fd, self._log = tempfile.mkstemp(prefix="writegate-remote-")
        os.close(fd)

    def __exit__(self, *failure):
        super().__exit__(*failure)
        os.unlink(self._log)

    def taken(self):
        """{(number, user): [CLOCK_MONOTONIC of each 250]}."""
        found = {}
        with open(self._log) as lines:
            for line in lines:
                if line.endswith("\n"):
                    r = json.loads(line)
                    found.setdefault((r["number"], r["user"]), []).append(r["time"])
        return found

    def _talk(self, connection, lines):
        rcpts = []

        def say(text):
            connection.sendall(text.encode() + b"\r\n")
        say("220 remote.test ESMTP")
        while line := lines.readline():
            verb = line[:4].upper()
            if verb in (b"EHLO", b"HELO", b"MAIL", b"RSET", b"NOOP"):
                if verb in (b"MAIL", b"RSET"):
                    rcpts = []
                say("250 ok")
            elif verb == b"RCPT":
                rcpts.append(line.split(b"<", 1)[1].split(b">")[0].decode())
                say("250 ok")
            elif verb == b"DATA":
                if self.hang_at == "DATA":
                    time.sleep(3600)
                say("354 go on")
                body = []
                while (line := lines.readline()) and line != b".\r\n":
                    body.append(line[1:] if line.startswith(b".") else line)
                if self.hang_at == "DOT":
                    time.sleep(3600)
                time.sleep(self.delay_s)
                whole, _ = message.scan(b"".join(body))
                with open(self._log, "a") as out:
                    for number in whole:
                        for r in rcpts:
                            out.write(json.dumps({"number": number, "user": r.partition("@")[0],
                                                  "time": time.monotonic()}) + "\n")
                say("250 taken")
            elif verb == b"QUIT":
                say("221 bye")
                return
            else:
                say("500 what?")
