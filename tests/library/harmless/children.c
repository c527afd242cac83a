/* Reaps a child with many descriptors open, one of which was put in its place by dup2.
 *   children COUNT WHAT      marks its reaps: getpgid before, getppid after */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int count = atoi(argv[1]), status;
    struct rlimit r = {count + 100, count + 100};
    setrlimit(RLIMIT_NOFILE, &r);
    int log = open("log", O_CREAT | O_WRONLY | O_APPEND, 0600);
    int lock = open("lock", O_CREAT | O_RDWR, 0600);
    for (int i = 0; i < count; i++) open("log", O_RDONLY);
    if (!strcmp(argv[2], "dup2")) dup2(log, 40);
    if (!strcmp(argv[2], "lock")) { dup2(log, 40); flock(lock, LOCK_EX); }
    pid_t child = fork();
    if (!child) { pause(); _exit(0); }
    syscall(SYS_getpgid, 0);
    for (int i = 0; i < 10; i++) waitpid(child, &status, WNOHANG);
    siginfo_t s;
    for (int i = 0; i < 10; i++) waitid(P_PID, child, &s, WEXITED | WNOHANG);
    syscall(SYS_getppid);
    kill(child, 9);
    syscall(SYS_getpgid, 0);
    waitpid(child, &status, 0);
    syscall(SYS_getppid);
    return 0;
}
