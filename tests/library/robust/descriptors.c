/* Programs that close what they did not open: the library may hold no descriptor, and need none. */
#include "robust.h"
#include <sys/resource.h>

static void keep_report(void) { report = 250; NEED(dup2(1, 250) == 250); }
static long closed_std(long end)
{
    long n = 0; int in = dup2(0, 251); keep_report(); close(0); close(1); close(2);
    while (now_ms() < end) {
        int a = open("a", O_RDWR | O_CREAT, 0600), b = open("b", O_RDWR | O_CREAT, 0600), c = open("c", O_RDWR | O_CREAT, 0600); NEED(a == 0 && b == 1 && c == 2);
        NEED(write(1, "one", 3) == 3); int d = open("d", O_RDWR | O_CREAT, 0600); NEED(d == 3); changes(4); NEED(close(0) == 0 && close(1) == 0 && close(2) == 0 && close(3) == 0); n++;
    }
    dup2(in, 0); return n;
}
static long close_all(long end)
{
    long n = 0; keep_report();
    while (now_ms() < end) {
        int a = open("a", O_RDWR | O_CREAT, 0600); for (int i = 3; i < 240; i++) close(i); NEED(write(a, "x", 1) == -1 && errno == EBADF);
        int b = open("b", O_RDWR | O_CREAT, 0600); NEED(b == 3); close_range(3, 249, 0); NEED(fcntl(3, F_GETFD) == -1); changes(5); n++;
    }
    return n;
}
static long closefrom_child(long end)
{
    long n = 0;
    while (now_ms() < end) { pid_t p = fork(); int st; if (!p) { closefrom(0); int a = open("cf", O_RDWR | O_CREAT, 0600); if (a != 0) _exit(7); if (write(0, "x", 1) != 1) _exit(8); changes(6); _exit(0); } waitpid(p, &st, 0); NEED(st == 0); n++; }
    return n;
}
/* No descriptor to be had: what needs none must still work, and wait at the barrier like the rest. */
static long none_left(long end)
{
    long n = 0; int fd = open("keep", O_RDWR | O_CREAT, 0600); struct rlimit o, r; getrlimit(RLIMIT_NOFILE, &o);
    while (now_ms() < end) {
        r = (struct rlimit){ 0, o.rlim_max }; setrlimit(RLIMIT_NOFILE, &r); NEED(pwrite(fd, "x", 1, 0) == 1); NEED(open("x", O_CREAT | O_WRONLY, 0600) == -1 && errno == EMFILE); NEED(mkdir("dirx", 0700) == 0); NEED(rmdir("dirx") == 0); NEED(dup(fd) == -1 && errno == EMFILE);
        setrlimit(RLIMIT_NOFILE, &o); locked_change(fd); n++;
    }
    return n;
}
/* A process that changes its root, its user and its directory, as mail daemons do. */
static long drops(long end)
{
    long n = 0; NEED(chmod(".", 0777) == 0);
    while (now_ms() < end) { pid_t p = fork(); int st; if (!p) { if (chroot(".") || chdir("/") || setgid(65534) || setuid(65534)) _exit(5); changes(7); int fd = open("own", O_RDWR | O_CREAT, 0600); if (fd < 0) _exit(6); locked_change(fd); _exit(0); } waitpid(p, &st, 0); NEED(st == 0 || WEXITSTATUS(st) == 5); n++; }
    return n;
}
struct robust cases[] = { { "closed-stdio", closed_std }, { "close-everything", close_all }, { "closefrom", closefrom_child }, { "no-descriptor-left", none_left }, { "chroot-setuid", drops }, { 0, 0 } };
