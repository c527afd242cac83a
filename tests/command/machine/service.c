/* A small service behind the gate: sets of two files under one lock, `a` and `b`, which carry one number.
 *
 *   service steady DIR    one process; SIGTERM: says the longest call, in ms, and ends
 *   service forks DIR     a parent that holds the lock, a child for each file
 *   service execs DIR     a program for each set, four beside each other
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t over;
static double longest_ms;

static void ends(int number) { (void)number; over = 1; }

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void put(const char *name, long number)
{
    char text[16];
    int size = snprintf(text, sizeof text, "%09ld\n", number), fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    double begun = now_ms();
    if (fd < 0 || pwrite(fd, text, (size_t)size, 0) != size)
        err(1, "%s", name);
    double took = now_ms() - begun;
    longest_ms = took > longest_ms ? took : longest_ms;
    close(fd);
}

static long last(void)
{
    char text[16] = "0";
    int fd = open("b", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, text, sizeof text - 1) < 0)
            err(1, "b");
        close(fd);
    }
    return atol(text);
}

static void in_a_child(const char *name, long number)
{
    pid_t child = fork();
    if (child < 0)
        err(1, "fork");
    if (child == 0) {
        put(name, number);
        _exit(0);
    }
    while (waitpid(child, NULL, 0) < 0) {}
}

static void one_set(int by_children)
{
    int lock = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX))
        err(1, "lock");
    long number = last() + 1;
    (by_children ? in_a_child : put)("a", number);
    usleep(1000);
    (by_children ? in_a_child : put)("b", number);
    close(lock);
}

int main(int count, char **argv)
{
    if (count != 3 || chdir(argv[2]))
        errx(1, "service steady|forks|execs|one DIR");
    if (!strcmp(argv[1], "one")) {
        one_set(0);
        return 0;
    }
    signal(SIGTERM, ends);
    one_set(0);
    puts("ready");
    fflush(stdout);
    int execs = !strcmp(argv[1], "execs");
    for (int beside = 0; !over;) {
        if (!execs) {
            one_set(!strcmp(argv[1], "forks"));
            usleep(500);
            continue;
        }
        pid_t child = vfork();
        if (child == 0) {
            execl("/proc/self/exe", "service", "one", ".", (char *)0);
            _exit(127);
        }
        if (child < 0)
            err(1, "vfork");
        if (++beside == 4 && wait(NULL) > 0)
            beside--;
    }
    printf("%.0f\n", longest_ms);
    return 0;
}
