/* Ways: every system call that changes a file, through libc's syscall(). A new number belongs here, in
 * the library's list and in tests/library/exports.
 */
#include "way.h"
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/socket.h>
#include <utime.h>

static int fd, d, in, p[2];
static void prep(const char *n)
{
    fd = file("f", "0123456789abcdef"); made("g", "second"); in = file("in", "source of a copy"); must(symlink("f", "soft"), "soft");
    must(mkdir("dir", 0755), "dir"); must(mkdir("empty", 0755), "empty"); d = must(open(".", O_RDONLY | O_DIRECTORY), ".");
    must(pipe(p), "pipe"); must(write(p[1], "through", 7), "through");
    must(syscall(SYS_fsetxattr, fd, "user.there", "old", 3, 0), "xattr");
    if (!geteuid()) must(syscall(SYS_lsetxattr, "soft", "trusted.there", "old", 3, 0), "xattr");
}
static struct iovec iov[2] = { { "one,", 4 }, { "two", 3 } };
static struct timespec ts[2] = { { 100000, 1 }, { 400000, 2 } };
static struct timeval tv[2] = { { 100000, 1 }, { 300000, 2 } };
#define A (long)AT_FDCWD
/* One line a call: its name, its number, its arguments. A number that the headers lack is written out. */
#define CALLS(X) \
    X(write, 1, fd, "WRITE", 5) X(pwrite64, 18, fd, "PWRITE", 6, 2) X(writev, 20, fd, iov, 2) X(pwritev, 296, fd, iov, 2, 3, 0) X(pwritev2, 328, fd, iov, 2, -1, -1, 0) \
    X(sendfile, 40, fd, in, 0, 5) X(splice, 275, p[0], 0, fd, 0, 7, 0) X(copy_file_range, 326, in, 0, fd, 0, 9, 0) \
    X(open, 2, "new", O_CREAT | O_WRONLY, 0640) X(creat, 85, "g", 0600) X(openat, 257, A, "g", O_RDWR | O_TRUNC) X(openat2, 437, d, "new", &how, 24) \
    X(truncate, 76, "f", 3) X(ftruncate, 77, fd, 100) X(fallocate, 285, fd, 0, 0, 9000) \
    X(rename, 82, "g", "moved") X(renameat, 264, d, "g", A, "dir/moved") X(renameat2, 316, A, "f", A, "g", 2) \
    X(link, 86, "f", "hard") X(linkat, 265, A, "f", d, "hard", 0) X(symlink, 88, "f", "s2") X(symlinkat, 266, "f", d, "s2") \
    X(unlink, 87, "g") X(unlinkat, 263, d, "g", 0) X(rmdir, 84, "empty") X(mkdir, 83, "made", 0751) X(mkdirat, 258, d, "made", 0715) \
    X(mknod, 133, "node", S_IFREG | 0640, 0) X(mknodat, 259, A, "fifo", S_IFIFO | 0600, 0) X(bind, 49, socket(AF_UNIX, SOCK_STREAM, 0), &un, sizeof un) \
    X(chmod, 90, "f", 0604) X(fchmod, 91, fd, 0604) X(fchmodat, 268, A, "f", 0640) X(fchmodat2, 452, A, "f", 0641, 0) \
    X(chown, 92, "f", 12, 34) X(fchown, 93, fd, 12, 34) X(lchown, 94, "soft", 5, 6) X(fchownat, 260, A, "f", 7, 8, 0) \
    X(utime, 132, "f", &ub) X(utimes, 235, "f", tv) X(futimesat, 261, A, "f", tv) X(utimensat, 280, A, "f", ts, 0) \
    X(setxattr, 188, "f", "user.n", "v", 1, 0) X(lsetxattr, 189, "soft", "trusted.n", "v", 1, 0) X(fsetxattr, 190, fd, "user.n", "v", 1, 0) \
    X(removexattr, 197, "f", "user.there") X(lremovexattr, 198, "soft", "trusted.there") X(fremovexattr, 199, fd, "user.there") \
    X(setxattrat, 463, A, "f", 0, "user.n", &xa, 16) X(removexattrat, 466, A, "f", 0, "user.there") \
    X(ioctl, 16, fd, 0x40086602, &fl)
