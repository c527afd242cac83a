"""What gets past the gate, in one place: why, and what the freeze says of it. run.py tries each of these
ways and writes docs/admin/gets-past.md from what it saw; a way that is no longer seen to get past fails there.
"""
import os

REASONS = {
    "async.aio_write.queued": "POSIX aio queued before the barrier: a helper thread inside libc carries it out with "
                              "libc's own inner write. Queueing is held; what was queued is not.",
    "async.store": "A store through a shared writable mapping is no call at all.",
    "async.store.msync": "As above; the msync only hurries the write-back.",
    "async.mmap": "A mapping made under the barrier: mmap itself changes nothing, the store after it does.",
    "async.mmap64": "As mmap.",
    "async.io_uring": "io_uring: the kernel works on a queue in shared memory; rings that libraries drive with inline "
                      "system calls are not seen at all.",
    "inline.inline.write": "The program's own system call instruction (write).",
    "inline.inline.openat": "The program's own system call instruction (openat with O_CREAT).",
    "inline.inline.renameat": "The program's own system call instruction (renameat).",
    "inline.dlmopen.write": "A second libc in a dlmopen namespace, whose calls the preload does not see.",
    "stdio.syslog.stderr": "syslog with LOG_PERROR writes a line to stderr inside libc.",
}


def write(ways, path):
    here = os.path.dirname(os.path.abspath(__file__))
    rows = [f"| `{w.id}` | {REASONS[w.id]} | {'; '.join(w.seen[:2])} | {w.said} | {w.held} | {w.named} |" for w in ways if w.seen]
    gaps = []
    with open(os.path.join(os.path.dirname(here), "exports", "not-gated.txt")) as f:
        for line in f:
            if line.startswith("#") or not line.strip():
                continue
            if not line.startswith(" "):
                what, why = line.strip().split(": ", 1)
                gaps.append([what, why, []])
            else:
                gaps[-1][2] += line.split()
    with open(path, "w") as f:
        f.write("""# What gets past the gate

Made by `tests/library/calls/run.py --write-docs`; do not edit. Each row was tried with the barrier up, and an outside
observer (statx of the whole tree, fanotify) saw the change on disk before the thaw. A freeze that meets one of
these does not claim full coverage. The last columns are what got past when it was tried again with `--hold-ungated`
([hold](hold.md)), and where that was not enough with `--hold-program` and the program's path; and the verdict then.

| way | why | seen | the verdict | with `--hold-ungated` | with `--hold-program` |
|---|---|---|---|---|---|
""" + "\n".join(rows) + """

Static programs and programs that the preload never reached are not gated at all; `writegate doctor` lists them.

## Calls of libc without a hook that can change a file

From `tests/library/exports/not-gated.txt`, which the export check keeps complete.

| calls | why |
|---|---|
""" + "\n".join(f"| {', '.join('`%s`' % n for n in names)} | {what}: {why} |" for what, why, names in gaps) + "\n")
