/* What holders.c and lockfiles.c share: one set, its first half, and waiting there. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long raw(long n, long a, long b, long c)
{
    register long result __asm__("rax") = n;
    __asm__ volatile("syscall" : "+r"(result) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
static int a, b, l;
static void must(int ok, const char *what) { if (!ok) { perror(what); _exit(3); } }
static int file(const char *name, int flags)
{
    int fd = open(name, flags | O_CREAT, 0600);
    must(fd >= 0, name);
    return fd;
}
static void byte(int fd) { must(pwrite(fd, "1", 1, lseek(fd, 0, SEEK_END)) == 1, "write"); }
static void say(const char *word) { raw(SYS_write, 1, (long)word, (long)strlen(word)); }
static void await(void) { char got; raw(SYS_read, 0, (long)&got, 1); }
static void half(void)
{
    const char *ms = getenv("HOLD_MS");
    say("READY\n");
    if (ms) usleep(atoi(ms) * 1000); else await();
}
static inline void prepare(int argc, char **argv)
{
    must(argc == 3 && chdir(argv[2]) == 0, "arguments");
    a = file("a", O_RDWR); b = file("b", O_RDWR); l = file("l", O_RDWR);
}
