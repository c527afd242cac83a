/* A program that does a bit of everything that is hooked, and says what came of it: run bare and with the
 * library it must say the same.   host DIRECTORY [sleep|descriptors] */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void said(const char *what, long result) { printf("%s=%ld %s\n", what, result, result < 0 ? strerror(errno) : ""); }

int main(int argc, char **argv)
{
    syscall(SYS_getpgid, 0);            /* inject.py: from here on it is the program's own */
    if (argc < 2 || chdir(argv[1])) return 64;
    if (argc > 2 && !strcmp(argv[2], "descriptors")) {
        int out = open("descriptors", O_CREAT | O_WRONLY | O_TRUNC, 0600);
        for (int i = 0; i < 256; i++) if (fcntl(i, F_GETFD) >= 0) dprintf(out, "%d ", i);
        return 0;
    }
    int fd = open("a", O_CREAT | O_RDWR | O_TRUNC, 0600);
    said("open", fd < 0 ? fd : 0);
    said("write", write(fd, "12345", 5));
    said("pwrite", pwrite(fd, "x", 1, 0));
    struct flock l = {.l_type = F_WRLCK};
    said("lock", fcntl(fd, F_SETLK, &l));
    said("write", write(fd, "y", 1));
    l.l_type = F_UNLCK;
    said("unlock", fcntl(fd, F_SETLK, &l));
    said("flock", flock(fd, LOCK_EX));
    pid_t child = fork();
    if (!child) { write(fd, "c", 1); _exit(3); }
    int status = 0;
    said("waitpid", waitpid(child, &status, 0) == child);
    said("child", WEXITSTATUS(status));
    said("rename", rename("a", "b"));
    said("rename", rename("a", "c"));
    FILE *f = fopen("c", "w");
    said("fprintf", f ? fprintf(f, "%s %d\n", "line", 7) : -1);
    said("fclose", f ? fclose(f) : -1);
    said("close", close(fd));
    said("unlink", unlink("b"));
    said("unlink", unlink("c"));
    said("system", system("true"));
    fflush(stdout);
    if (argc > 2) pause();          /* sleep */
    return 7;
}
