/* What the hard cases share: prog --list, prog CASE DIR MILLISECONDS.
 *
 * A case works in DIR for about that long (some a fixed number of rounds), checks its own results, then
 * prints "idle" and waits for a line: the runner freezes then, and nothing may be in flight any more.
 * "ok COUNT" and exit 0 is success; everything else (a signal, a hang, "bad ...") is a failure.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct robust { const char *name; long (*run)(long end_ms); };
extern struct robust cases[];
static int report = 1;

static long now_ms(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000 + t.tv_nsec / 1000000; }
static void out(const char *fmt, ...)
{
    char b[300]; va_list ap; va_start(ap, fmt); int n = vsnprintf(b, sizeof b, fmt, ap); va_end(ap);
    if (write(report, b, n) != n) _exit(97);
}
static void bad(const char *what) { out("bad %s errno=%d\n", what, errno); _exit(96); }
#define NEED(x) do { if (!(x)) bad(#x); } while (0)

/* A small set of changes, as a mail server makes them; every result is checked. */
static void changes(int id)
{
    char a[40], b[40], t[16]; snprintf(a, sizeof a, "t%d", id); snprintf(b, sizeof b, "m%d", id);
    int fd = open(a, O_RDWR | O_CREAT | O_TRUNC, 0600); NEED(fd >= 0);
    NEED(write(fd, "0123456789", 10) == 10); NEED(pwrite(fd, "x", 1, 4) == 1); NEED(pread(fd, t, 10, 0) == 10 && t[4] == 'x');
    NEED(fchmod(fd, 0640) == 0); NEED(close(fd) == 0); NEED(rename(a, b) == 0); NEED(unlink(b) == 0);
}
static void locked_change(int fd)
{
    struct flock l = { .l_type = F_WRLCK };
    NEED(fcntl(fd, F_SETLKW, &l) == 0); NEED(write(fd, "l", 1) == 1); l.l_type = F_UNLCK; NEED(fcntl(fd, F_SETLK, &l) == 0);
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--list")) { for (struct robust *c = cases; c->name; c++) puts(c->name); return 0; }
    if (argc < 4 || chdir(argv[2])) return 64;
    for (struct robust *c = cases; c->name; c++) if (!strcmp(c->name, argv[1])) {
        long n = c->run(now_ms() + atol(argv[3])); char go;
        out("idle\n");
        while (read(0, &go, 1) < 0 && errno == EINTR) {}
        out("ok %ld\n", n);
        return 0;
    }
    return 66;
}
