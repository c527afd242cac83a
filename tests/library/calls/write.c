/* Ways: writing through a descriptor, and copying into one. */
#include "way.h"
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
/* musl-tools brings no kernel headers. */
#define FS_IOC_GETFLAGS 0x80086601
#define FS_IOC_SETFLAGS 0x40086602
#define FICLONE 0x40049409

static int fd, in, p[2];
static void prep(const char *n) { fd = file("f", "0123456789abcdef"); must(lseek(fd, 4, SEEK_SET), "seek"); }
static void prep_append(const char *n) { made("f", "0123456789"); fd = must(open("f", O_WRONLY | O_APPEND), "f"); }
static void prep_copy(const char *n) { prep(n); in = file("in", "source of a copy"); must(pipe(p), "pipe"); must(write(p[1], "through", 7), "pipe"); }
static void end(const char *n, long r) { result(call(n), r); offset(fd); }

static void a_write(const char *n) { ssize_t (*f)(int, const void *, size_t) = sym(call(n)); end(n, f(fd, "WRITE", 5)); }
static void a_pwrite(const char *n) { ssize_t (*f)(int, const void *, size_t, off_t) = sym(call(n)); end(n, f(fd, "PWRITE", 6, 2)); }
static struct iovec iov[2] = { { "one,", 4 }, { "two", 3 } };
static void a_writev(const char *n) { ssize_t (*f)(int, const struct iovec *, int) = sym(call(n)); end(n, f(fd, iov, 2)); }
static void a_pwritev(const char *n) { ssize_t (*f)(int, const struct iovec *, int, off_t) = sym(call(n)); end(n, f(fd, iov, 2, 3)); }
static void a_pwritev2(const char *n) { ssize_t (*f)(int, const struct iovec *, int, off_t, int) = sym(call(n)); end(n, f(fd, iov, 2, -1, 0)); }
static void a_dprintf(const char *n) { int (*f)(int, const char *, ...) = sym(call(n)); end(n, f(fd, "%d %s %.2f %Lg %c", 7, "seven", 7.5, (long double)1e30, 'x')); }
static void a_dprintf_chk(const char *n) { int (*f)(int, int, const char *, ...) = sym(call(n)); end(n, f(fd, 1, "%d %s %.2f %d %d %d %d", 7, "seven", 7.5, 1, 2, 3, 4)); }
static int va(const char *n, int chk, const char *fmt, ...)
{
    va_list ap; va_start(ap, fmt); int r;
    if (chk) { int (*f)(int, int, const char *, va_list) = sym(n); r = f(fd, 1, fmt, ap); }
    else { int (*f)(int, const char *, va_list) = sym(n); r = f(fd, fmt, ap); }
    va_end(ap); return r;
}
static void a_vdprintf(const char *n) { end(n, va(call(n), 0, "%s-%d-%f", "v", 9, 2.25)); }
static void a_vdprintf_chk(const char *n) { end(n, va(call(n), 1, "%s-%d-%f", "v", 9, 2.25)); }
static void a_sendfile(const char *n) { ssize_t (*f)(int, int, off_t *, size_t) = sym(call(n)); off_t o = 2; end(n, f(fd, in, &o, 5)); say("in=%ld\n", (long)o); }
static void a_splice(const char *n) { ssize_t (*f)(int, void *, int, void *, size_t, unsigned) = sym(call(n)); end(n, f(p[0], 0, fd, 0, 7, 0)); }
static void a_cfr(const char *n) { ssize_t (*f)(int, void *, int, void *, size_t, unsigned) = sym(call(n)); end(n, f(in, 0, fd, 0, 9, 0)); }
static void a_setflags(const char *n) { int fl = 0; must(ioctl(fd, FS_IOC_GETFLAGS, &fl), "getflags"); fl |= 0x40 /* nodump */; result(n, ioctl(fd, FS_IOC_SETFLAGS, &fl)); }
static void a_clone(const char *n) { result(n, ioctl(fd, FICLONE, in)); }
static void a_backtrace(const char *n) { void *b[4] = { a_backtrace, 0 }; void (*f)(void *const *, int, int) = sym(call(n)); f(b, 1, fd); say("called\n"); }
static void a_big(const char *n) { static char b[300000]; memset(b, 'B', sizeof b); end(n, write(fd, b, sizeof b)); }
static void a_many(const char *n) { long s = 0; for (int i = 0; i < 50; i++) s += write(fd, "x", 1); end(n, s); }
static void a_zero(const char *n) { end(n, write(fd, "", 0)); }

/* Not changes of the protected tree: the gate has no business with them. */
static void a_pipe(const char *n) { must(pipe(p), "pipe"); result(n, write(p[1], "x", 1)); }
static void a_null(const char *n) { int z = must(open("/dev/null", O_WRONLY), "null"); result(n, write(z, "x", 1)); }
static void a_shm(const char *n) { char t[64]; snprintf(t, sizeof t, "/dev/shm/wg-way-%d", getpid()); int z = must(open(t, O_RDWR | O_CREAT, 0600), "shm"); result(n, write(z, "x", 1)); unlink(t); }
static void a_readonly(const char *n)
{
    char b[8]; struct stat s; int z = must(open("f", O_RDONLY), "f");
    result("pread", pread(z, b, 8, 0)); result("fstat", fstat(z, &s)); result("close", close(z));
}
static void a_badfd(const char *n) { result(n, write(777, "x", 1)); }
static void prep_ro(const char *n) { made("f", "0123456789"); fd = must(open("f", O_RDONLY), "f"); }

struct way ways[] = {
    W("write", "holds", prep, a_write), W("__write", "holds", prep, a_write),
    W("write:append", "holds", prep_append, a_write), W("write:big", "holds", prep, a_big), W("write:many", "holds", prep, a_many),
    W("pwrite", "holds", prep, a_pwrite), W("pwrite64", "holds", prep, a_pwrite), W("__pwrite64", "holds", prep, a_pwrite),
    W("writev", "holds", prep, a_writev),
    W("pwritev", "holds", prep, a_pwritev), W("pwritev64", "holds", prep, a_pwritev),
    W("pwritev2", "holds", prep, a_pwritev2), W("pwritev64v2", "holds", prep, a_pwritev2),
    W("dprintf", "holds", prep, a_dprintf), W("__dprintf_chk", "holds", prep, a_dprintf_chk),
    W("vdprintf", "holds", prep, a_vdprintf), W("__vdprintf_chk", "holds", prep, a_vdprintf_chk),
    W("sendfile", "holds", prep_copy, a_sendfile), W("sendfile64", "holds", prep_copy, a_sendfile),
    W("splice", "holds", prep_copy, a_splice), W("copy_file_range", "holds", prep_copy, a_cfr),
    W("ioctl:setflags", "holds", prep, a_setflags), W("ioctl:clone", "either", prep_copy, a_clone),
    W("backtrace_symbols_fd", "holds", prep, a_backtrace), W("__backtrace_symbols_fd", "holds", prep, a_backtrace),
    W("write:none", "either", prep, a_zero), W("write:readonly-fd", "either", prep_ro, a_write),
    W("write:pipe", "passes", prep, a_pipe), W("write:null", "passes", prep, a_null), W("write:tmpfs", "passes", prep, a_shm),
    W("read", "passes", prep, a_readonly), W("write:bad-fd", "either", prep, a_badfd),
    END
};
