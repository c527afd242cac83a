/* A child locks a descriptor for its parent, as a shell's flock(1) does: the parent's next change begins a section.
 *   helper FILE DESCRIPTOR KIND DATA      KIND: waitpid, waitid, null (waitid without a place), nohang */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <sys/resource.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct rlimit r = {80000, 80000};
    setrlimit(RLIMIT_NOFILE, &r);
    int at = atoi(argv[2]), fd = open(argv[1], O_CREAT | O_RDWR, 0600), status;
    if (dup2(fd, at) != at) return 64;
    if (fd != at) close(fd);
    pid_t child = fork();
    if (!child) _exit(flock(at, LOCK_EX) != 0);
    siginfo_t s;
    if (!strcmp(argv[3], "waitpid")) waitpid(child, &status, 0);
    else if (!strcmp(argv[3], "waitid")) waitid(P_PID, child, &s, WEXITED);
    else if (!strcmp(argv[3], "null")) waitid(P_PID, child, 0, WEXITED);
    else while (waitpid(child, &status, WNOHANG) == 0) usleep(1000);
    int data = open(argv[4], O_CREAT | O_WRONLY | O_APPEND, 0600);
    write(data, "a", 1);
    puts("half");
    fflush(stdout);
    getchar();
    write(data, "b", 1);
    flock(at, LOCK_UN);
    puts("whole");
    fflush(stdout);
    getchar();
    return 0;
}
