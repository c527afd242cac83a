/* window CASE FILE: says READY, and after a byte on stdin it changes something of FILE, past libc's functions where
   that is the case's point. Then DONE, and it waits for another byte. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long raw(long n, long a, long b, long c)
{
    register long result __asm__("rax") = n;
    __asm__ volatile("syscall" : "+r"(result) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
static void must(int ok, const char *what) { if (!ok) { perror(what); _exit(3); } }
static void say(const char *word) { raw(SYS_write, 1, (long)word, (long)strlen(word)); }
static void await(void) { char got; raw(SYS_read, 0, (long)&got, 1); }
static const char *path;
static int fd;
static char *map;
static void go(void) { say("READY\n"); await(); }

static void raw_write(void) { go(); must(raw(SYS_write, fd, (long)"x", 1) == 1, "write"); }
static void raw_truncate(void) { go(); must(raw(SYS_ftruncate, fd, 3, 0) == 0, "ftruncate"); }
static void raw_rename(void) { char to[500]; snprintf(to, sizeof to, "%s.new", path); go(); must(raw(SYS_rename, (long)path, (long)to, 0) == 0, "rename"); }
static void raw_unlink(void) { go(); must(raw(SYS_unlink, (long)path, 0, 0) == 0, "unlink"); }
static void raw_create(void) { char to[500]; snprintf(to, sizeof to, "%s.made", path); go(); must(raw(SYS_open, (long)to, O_CREAT | O_RDWR, 0600) >= 0, "open"); }
static void raw_link(void) { char to[500]; snprintf(to, sizeof to, "%s.link", path); go(); must(raw(SYS_link, (long)path, (long)to, 0) == 0, "link"); }
static void raw_chmod(void) { go(); must(raw(SYS_fchmod, fd, 0640, 0) == 0, "fchmod"); }
static void raw_mkdir(void) { char to[500]; snprintf(to, sizeof to, "%s.dir", path); go(); must(raw(SYS_mkdir, (long)to, 0700, 0) == 0, "mkdir"); }
static void raw_chown(void) { go(); must(raw(SYS_fchown, fd, 1, 1) == 0, "fchown"); }
static void raw_proc_fd(void) { char s[60]; snprintf(s, sizeof s, "/proc/self/fd/%d", fd); go(); must(raw(SYS_truncate, (long)s, 0, 0) == 0, "truncate"); }
static void mapping(void) { must(ftruncate(fd, 4096) == 0, "ftruncate"); map = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); must(map != MAP_FAILED, "mmap"); go(); map[0] = 'x'; }
static void nothing(void) { go(); }

#define CASE(name) {#name, name}
static struct { const char *name; void (*run)(void); } cases[] = {
    CASE(raw_write), CASE(raw_truncate), CASE(raw_rename), CASE(raw_unlink), CASE(raw_create), CASE(raw_link), CASE(raw_chmod),
    CASE(raw_mkdir), CASE(raw_chown), CASE(raw_proc_fd), CASE(mapping), CASE(nothing)};

int main(int argc, char **argv)
{
    must(argc == 3, "arguments");
    path = argv[2];
    fd = open(path, O_RDWR | O_CREAT, 0600);
    must(fd >= 0 && write(fd, "0123456789", 10) == 10, path);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!strcmp(argv[1], cases[i].name)) {
            cases[i].run();
            say("DONE\n");
            await();
            return 0;
        }
    return 2;
}
