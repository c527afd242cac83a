/* One way of changing a file: what every program in this folder shares.
 *
 *   prog --list            the ways this program knows, one a line: NAME KIND
 *   prog WAY DIR           prepare in DIR, print "ready", wait for a line on stdin, act, print "done"
 *
 * Preparing happens before the runner raises the barrier; the act is the change that the barrier must hold.
 * Everything printed is compared between a bare and a gated run: results, errno, offsets. Contents and
 * metadata are compared from outside.
 *
 * KIND is what the runner may expect while the barrier is up:
 *   holds     the act changes something on disk and must wait
 *   passes    the act changes nothing on disk and must not wait
 *   either    nothing on disk changes, waiting or not is the library's choice (a sync, an invisible temp file)
 *   same      bare and gated runs are compared, the barrier is not tried (locks: holding one is in flight)
 *   past      a named exception: it gets past the gate, and the runner fails when it no longer does
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

struct way {
    const char *name, *kind;
    void (*prepare)(const char *);
    void (*act)(const char *);
};

extern struct way ways[];        /* each program's table, ended by a zero name */
static int chan = 1;             /* where "ready", results and "done" go */

static void say(const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (write(chan, line, n) != n) _exit(99);
}

/* A result: errno is shown for failures only, it means nothing else. */
static void result(const char *what, long r)
{
    int e = errno;
    if (r < 0) say("%s=%ld errno=%d\n", what, r, e);
    else say("%s=%ld\n", what, r);
}

/* The preparation must work, whatever is tried afterwards. */
static long must(long r, const char *what)
{
    if (r < 0) { say("broken %s errno=%d\n", what, errno); _exit(98); }
    return r;
}

static void absent(const char *why) { say("skip %s\n", why); _exit(77); }

/* An alias by its own name, as a program linked against it would find it: the preload first. */
static void *sym(const char *name)
{
    void *p = dlsym(RTLD_DEFAULT, name);
    if (!p) { say("skip this libc has no %s\n", name); _exit(77); }
    return p;
}

/* A file with known content; the descriptor is open for reading and writing, at the start. */
static int file(const char *name, const char *content)
{
    int fd = must(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644), name);
    must(write(fd, content, strlen(content)), "content");
    must(lseek(fd, 0, SEEK_SET), "lseek");
    return fd;
}
static void made(const char *name, const char *content) { close(file(name, content)); }

/* Move the report away, so that stdout or stderr can become a file in DIR. */
static void redirect(int fd, const char *name)
{
    if (chan == 1) chan = must(fcntl(1, F_DUPFD_CLOEXEC, 200), "dup");
    int f = must(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644), name);
    must(dup2(f, fd), "dup2");
    close(f);
}

static void offset(int fd) { say("offset=%ld\n", (long)lseek(fd, 0, SEEK_CUR)); }

/* "ready", then wait; a second process of the same way uses it too. */
static void wait_for_go(void)
{
    char c;
    say("ready\n");
    while (read(0, &c, 1) < 0 && errno == EINTR) {}
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--list")) {
        for (struct way *w = ways; w->name; w++) printf("%s %s\n", w->name, w->kind);
        return 0;
    }
    if (argc < 3) return 64;
    for (struct way *w = ways; w->name; w++) {
        if (strcmp(w->name, argv[1])) continue;
        if (chdir(argv[2])) return 65;
        umask(022);
        if (w->prepare) w->prepare(w->name);
        wait_for_go();
        errno = 0;
        w->act(w->name);
        say("done\n");
        return 0;
    }
    return 66;
}

/* An alias's name without the suffix that only tells ways apart: "fseek:end" tries fseek. */
static const char *call(const char *way)
{
    static char n[64];
    snprintf(n, sizeof n, "%s", way);
    n[strcspn(n, ":")] = 0;
    return n;
}

#define W(name, kind, prepare, act) { name, kind, prepare, act }
#define END { 0, 0, 0, 0 }
