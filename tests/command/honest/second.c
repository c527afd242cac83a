/* A forked child in which the second thread is the first to change something; then the first thread writes, when told to.
 *
 *   second DIR      says "ready" and the child's id
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void *other(void *none)
{
    int fd = open("others", O_WRONLY | O_CREAT, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1)
        err(1, "others");
    return none;
}

int main(int count, char **argv)
{
    char go;
    pthread_t thread;
    if (count != 2 || chdir(argv[1]))
        errx(1, "second DIR");
    int mine = open("mine", O_WRONLY | O_CREAT, 0600);
    if (mine < 0 || write(mine, "parents", 7) != 7)     /* from here on this thread has a number, and the child's has the same */
        err(1, "mine");
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (pthread_create(&thread, NULL, other, NULL) || pthread_join(thread, NULL))
            errx(1, "thread");
        if (read(0, &go, 1) == 1 && write(mine, "childs", 6) != 6)
            err(1, "mine");
        pause();
    }
    usleep(200000);
    printf("ready\n%d\n", child);
    fflush(stdout);
    return wait(NULL) < 0;
}
