/* Ways that go past libc: the program's own syscall instruction. Named exceptions all. */
#include "way.h"
#include <sys/syscall.h>

static int fd;
static void prep(const char *n) { fd = file("f", "0123456789"); }
static long raw(long nr, long a, long b, long c, long d)
{
    long r;
#if defined __x86_64__
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
#elif defined __aarch64__
    register long x8 __asm__("x8") = nr, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory"); r = x0;
#endif
    return r;
}
static void a_write(const char *n) { result(n, raw(SYS_write, fd, (long)"inline", 6, 0)); }
static void a_create(const char *n) { result(n, raw(SYS_openat, AT_FDCWD, (long)"new", O_CREAT | O_WRONLY, 0600) < 0 ? -1 : 0); }
static void a_rename(const char *n) { result(n, raw(SYS_renameat, AT_FDCWD, (long)"f", AT_FDCWD, (long)"moved")); }
#if defined __x86_64__
static void a_int80(const char *n) { long r; static char t[] = "int80"; __asm__ volatile("int $0x80" : "=a"(r) : "a"(15 /* i386 chmod */), "b"(0), "c"(0) : "memory"); say("i386 %s\n", r == -14 ? "answers" : "absent"); (void)t; }
#else
static void a_int80(const char *n) { absent("x86 only"); }
#endif
/* A private copy of libc, whose calls the preload does not see. */
static ssize_t (*copy_write)(int, const void *, size_t);
static void prep_dlmopen(const char *n)
{
    prep(n);
#ifdef __GLIBC__
    void *h = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
    if (!h) absent("no second libc can be loaded");
    copy_write = dlsym(h, "write");
#else
    absent("this libc has no dlmopen");
#endif
}
/* The same libc, asked for by its own handle: the search begins behind the preload. */
static void prep_dlsym(const char *n)
{
    prep(n);
#ifdef __GLIBC__
    void *h = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    if (!h) absent("libc has no handle of its own");
    copy_write = dlsym(h, "write");
#else
    absent("this libc is called otherwise");
#endif
}
static void prep_dlvsym(const char *n)
{
    prep(n);
#ifdef __GLIBC__
    void *h = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    if (!h) absent("libc has no handle of its own");
    copy_write = dlvsym(h, "write", "GLIBC_2.2.5");
    if (!copy_write) absent("this libc's versions are others");
#else
    absent("this libc has no versions");
#endif
}
static void a_copy(const char *n) { result(n, copy_write(fd, "copy of libc", 12)); }
struct way ways[] = {
    W("inline:write", "past", prep, a_write), W("inline:openat", "past", prep, a_create), W("inline:renameat", "past", prep, a_rename),
    W("dlmopen:write", "past", prep_dlmopen, a_copy), W("dlsym:write", "holds", prep_dlsym, a_copy), W("dlvsym:write", "holds", prep_dlvsym, a_copy),
    W("inline:int80", "either", prep, a_int80), END
};
