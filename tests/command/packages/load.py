"""The load of a stock server: load.py smtp|imap|cyrus PORT LOG. Each message has a number of its own, at its begin and at its
end, and stands in LOG once the server has said that it has it. Until SIGTERM."""
import imaplib
import smtplib
import sys
import time


def text(token):
    body = "\r\n".join(f"line {n} of {token}" for n in range(80))
    return f"From: a@test.example\r\nTo: bob@test.example\r\nSubject: {token}\r\n\r\nbegin-{token}\r\n{body}\r\nend-{token}\r\n"


def smtp(port, done):
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as server:
        for number in range(10_000):
            server.sendmail("root@localhost", ["bob@localhost"], text(f"m{number:06}"))
            done(f"m{number:06}")
            time.sleep(0.02)


def cyrus(port, done):
    """Its administrator makes the mailbox; which separator it has says the server."""
    admin = imaplib.IMAP4("127.0.0.1", port)
    admin.login("cyrus", "secret")
    named = admin.list('""', '""')[1][0]
    admin.create("user" + ("/" if b'"/"' in named else ".") + "bob")
    admin.logout()
    imap(port, done, "INBOX")


def imap(port, done, folder="Work"):
    server = imaplib.IMAP4("127.0.0.1", port)
    server.login("bob", "secret")
    server.create(folder)
    for number in range(10_000):
        answer, said = server.append(folder, None, None, text(f"m{number:06}").encode())
        if answer != "OK":
            sys.exit(f"APPEND: {said}")
        done(f"m{number:06}")
        time.sleep(0.02)


def main():
    kind, port, log = sys.argv[1:]
    with open(log, "w", buffering=1) as out:
        {"smtp": smtp, "imap": imap, "cyrus": cyrus}[kind](int(port), lambda token: out.write(f"{token}\n"))


if __name__ == "__main__":
    main()
