/*
 * A small mail store that several processes change under locks, and the check of a copy of it.
 *
 *   workload run TREE BOXES PROCESSES SECONDS    0 seconds: until SIGTERM; prints what it did
 *   workload check TREE                          prints contradictions; exit 1 if there are any
 *
 * One delivery is a set of changes to several files, all under one fcntl lock, as in a mail server:
 *   BOX/msg.N   a message file of its own
 *   BOX/index   a header (count, last number) and one record for each message
 *   BOX/quota   messages and bytes in use
 * A copy is whole when all of them agree. It is torn when a delivery lies in it by half.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 4096, KEEP = 40, PAUSE_US = 1000 };

struct header { unsigned count, last; };
struct record { unsigned number, bytes; };
struct quota { unsigned messages, bytes; };

static volatile sig_atomic_t stop;

static void on_signal(int number) { (void)number; stop = 1; }

static int open_in(int box, const char *name, int flags)
{
    int fd = openat(box, name, flags, 0600);
    if (fd < 0)
        err(1, "%s", name);
    return fd;
}

static void must_write(int fd, const void *data, size_t size, off_t at, const char *what)
{
    if (pwrite(fd, data, size, at) != (ssize_t)size)
        err(1, "writing %s", what);
}

/* Every byte of a message follows from its number: a cut or foreign one shows. */
static void fill(char *text, unsigned number)
{
    for (int i = 0; i < MESSAGE_BYTES; i++)
        text[i] = (char)('a' + (number + i / 64) % 26);
}

static void lock(int fd, short type)
{
    struct flock l = { .l_type = type, .l_whence = SEEK_SET };
    while (fcntl(fd, F_SETLKW, &l) < 0)
        if (errno != EINTR)
            err(1, "lock");
}

/* Deliver one message, and remove the oldest when the box is full: one set, under the box's lock. */
static void deliver(int box)
{
    char name[32], text[MESSAGE_BYTES];
    struct header h = { 0, 0 };
    struct record records[KEEP + 1];
    int held = open_in(box, "lock", O_RDWR | O_CREAT);
    lock(held, F_WRLCK);

    int index = open_in(box, "index", O_RDWR | O_CREAT);
    if (pread(index, &h, sizeof h, 0) < 0 ||
        pread(index, records, h.count * sizeof *records, sizeof h) < 0)
        err(1, "index");

    unsigned number = h.last + 1;
    fill(text, number);
    snprintf(name, sizeof name, "msg.%u", number);
    int message = open_in(box, name, O_WRONLY | O_CREAT | O_EXCL);
    must_write(message, text, sizeof text, 0, name);
    close(message);

    records[h.count++] = (struct record){ number, MESSAGE_BYTES };
    h.last = number;
    if (h.count > KEEP) {
        snprintf(name, sizeof name, "msg.%u", records[0].number);
        if (unlinkat(box, name, 0))
            err(1, "%s", name);
        memmove(records, records + 1, --h.count * sizeof *records);
    }
    must_write(index, records, h.count * sizeof *records, sizeof h, "index");
    must_write(index, &h, sizeof h, 0, "index");
    if (ftruncate(index, (off_t)(sizeof h + h.count * sizeof *records)))
        err(1, "index");
    close(index);

    struct quota q = { h.count, h.count * MESSAGE_BYTES };
    int quota = open_in(box, "quota", O_RDWR | O_CREAT);
    must_write(quota, &q, sizeof q, 0, "quota");
    close(quota);
    close(held);                                 /* ends the lock */
}

static int open_box(int tree, unsigned n)
{
    char name[32];
    snprintf(name, sizeof name, "box%u", n);
    if (mkdirat(tree, name, 0700) && errno != EEXIST)
        err(1, "%s", name);
    return open_in(tree, name, O_RDONLY | O_DIRECTORY);
}

