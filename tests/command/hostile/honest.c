/* A small honest service: a master that only waits, and workers of another user that write sets,
 * a line into each of two files under one lock. It knows nothing of the gate.
 *
 *   honest FOLDER WORKERS UID
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void work(const char *folder) {
    if (chdir(folder) != 0)
        _exit(3);
    int lock = open("lock", O_RDWR | O_CREAT, 0644), a = open("a", O_WRONLY | O_APPEND | O_CREAT, 0644),
        b = open("b", O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (lock < 0 || a < 0 || b < 0)
        _exit(4);
    for (;;) {
        struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(lock, F_SETLKW, &all) != 0)
            _exit(5);
        if (write(a, "x\n", 2) != 2)
            _exit(6);
        usleep(300);
        if (write(b, "x\n", 2) != 2)
            _exit(6);
        all.l_type = F_UNLCK;
        fcntl(lock, F_SETLK, &all);
        usleep(2000);
    }
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    for (int i = 0; i < atoi(argv[2]); i++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (setgid(atoi(argv[3])) != 0 || setuid(atoi(argv[3])) != 0)
                _exit(3);
            work(argv[1]);
        }
    printf("ready\n");
    fflush(stdout);
    while (wait(NULL) > 0)
        ;
    return 1;
}
