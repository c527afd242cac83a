/* A process that confines itself after its start: read, write, _exit and sigreturn, everything else kills
 * (SECCOMP_MODE_STRICT). What libc makes on a path is all that may be made there with the barrier down.
 *
 *   strict warm|cold|thread FILE
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fd;
static void *confined(void *unused)
{
    /* No filter of ours can be in the way: the kernel's oldest. */
    if (prctl(PR_SET_SECCOMP, 1)) return 0;
    for (int i = 0; i < 3; i++)
        if (write(fd, "line\n", 5) != 5) return 0;
    syscall(SYS_write, fd, "end\n", 4);
    syscall(SYS_exit, 0);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3 || (fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0644)) < 0) return 64;
    if (!strcmp(argv[1], "warm") && write(fd, "before\n", 7) != 7) return 65;
    if (!strcmp(argv[1], "thread")) {
        pthread_t t;
        pthread_create(&t, 0, confined, 0);
        pthread_join(t, 0);
        return 0;
    }
    confined(0);
    return 66;
}
