/* Many gated processes, each of which writes now and then.
 *
 *   crowd COUNT DIRECTORY EVERY_MS [DESCRIPTORS]      counters: a memfd at descriptor 9, one record a process
 *
 * Each pwrites 16 bytes of its own every EVERY_MS, with DESCRIPTORS under a lock and with so many files open, and leaves word of its last call that lasted
 * longer than 20 ms: when it began and when it returned (CLOCK_MONOTONIC ns). "ready" when all stand.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

struct record { _Atomic uint64_t calls, began, returned, _; };

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void work(struct record *mine, const char *directory, int number, int every_ms, int descriptors)
{
    struct flock lock = {.l_type = F_WRLCK}, unlock = {.l_type = F_UNLCK};
    char path[4096];
    snprintf(path, sizeof path, "%s/%d", directory, number);
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0)
        err(1, "%s", path);
    for (int n = 4; n < descriptors; n++)               /* 0, 1, 2 and its own are open */
        if (open(path, O_RDWR) < 0)
            err(1, "%s", path);
    srand(number);
    usleep(1000 * (rand() % every_ms));
    for (uint64_t words[2] = {0};;) {
        words[0]++;
        uint64_t began = now();
        if (descriptors && fcntl(fd, F_SETLK, &lock) < 0)
            err(1, "lock");
        if (pwrite(fd, words, sizeof words, 0) != sizeof words)
            err(1, "pwrite");
        if (descriptors && fcntl(fd, F_SETLK, &unlock) < 0)
            err(1, "unlock");
        uint64_t returned = now();
        if (returned - began > 20000000) {
            mine->began = began;
            mine->returned = returned;
        }
        mine->calls++;
        usleep(1000 * every_ms);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5)
        return 64;
    int count = atoi(argv[1]), every_ms = atoi(argv[3]), descriptors = argc == 5 ? atoi(argv[4]) : 0;
    struct record *all = mmap(NULL, count * sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED, 9, 0);
    if (all == MAP_FAILED)
        err(1, "counters");
    for (int n = 0; n < count; n++) {
        pid_t pid = fork();
        if (pid < 0)
            err(1, "fork %d", n);
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            work(&all[n], argv[2], n, every_ms, descriptors);
        }
    }
    for (int n = 0; n < count; n++)
        while (!all[n].calls)
            usleep(1000);
    puts("ready"), fflush(stdout);
    pause();
}
