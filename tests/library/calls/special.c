/* Ways: pipes, sockets and devices as names. What is written to one goes elsewhere; its name, mode, owner and
 * times lie on the disk like those of any file. */
#include "way.h"
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <utime.h>

static int fd;
static void prep(const char *n)
{
    must(mkfifo("fifo", 0600), "fifo");
    must(symlink("fifo", "soft"), "soft"); must(symlink("no-such-file", "dangling"), "dangling");
    must(mknod("null", S_IFCHR | 0600, makedev(1, 3)), "null");
    struct sockaddr_un u = { AF_UNIX, "sock" };
    must(bind(must(socket(AF_UNIX, SOCK_STREAM, 0), "socket"), (void *)&u, sizeof u), "bind");
    fd = must(open("fifo", O_RDWR | O_NONBLOCK), "open");
}
static void a_unlink(const char *n) { result(n, unlink("fifo")); }
static void a_unlink_sock(const char *n) { result(n, unlink("sock")); }
static void a_remove(const char *n) { result(n, remove("null")); }
static void a_rename(const char *n) { result(n, rename("fifo", "moved")); }
static void a_link(const char *n) { result(n, link("fifo", "second")); }
static void a_chmod(const char *n) { result(n, chmod("fifo", 0640)); }
static void a_chmod_soft(const char *n) { result(n, chmod("soft", 0640)); }
static void a_chmod_sock(const char *n) { result(n, chmod("sock", 0666)); }
static void a_chown(const char *n) { result(n, chown("null", 12, 34)); }
static void a_utime(const char *n) { struct utimbuf b = { 100000, 200000 }; result(n, utime("sock", &b)); }
static void a_utimensat(const char *n) { struct timespec t[2] = { { 1, 2 }, { 3, 4 } }; result(n, utimensat(AT_FDCWD, "fifo", t, 0)); }
static void a_fchmod(const char *n) { result(n, fchmod(fd, 0640)); }
static void a_fchown(const char *n) { result(n, fchown(fd, 12, 34)); }
static void a_futimens(const char *n) { struct timespec t[2] = { { 1, 2 }, { 3, 4 } }; result(n, futimens(fd, t)); }
static void a_open(const char *n) { result(n, open("fifo", O_RDWR | O_TRUNC | O_CREAT, 0600) < 0 ? -1 : 0); }
static void a_dev(const char *n) { int f = open("null", O_WRONLY | O_TRUNC | O_CREAT, 0600); result(n, write(f, "x", 1)); }
static void a_fopen(const char *n) { FILE *f = fopen("null", "w"); fputs("x", f); result(n, fclose(f)); }
static void a_write(const char *n) { char c; int p[2]; must(pipe(p), "pipe"); result(n, write(p[1], "x", 1)); result("read", read(p[0], &c, 1)); }
static void a_pipe_mode(const char *n) { int p[2]; must(pipe(p), "pipe"); result(n, fchmod(p[1], 0600)); }
static void a_dangling(const char *n) { result(n, open("dangling", O_WRONLY | O_CREAT, 0600) < 0 ? -1 : 0); }
static void a_slash(const char *n) { result(n, mkdir("new//", 0755)); }

struct way ways[] = {
    W("unlink", "holds", prep, a_unlink), W("unlink:sock", "holds", prep, a_unlink_sock), W("remove", "holds", prep, a_remove),
    W("rename", "holds", prep, a_rename), W("link", "holds", prep, a_link),
    W("chmod", "holds", prep, a_chmod), W("chmod:soft", "holds", prep, a_chmod_soft), W("chmod:sock", "holds", prep, a_chmod_sock),
    W("chown", "holds", prep, a_chown), W("utime", "holds", prep, a_utime), W("utimensat", "holds", prep, a_utimensat),
    W("fchmod", "holds", prep, a_fchmod), W("fchown", "holds", prep, a_fchown), W("futimens", "holds", prep, a_futimens),
    W("open:fifo", "passes", prep, a_open), W("open:device", "passes", prep, a_dev), W("fopen:device", "passes", prep, a_fopen),
    W("write:pipe", "passes", prep, a_write), W("fchmod:pipe", "passes", prep, a_pipe_mode),
    W("open:dangling", "holds", prep, a_dangling), W("mkdir:slash", "holds", prep, a_slash),
    END
};
