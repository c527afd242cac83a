/* One kind of call, so many times: instructions.py counts what each costs.   instructions KIND COUNT (in a directory of its own) */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *kind = argv[1];
    int count = atoi(argv[2]), fd = open("file", O_CREAT | O_RDWR, 0600), null = open("/dev/null", O_WRONLY), status;
    FILE *stream = fopen("/dev/null", "w");
    struct flock l = {.l_type = F_WRLCK};
    pid_t child = 0;
    char page[4096] = "";
    if (strstr(kind, "waitpid") && !(child = fork())) { pause(); _exit(0); }
    if (!strcmp(kind, "waitpid-1000")) { for (int i = 0; i < 1000; i++) dup(fd); dup2(fd, 40); }
#define KIND(name, ...) if (!strcmp(kind, name)) for (int i = 0; i < count; i++) { __VA_ARGS__; }
    KIND("pwrite", pwrite(fd, page, 4096, 0))
    KIND("write", write(null, page, 1))
    KIND("fputc", fputc('x', stream))
    KIND("open-close", close(open("file", O_RDONLY)))
    KIND("create-close", close(open("file", O_RDWR | O_CREAT, 0600)))
    KIND("rename", rename(i % 2 ? "b" : "file", i % 2 ? "file" : "b"))
    KIND("mkdir-rmdir", mkdir("d", 0700); rmdir("d"))
    KIND("chmod", chmod("file", 0600))
    KIND("lock-unlock", l.l_type = F_WRLCK; fcntl(fd, F_SETLK, &l); l.l_type = F_UNLCK; fcntl(fd, F_SETLK, &l))
    KIND("lock-write-unlock", l.l_type = F_WRLCK; fcntl(fd, F_SETLK, &l); pwrite(fd, page, 4096, 0); l.l_type = F_UNLCK; fcntl(fd, F_SETLK, &l))
    KIND("flock", flock(fd, LOCK_EX); flock(fd, LOCK_UN))
    KIND("dup-close", close(dup(fd)))
    KIND("dup2", dup2(fd, 40))
    KIND("read", read(fd, page, 1))
    KIND("fork-wait", if (!fork()) _exit(0); wait(&status))
    KIND("waitpid", waitpid(child, &status, WNOHANG))
    KIND("waitpid-1000", waitpid(child, &status, WNOHANG))
    KIND("prctl", prctl(PR_SET_NAME, "x"))
    if (child) { kill(child, 9); }
    return 0;
}
