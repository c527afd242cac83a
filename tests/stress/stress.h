/* What the stress programs share: a page of counters and the shape of the tree.
 *
 * The counters are a memfd of the driver's, opened through /proc/DRIVER/fd/N: they lie on no protected file
 * system, so counting is no change and is never held.
 *
 *   TREE/set.N/{a,b,c,d}   one set: four files that carry the same number whenever its lock's section is over
 *       a  the number, written in place        b  the number, through stdio
 *       c  the number, in a file that replaces the last one by rename
 *       d  one record for each number since the last multiple of RECORDS, appended
 *   TREE/one.N             a file of one thread: (number, length), then so many bytes, by a single call
 *   LOCKS/N                the lock of set N, for kinds of lock that need a file beside; not in the tree
 *
 * Nothing here knows of regions, barriers or the library: that is what makes it an oracle.
 */
#ifndef STRESS_H
#define STRESS_H
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 128, SETS = 64, FILES = 4, RECORDS = 64, ONE_BYTES = 16384 };
#define STRESS_MAGIC 0x7365727473677731ull

/* One worker thread; 64 bytes, so that counting costs its neighbours nothing. */
struct worker {
    _Atomic uint64_t calls;            /* changes to protected files that have returned */
    _Atomic uint64_t longest_ns;       /* the longest of those that are timed */
    _Atomic uint64_t longest_at_ns;    /* and when it ended, CLOCK_MONOTONIC */
    _Atomic uint64_t late;             /* how many took longer than counters.bound_ns */
    _Atomic int pid;                   /* of the process it runs in; 0: place is free */
    _Atomic int set;                   /* in a section on this set, else -1 */
    char role[16];
    uint64_t spare;
};

/* One set, for telling a cut by a death from a violation. */
struct set {
    _Atomic int owner;                 /* process inside a section on it, 0: nobody */
    _Atomic int helper;                /* its child that writes for it, 0: none */
    _Atomic int cut;                   /* found cut by a death, and nothing of it repaired yet */
    _Atomic uint32_t repaired;         /* sections that found one so */
    _Atomic uint64_t done;             /* sections completed */
};

/* What the checker saw last. */
struct seen {
    uint64_t checks;                   /* how many were made: raised last */
    uint64_t torn, cut, changed, inside, files;
    uint64_t took_ns;
    char first[200];                   /* the first finding, in words */
};

struct counters {
    uint64_t magic;
    _Atomic uint64_t bound_ns;         /* a call that takes longer is late; 0: nobody counts */
    _Atomic uint64_t sleep_ns;         /* how long the sleeper sleeps; 0: not at all */
    _Atomic uint64_t overslept_ns;     /* the worst it overslept by */
    _Atomic int stop;
    _Atomic int failed;                /* some worker met an error that it should not have */
    _Atomic uint64_t deaths;           /* workers that were killed and replaced */
    _Atomic int pause_us;              /* longest pause of a worker between two steps */
    char failure[160];
    struct seen seen;
    struct worker workers[WORKERS];
    struct set sets[SETS];
};

/* page.py reads the same memory. */
_Static_assert(sizeof(struct worker) == 64 && sizeof(struct set) == 24 && sizeof(struct seen) == 256, "page.py");
_Static_assert(sizeof(struct counters) == 472 + WORKERS * 64 + SETS * 24, "page.py");

extern struct counters *counters;

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline struct counters *map_counters(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        err(70, "%s", path);
    struct counters *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (c == MAP_FAILED || c->magic != STRESS_MAGIC)
        errx(70, "%s: not the counters", path);
    close(fd);
    return c;
}

/* Is this process gone, or dead and not yet waited for? */
static inline int is_dead(int pid)
{
    char path[40], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 1;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 1;
    text[n] = 0;
    char *end = strrchr(text, ')');
    return !end || end[2] == 'Z' || end[2] == 'X';
}

/* sets.c */
struct me { struct worker *w; unsigned seed; int role; int tree, locks; };
extern const char *self_path, *tree_path, *locks_path, *counters_path;
unsigned random_below(struct me *me, unsigned n);
void pause_somewhere(struct me *me);
void fail(const char *what, long detail);
void step(struct me *me, uint64_t begun, int timed);
#define COUNTED(me, call, timed) ({ uint64_t b_ = now_ns(); __typeof__(call) r_ = (call); step((me), b_, timed); r_; })
#define CHANGE(me, call) COUNTED(me, call, 0)
#define TIMED(me, call) COUNTED(me, call, 1)
enum role { SINGLE, FCNTL, FLOCK, OFD, DOT, DOTLINK, CHILD, GRANDCHILD, EXEC, PAIR, MIXED, CHURN, ROLES };
extern const char *const role_names[ROLES];
void write_once(struct me *me, int file);
void one_section(struct me *me, int set, int other);
void finish_after_exec(struct me *me, int set, uint64_t number, int rest, int lock_fd);
void finish_as_helper(struct me *me, int set, uint64_t number, int mask);
#endif
