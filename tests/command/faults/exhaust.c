/* A program that needs more than its region has places for.
 *
 *   exhaust locks A B DIRECTORY     70 write locks at once (a region shows 64); under the last one it
 *                                   puts one number into A, then, a moment later, into B
 *   exhaust threads FILE            2,100 threads (a region has 2,048 places), each writing its own
 *                                   16 bytes of FILE once a second
 * Prints "ready". A record is a number and a zero: what tests/stress/checker.c takes for whole.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOCKS = 70, THREADS = 2100 };
static int file;
static pthread_barrier_t all;

static void put(int fd, uint64_t number, off_t at)
{
    uint64_t record[2] = {number, 0};
    if (pwrite(fd, record, sizeof record, at) != sizeof record)
        err(1, "pwrite");
}

static void *thread(void *argument)
{
    long me = (long)argument;
    pthread_barrier_wait(&all);
    for (uint64_t number = 1;; number++) {
        put(file, number, 16 * me);
        usleep(1000000);
    }
    return NULL;
}

static int open_one(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0)
        err(1, "%s", path);
    return fd;
}

static void locks(const char *a, const char *b, const char *directory)
{
    int one = open_one(a), other = open_one(b), fds[LOCKS];
    struct flock lock = {.l_whence = SEEK_SET};
    for (int n = 0; n < LOCKS; n++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/many-%d", directory, n);
        fds[n] = open_one(path);
    }
    for (uint64_t number = 1;; number++) {
        for (int n = 0; n < LOCKS; n++) {
            lock.l_type = F_WRLCK;
            if (fcntl(fds[n], F_SETLK, &lock))
                err(1, "lock %d", n);
        }
        put(one, number, 0);
        usleep(1500);
        put(other, number, 0);
        for (int n = 0; n < LOCKS; n++) {
            lock.l_type = F_UNLCK;
            fcntl(fds[n], F_SETLK, &lock);
        }
        if (number == 1)
            puts("ready"), fflush(stdout);
        usleep(1500);
    }
}

int main(int argc, char **argv)
{
    if (argc == 5 && !strcmp(argv[1], "locks"))
        locks(argv[2], argv[3], argv[4]);
    if (argc != 3 || strcmp(argv[1], "threads"))
        errx(64, "see the head of exhaust.c");
    file = open_one(argv[2]);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    pthread_barrier_init(&all, NULL, THREADS + 1);
    for (long n = 0; n < THREADS; n++) {
        pthread_t id;
        if (pthread_create(&id, &small, thread, (void *)n))
            errx(1, "only %ld threads", n);
    }
    pthread_barrier_wait(&all);
    usleep(1200000);
    puts("ready"), fflush(stdout);
    pause();
}
