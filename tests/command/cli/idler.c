/* A program that has nothing half-done and looks as if it had: it waits, or it failed at something.
 *
 *   idler MODE FIFO FILE
 *
 * Changes FILE once, does what MODE says, prints "idle" if it comes back from that, and waits for good.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NONE "/none/such/program"

extern char **environ;

int main(int argc, char **argv)
{
    if (argc < 4) return 64;
    const char *mode = argv[1], *fifo = argv[2];
    char *list[] = {"x", 0};
    int file = open(argv[3], O_CREAT | O_WRONLY | O_APPEND, 0644);
    if (file < 0 || write(file, "x", 1) != 1) return 65;
    if (!strncmp(mode, "locked-", 7)) {
        if (flock(file, LOCK_EX) || write(file, "half", 4) != 4) return 66;
        mode += 7;
    }
    if (!strcmp(mode, "open")) open(fifo, O_WRONLY);
    else if (!strcmp(mode, "open-to-read")) open(fifo, O_RDONLY | O_CREAT, 0644);
    else if (!strcmp(mode, "openat")) openat(AT_FDCWD, fifo, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    else if (!strcmp(mode, "fopen")) fopen(fifo, "w");
    else if (!strcmp(mode, "creat")) creat(fifo, 0644);
    else if (!strcmp(mode, "syscall")) syscall(SYS_openat, AT_FDCWD, fifo, O_WRONLY | O_CREAT, 0644);
    else if (!strcmp(mode, "execl")) execl(NONE, "x", "1", "2", "3", "4", "5", "6", "7", (char *)0);
    else if (!strcmp(mode, "execlp")) execlp("no-such-program", "x", (char *)0);
    else if (!strcmp(mode, "execle")) execle(NONE, "x", "1", "2", "3", "4", "5", "6", (char *)0, environ);
    else if (!strcmp(mode, "execv")) execv(NONE, list);
    else if (!strcmp(mode, "execve")) execve(NONE, list, environ);
    else if (!strcmp(mode, "execvp")) execvp("no-such-program", list);
    else if (!strcmp(mode, "fexecve")) fexecve(file, list, environ);
    else return 67;
    puts("idle");
    fflush(stdout);
    for (;;) pause();
}
