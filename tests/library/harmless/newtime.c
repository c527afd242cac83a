/* A program that makes a time namespace for its children, and is told when to write.
 *
 *   newtime OFFSET FILE     OFFSET in s, of the new namespace's CLOCK_MONOTONIC
 *
 * On its standard input: u it makes the namespace; p it writes to FILE itself; c a child of its does, and stays.
 * Of each write it tells when it was over (CLOCK_REALTIME, ns).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static void writes(int fd)
{
    struct timespec t;
    int wrote = write(fd, "x", 1);
    clock_gettime(CLOCK_REALTIME, &t);
    dprintf(1, "%lld\n", wrote == 1 ? t.tv_sec * 1000000000LL + t.tv_nsec : 0);
}

int main(int argc, char **argv)
{
    char told;
    int fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0644);
    while (read(0, &told, 1) == 1) {
        if (told == 'p')
            writes(fd);
        if (told == 'u') {
            int made = unshare(CLONE_NEWTIME), offsets = open("/proc/self/timens_offsets", O_WRONLY);
            dprintf(1, "%d\n", made == 0 && dprintf(offsets, "monotonic %s 0\n", argv[1]) > 0);
        }
        if (told == 'c' && fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            writes(fd);
            pause();
        }
    }
}