static struct { uint64_t flags, mode, resolve; } how = { O_RDWR | O_CREAT, 0640, 0 };
static struct { uint64_t value; uint32_t size, flags; } xa = { (uint64_t)(uintptr_t)"v", 1, 0 };
static struct sockaddr_un un = { AF_UNIX, "sock" };
static struct utimbuf ub = { 100000, 200000 };
static int fl = 0x80040;
static void end(const char *n, long r) { if (r < 0 && errno == ENOSYS) absent("this kernel has no such call"); result(n, r); offset(fd); }
#define DEF(name, nr, ...) static void a_##name(const char *n) { end(n, syscall(nr, __VA_ARGS__)); }
CALLS(DEF)
#define ROW(name, nr, ...) W("syscall:" #name, "holds", prep, a_##name),
static void a_getpid(const char *n) { say("same=%d\n", syscall(SYS_getpid) == getpid()); }
static void a_bad(const char *n) { result("bad", syscall(99999)); result("minus", syscall(-1)); result("badf", syscall(SYS_write, -1, "x", 1)); }
static void a_six(const char *n) { char *m = (char *)syscall(SYS_mmap, 0L, 4096L, 3L, 0x22L, -1L, 0L); m[9] = 7; say("mapped=%d\n", m[9]); }
static void a_x32(const char *n) { long r = syscall(0x40000000 | 1, fd, "x32", 3); say(r == 3 ? "x32=3\n" : "x32=no errno=%d\n", errno); }
/* The kernel takes 32 bits of a number, of a descriptor, of flags: what stands above is garbage. */
#define HIGH 0x5a5a5a5a00000000
static void a_high(const char *n) { end(n, syscall(HIGH | 1, fd, "high", 4)); }
static void a_high_fd(const char *n) { end(n, syscall(18, HIGH | fd, "high", 4, 0)); }
static void a_high_dir(const char *n) { end(n, syscall(263, HIGH | d, "g", HIGH)); }
static void a_high_bind(const char *n) { end(n, syscall(49, HIGH | socket(AF_UNIX, SOCK_STREAM, 0), &un, HIGH | sizeof un)); }
static void a_high_remove(const char *n) { char *m = mmap(0, 4096, 3, MAP_SHARED, fd, 0); result(n, syscall(28, m, 4096, HIGH | 9)); }
static void a_high_lock(const char *n) { struct flock l = { .l_type = F_WRLCK }; result("lock", syscall(72, HIGH | fd, HIGH | F_SETLK, &l)); end(n, syscall(1, fd, "x", 1)); result("close", syscall(3, HIGH | fd)); }
static void a_lock(const char *n) { struct flock l = { .l_type = F_WRLCK }; result("lock", syscall(SYS_fcntl, fd, F_SETLK, &l)); l.l_type = F_UNLCK; result("unlock", syscall(SYS_fcntl, fd, F_SETLK, &l)); result("flock", syscall(SYS_flock, fd, 2)); result("close", syscall(SYS_close, fd)); }

struct way ways[] = {
    CALLS(ROW)
    W("syscall:getpid", "passes", prep, a_getpid), W("syscall:errors", "either", prep, a_bad), W("syscall:mmap", "passes", prep, a_six), W("syscall:x32", "either", prep, a_x32), W("syscall:locks", "same", prep, a_lock),
    W("syscall:high", "holds", prep, a_high), W("syscall:high-fd", "holds", prep, a_high_fd), W("syscall:high-dir", "holds", prep, a_high_dir), W("syscall:high-bind", "holds", prep, a_high_bind),
    W("syscall:high-remove", "holds", prep, a_high_remove), W("syscall:high-lock", "same", prep, a_high_lock),
    END
};