static int run(const char *path, unsigned boxes, unsigned processes, double seconds)
{
    struct sigaction ending = { .sa_handler = on_signal };
    sigaction(SIGTERM, &ending, NULL);
    sigaction(SIGINT, &ending, NULL);
    int tree = open(path, O_RDONLY | O_DIRECTORY);
    if (tree < 0)
        err(1, "%s", path);
    unsigned long *done = mmap(NULL, processes * sizeof *done, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t *pids = calloc(processes, sizeof *pids);
    if (done == MAP_FAILED || !pids)
        err(1, "memory");
    struct timespec begun, now;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (unsigned i = 0; i < processes; i++) {
        if ((pids[i] = fork()) < 0)
            err(1, "fork");
        if (pids[i])
            continue;
        for (unsigned turn = i; !stop && getppid() != 1; turn++) {
            int box = open_box(tree, turn % boxes);
            deliver(box);
            close(box);
            done[i]++;
            usleep(PAUSE_US);                    /* work that changes nothing */
        }
        _exit(0);
    }
    double passed;
    do {
        usleep(20000);
        clock_gettime(CLOCK_MONOTONIC, &now);
        passed = (double)(now.tv_sec - begun.tv_sec) + (double)(now.tv_nsec - begun.tv_nsec) / 1e9;
    } while (!stop && (seconds == 0 || passed < seconds));
    unsigned long sum = 0;
    int bad = 0, status;
    for (unsigned i = 0; i < processes; i++)
        kill(pids[i], SIGTERM);
    for (unsigned i = 0; i < processes; i++) {
        waitpid(pids[i], &status, 0);
        bad |= !WIFEXITED(status) || WEXITSTATUS(status);
        sum += done[i];
    }
    printf("%lu deliveries in %.3f s\n", sum, passed);
    return bad;
}

static unsigned findings;

static void finding(const char *box, const char *what, unsigned a, unsigned b)
{
    findings++;
    printf("%s: %s: %u against %u\n", box, what, a, b);
}

static ssize_t read_all(int box, const char *name, void *data, size_t size)
{
    int fd = openat(box, name, O_RDONLY);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, data, size);
    close(fd);
    return n;
}

static void check_box(int tree, const char *name)
{
    struct { struct header h; struct record r[4 * KEEP]; } index;
    struct quota q;
    char text[MESSAGE_BYTES + 1], expected[MESSAGE_BYTES], file[32];
    int box = openat(tree, name, O_RDONLY | O_DIRECTORY);
    if (box < 0)
        err(1, "%s", name);
    ssize_t size = read_all(box, "index", &index, sizeof index);
    if (size < (ssize_t)sizeof index.h) {
        finding(name, "bytes in the index", size < 0 ? 0 : (unsigned)size, sizeof index.h);
        close(box);
        return;
    }
    unsigned have = (unsigned)((size_t)size - sizeof index.h) / sizeof *index.r;
    if (have != index.h.count)
        finding(name, "records, and the header's count", have, index.h.count);
    if (read_all(box, "quota", &q, sizeof q) != sizeof q)
        finding(name, "no quota file", 0, index.h.count);
    else if (q.messages != index.h.count || q.bytes != index.h.count * MESSAGE_BYTES)
        finding(name, "quota, and the header's count", q.messages, index.h.count);
    if (have && index.r[have - 1].number != index.h.last)
        finding(name, "last record, and the header's last", index.r[have - 1].number, index.h.last);
    for (unsigned i = 0; i < have; i++) {
        snprintf(file, sizeof file, "msg.%u", index.r[i].number);
        ssize_t bytes = read_all(box, file, text, sizeof text);
        fill(expected, index.r[i].number);
        if (bytes != MESSAGE_BYTES || memcmp(text, expected, MESSAGE_BYTES))
            finding(name, "bytes of a message, and its record", bytes < 0 ? 0 : (unsigned)bytes,
                    index.r[i].bytes);
    }
    unsigned files = 0;
    DIR *list = fdopendir(box);
    for (struct dirent *e; list && (e = readdir(list));)
        files += !strncmp(e->d_name, "msg.", 4);
    if (files != have)
        finding(name, "message files, and records", files, have);
    closedir(list);
}

static int check(const char *path)
{
    unsigned boxes = 0;
    DIR *list = opendir(path);
    if (!list)
        err(2, "%s", path);
    for (struct dirent *e; (e = readdir(list));)
        if (!strncmp(e->d_name, "box", 3)) {
            check_box(dirfd(list), e->d_name);
            boxes++;
        }
    closedir(list);
    if (!boxes)
        errx(2, "%s: no boxes in it", path);
    printf("%u boxes, %u contradictions\n", boxes, findings);
    return findings ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc == 6 && !strcmp(argv[1], "run") && atoi(argv[3]) > 0 && atoi(argv[4]) > 0)
        return run(argv[2], (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]), atof(argv[5]));
    if (argc == 3 && !strcmp(argv[1], "check"))
        return check(argv[2]);
    errx(64, "usage: workload run TREE BOXES PROCESSES SECONDS | workload check TREE");
}
