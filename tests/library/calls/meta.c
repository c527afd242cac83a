/* Ways: mode, owner, times, extended attributes, size, allocation, and the syncs. */
#include "way.h"
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

static int fd, d;
static void prep(const char *n)
{
    fd = file("f", "0123456789abcdef"); must(symlink("f", "soft"), "soft");
    d = must(open(".", O_RDONLY | O_DIRECTORY), ".");
    must(fsetxattr(fd, "user.there", "old", 3, 0), "xattr");
    if (!geteuid()) must(lsetxattr("soft", "trusted.there", "old", 3, 0), "trusted xattr");    /* root's alone */
}
static void a_chmod(const char *n) { result(n, chmod("f", 0604)); }
static void a_fchmod(const char *n) { result(n, fchmod(fd, 0604)); }
static void a_fchmodat(const char *n) { result(n, fchmodat(d, "f", 0640, 0)); }
static void a_fchmodat_nf(const char *n) { result(n, fchmodat(d, "f", 0641, AT_SYMLINK_NOFOLLOW)); }
static void a_lchmod(const char *n) { int (*f)(const char *, mode_t) = sym(call(n)); result(n, f("f", 0614)); }
static void a_chown(const char *n) { result(n, chown("f", 12, 34)); }
static void a_lchown(const char *n) { result(n, lchown("soft", 56, 78)); }
static void a_fchown(const char *n) { result(n, fchown(fd, 12, -1)); }
static void a_fchownat(const char *n) { result(n, fchownat(d, "f", -1, 34, 0)); }
static void a_fchownat_e(const char *n) { result(n, fchownat(fd, "", 5, 6, AT_EMPTY_PATH)); }
static struct utimbuf ub = { 100000, 200000 };
static struct timeval tv[2] = { { 100000, 1 }, { 300000, 2 } };
static struct timespec ts[2] = { { 100000, 1 }, { 400000, 2 } };
static void a_utime(const char *n) { result(n, utime("f", &ub)); }
static void a_utime_now(const char *n) { result(n, utime("f", 0)); }
static void a_utimes(const char *n) { result(n, utimes("f", tv)); }
static void a_lutimes(const char *n) { result(n, lutimes("soft", tv)); }
static void a_futimes(const char *n) { result(n, futimes(fd, tv)); }
static void a_futimesat(const char *n) { result(n, futimesat(d, "f", tv)); }
static void a_utimensat(const char *n) { result(n, utimensat(d, "f", ts, 0)); }
static void a_utimensat_l(const char *n) { result(n, utimensat(AT_FDCWD, "soft", ts, AT_SYMLINK_NOFOLLOW)); }
static void a_futimens(const char *n) { result(n, futimens(fd, ts)); }
static void a_setx(const char *n) { result(n, setxattr("f", "user.new", "v", 1, 0)); }
static void a_lsetx(const char *n) { result(n, lsetxattr("soft", "trusted.new", "v", 1, 0)); }
static void a_fsetx(const char *n) { result(n, fsetxattr(fd, "user.new", "v", 1, XATTR_CREATE)); }
static void a_remx(const char *n) { result(n, removexattr("f", "user.there")); }
static void a_lremx(const char *n) { result(n, lremovexattr("soft", "trusted.there")); }
static void a_fremx(const char *n) { result(n, fremovexattr(fd, "user.there")); }
static void a_trunc(const char *n) { int (*f)(const char *, off_t) = sym(call(n)); result(n, f("f", 5)); }
static void a_ftrunc(const char *n) { int (*f)(int, off_t) = sym(call(n)); result(n, f(fd, 1000)); offset(fd); }
static void a_falloc(const char *n) { int (*f)(int, int, off_t, off_t) = sym(call(n)); result(n, f(fd, 0, 0, 9000)); }
static void a_punch(const char *n) { result(n, fallocate(fd, 3 /* keep size, punch hole */, 0, 4096)); }
static void a_pfalloc(const char *n) { int (*f)(int, off_t, off_t) = sym(call(n)); result(n, f(fd, 0, 7000)); say("errno=%d\n", errno); }
static void a_pfalloc_bad(const char *n) { int (*f)(int, off_t, off_t) = sym(call(n)); result(n, f(fd, -1, 7000)); say("errno=%d\n", errno); }
static char *m;
static void prep_map(const char *n) { prep(n); must(ftruncate(fd, 8192), "grow"); m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); }
static void a_remove(const char *n) { int (*f)(void *, size_t, int) = sym(call(n)); result(n, f(m, 4096, 9 /* MADV_REMOVE */)); say("first=%d\n", m[0]); }
static void a_fsync(const char *n) { int (*f)(int) = sym(call(n)); result(n, f(fd)); }
static void a_sync(const char *n) { sync(); }
static void a_sfr(const char *n) { int (*f)(int, off_t, off_t, unsigned) = sym(call(n)); result(n, f(fd, 0, 4096, 2)); }
static void a_msync(const char *n) { result(n, msync(m, 4096, MS_SYNC)); }

struct way ways[] = {
    W("chmod", "holds", prep, a_chmod), W("fchmod", "holds", prep, a_fchmod), W("fchmodat", "holds", prep, a_fchmodat),
    W("fchmodat:nofollow", "holds", prep, a_fchmodat_nf), W("lchmod", "holds", prep, a_lchmod),
    W("chown", "holds", prep, a_chown), W("lchown", "holds", prep, a_lchown), W("fchown", "holds", prep, a_fchown),
    W("fchownat", "holds", prep, a_fchownat), W("fchownat:empty-path", "holds", prep, a_fchownat_e),
    W("utime", "holds", prep, a_utime), W("utime:now", "holds", prep, a_utime_now), W("utimes", "holds", prep, a_utimes), W("lutimes", "holds", prep, a_lutimes),
    W("futimes", "holds", prep, a_futimes), W("futimesat", "holds", prep, a_futimesat), W("utimensat", "holds", prep, a_utimensat),
    W("utimensat:link", "holds", prep, a_utimensat_l), W("futimens", "holds", prep, a_futimens),
    W("setxattr", "holds", prep, a_setx), W("lsetxattr", "holds", prep, a_lsetx), W("fsetxattr", "holds", prep, a_fsetx),
    W("removexattr", "holds", prep, a_remx), W("lremovexattr", "holds", prep, a_lremx), W("fremovexattr", "holds", prep, a_fremx),
    W("truncate", "holds", prep, a_trunc), W("truncate64", "holds", prep, a_trunc), W("ftruncate", "holds", prep, a_ftrunc), W("ftruncate64", "holds", prep, a_ftrunc),
    W("fallocate", "holds", prep, a_falloc), W("fallocate64", "holds", prep, a_falloc), W("fallocate:punch", "holds", prep, a_punch),
    W("posix_fallocate", "holds", prep, a_pfalloc), W("posix_fallocate64", "holds", prep, a_pfalloc), W("posix_fallocate:invalid", "either", prep, a_pfalloc_bad),
    W("madvise:remove", "holds", prep_map, a_remove),
    W("fsync", "either", prep, a_fsync), W("fdatasync", "either", prep, a_fsync), W("syncfs", "either", prep, a_fsync),
    W("sync", "either", prep, a_sync), W("sync_file_range", "either", prep, a_sfr), W("msync", "either", prep_map, a_msync),
    END
};
