"""Postfix with a content filter after the queue, as amavis or SpamAssassin's proxy stand in one.

    smtpd -> cleanup -> queue -> smtp -> FILTER on 127.0.0.1 -> smtpd (second port) -> cleanup -> queue -> mailbox

The filter keeps nothing: it answers 250 to the final dot when the second smtpd has done so. It is a
process of its own and not gated, as a filter under another unit is.
"""
import smtplib

from lab import procs
from mta import remote

from . import server

MASTER = """\
127.0.0.1:{back} inet n - y - - smtpd
    -o content_filter= -o smtpd_authorized_xforward_hosts=127.0.0.0/8
"""
MAIN = "content_filter = smtp:[127.0.0.1]:{filter}"


class Filter(remote.Peer):
    """An SMTP server that hands each message on before it says that it has it."""

    def __init__(self, onward_port, port):
        super().__init__(port)
        self.onward_port = onward_port

    def _talk(self, connection, lines):
        def say(text):
            connection.sendall(text.encode() + b"\r\n")
        sender, rcpts = None, []
        say("220 filter ESMTP")
        while line := lines.readline():
            verb = line[:4].upper()
            if verb in (b"EHLO", b"HELO", b"NOOP", b"RSET"):
                say("250 ok")
            elif verb == b"MAIL":
                sender, rcpts = _address(line), []
                say("250 ok")
            elif verb == b"RCPT":
                rcpts.append(_address(line))
                say("250 ok")
            elif verb == b"DATA":
                say("354 go on")
                body = []
                while (line := lines.readline()) and line != b".\r\n":
                    body.append(line[1:] if line.startswith(b".") else line)
                if not line:
                    return
                with smtplib.SMTP("127.0.0.1", self.onward_port, timeout=60) as onward:
                    onward.sendmail(sender, rcpts, b"".join(body))
                say("250 handed on")
            elif verb == b"QUIT":
                say("221 bye")
                return
            else:
                say("500 what?")


def _address(line):
    return line.split(b"<", 1)[1].split(b">")[0].decode()


class Filtered(server.Postfix):
    def __init__(self, *args, filter_port=None, **kw):
        back = procs.free_port()
        self.filter = Filter(back, filter_port or procs.free_port())
        super().__init__(*args, extra=MAIN.format(filter=self.filter.port),
                         services=MASTER.format(back=back), **kw)

    def __enter__(self):
        self.filter.__enter__()
        try:
            return super().__enter__()
        except BaseException:
            self.filter.__exit__()
            raise

    def __exit__(self, *failure):
        super().__exit__(*failure)
        self.filter.__exit__()
