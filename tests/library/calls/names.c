/* Ways: making, moving and removing names. */
#include "way.h"
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static int d;
static void prep(const char *n)
{
    made("a", "first"); made("b", "second");
    must(mkdir("dir", 0755), "dir"); must(mkdir("empty", 0755), "empty"); made("dir/in", "inner");
    d = must(open("dir", O_RDONLY | O_DIRECTORY), "dir");
}
typedef int (*one)(const char *);
typedef int (*two)(const char *, const char *);
static void a_new2(const char *n) { result(n, ((two)sym(call(n)))("a", "moved")); }
static void a_over(const char *n) { result(n, ((two)sym(call(n)))("a", "b")); }
static void a_renameat(const char *n) { int (*f)(int, const char *, int, const char *) = sym(call(n)); result(n, f(AT_FDCWD, "a", d, "moved")); }
static void a_renameat2(const char *n) { int (*f)(int, const char *, int, const char *, unsigned) = sym(call(n)); result(n, f(AT_FDCWD, "a", AT_FDCWD, "b", 2 /* exchange */)); }
static void a_renameat2n(const char *n) { int (*f)(int, const char *, int, const char *, unsigned) = sym(call(n)); result(n, f(AT_FDCWD, "a", AT_FDCWD, "b", 1 /* no replace */)); }
static void a_linkat(const char *n) { result(n, linkat(AT_FDCWD, "a", d, "hard", 0)); }
static void a_symlinkat(const char *n) { result(n, symlinkat("../a", d, "soft")); }
static void a_unlink(const char *n) { result(n, ((one)sym(call(n)))("a")); }
static void a_rm_dir(const char *n) { result(n, ((one)sym(call(n)))("empty")); }
static void a_rm_full(const char *n) { result(n, ((one)sym(call(n)))("dir")); }
static void a_unlinkat(const char *n) { result(n, unlinkat(d, "in", 0)); }
static void a_rmdirat(const char *n) { result(n, unlinkat(AT_FDCWD, "empty", AT_REMOVEDIR)); }
static void a_mkdir(const char *n) { result(n, mkdir("made", 0751)); }
static void a_mkdirat(const char *n) { result(n, mkdirat(d, "made", 0715)); }
static void a_mknod(const char *n) { result(n, mknod("node", S_IFREG | 0640, 0)); }
static void a_mknodat(const char *n) { result(n, mknodat(d, "node", S_IFIFO | 0604, 0)); }
static void a_xmknod(const char *n) { int (*f)(int, const char *, mode_t, dev_t *) = sym(call(n)); dev_t v = makedev(1, 3); result(n, f(0, "node", S_IFCHR | 0600, &v)); }
static void a_xmknodat(const char *n) { int (*f)(int, int, const char *, mode_t, dev_t *) = sym(call(n)); dev_t v = 0; result(n, f(0, d, "node", S_IFREG | 0600, &v)); }
static void a_mkfifo(const char *n) { result(n, mkfifo("fifo", 0642)); }
static void a_mkfifoat(const char *n) { result(n, mkfifoat(d, "fifo", 0624)); }
static void a_bind(const char *n) { struct sockaddr_un u = { AF_UNIX, "sock" }; result(n, bind(must(socket(AF_UNIX, SOCK_STREAM, 0), "socket"), (void *)&u, sizeof u)); }
static void a_bind_short(const char *n) { struct sockaddr_un u = { AF_UNIX, "sock" }; result(n, bind(must(socket(AF_UNIX, SOCK_STREAM, 0), "socket"), (void *)&u, SUN_LEN(&u))); }
static void a_bind_full(const char *n) { struct sockaddr_un u = { AF_UNIX }; memset(u.sun_path, 'p', sizeof u.sun_path); result(n, bind(must(socket(AF_UNIX, SOCK_DGRAM, 0), "socket"), (void *)&u, sizeof u)); }
static void a_bind_none(const char *n) { struct sockaddr_un u = { AF_UNIX }; result(n, bind(must(socket(AF_UNIX, SOCK_STREAM, 0), "socket"), (void *)&u, 2)); }
static void a_bind_abstract(const char *n)
{
    struct sockaddr_un u = { AF_UNIX, "" }; snprintf(u.sun_path + 1, 40, "wg-way-%d", getpid());
    result(n, bind(must(socket(AF_UNIX, SOCK_STREAM, 0), "socket"), (void *)&u, sizeof u));
}
static void a_gone(const char *n) { result(n, ((one)sym(call(n)))("never-was")); }

struct way ways[] = {
    W("rename", "holds", prep, a_new2), W("rename:over", "holds", prep, a_over), W("renameat", "holds", prep, a_renameat),
    W("renameat2", "holds", prep, a_renameat2), W("renameat2:noreplace", "either", prep, a_renameat2n),
    W("link", "holds", prep, a_new2), W("link:exists", "either", prep, a_over), W("linkat", "holds", prep, a_linkat),
    W("symlink", "holds", prep, a_new2), W("symlinkat", "holds", prep, a_symlinkat),
    W("unlink", "holds", prep, a_unlink), W("unlink:gone", "either", prep, a_gone), W("unlinkat", "holds", prep, a_unlinkat), W("unlinkat:dir", "holds", prep, a_rmdirat),
    W("remove", "holds", prep, a_unlink), W("remove:dir", "holds", prep, a_rm_dir), W("remove:full", "either", prep, a_rm_full),
    W("rmdir", "holds", prep, a_rm_dir), W("rmdir:full", "either", prep, a_rm_full),
    W("mkdir", "holds", prep, a_mkdir), W("mkdirat", "holds", prep, a_mkdirat),
    W("mknod", "holds", prep, a_mknod), W("mknodat", "holds", prep, a_mknodat), W("__xmknod", "holds", prep, a_xmknod), W("__xmknodat", "holds", prep, a_xmknodat),
    W("mkfifo", "holds", prep, a_mkfifo), W("mkfifoat", "holds", prep, a_mkfifoat),
    W("bind", "holds", prep, a_bind), W("bind:abstract", "passes", prep, a_bind_abstract),
    W("bind:short", "holds", prep, a_bind_short), W("bind:full", "holds", prep, a_bind_full), W("bind:autobind", "passes", prep, a_bind_none),
    END
};
