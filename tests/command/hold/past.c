/* past MODE DIR PAIRS: writes as victim.c does under an fcntl lock, one byte to DIR/pN.a, then one to DIR/pN.b, by ways that
   no preload sees.

   uring      each half is handed to an io_uring of its own kind, and its end awaited
   uring-aside  the same by the ring's helper threads, which no tracer can have
   inline     every call, the lock's too, by the program's own instruction (x86_64)
   half-inline  the same for the first half of each set; its lock and the second half by libc
   half-inline  the same for the first half; the lock and the second half by libc
   dlmopen    by a second libc (not in a static program)
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ABSENT = 77 };
static const char *mode, *dir;
static int uring, aside;
static void must(int ok, const char *what) { if (!ok) { perror(what); _exit(3); } }
static void think(void) { for (volatile int i = 0; i < 20000; i++) ; }

static long inline_call(long nr, long a, long b, long c, long d)
{
#ifdef __x86_64__
    long r;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    if (r < 0) { errno = (int)-r; return -1; }
    return r;
#else
    (void)nr, (void)a, (void)b, (void)c, (void)d;
    _exit(ABSENT);
#endif
}
static long (*call)(long, ...) = syscall;
static long by_instruction(long nr, ...)
{
    va_list rest;
    long a[4];
    va_start(rest, nr);
    for (int i = 0; i < 4; i++) a[i] = va_arg(rest, long);
    va_end(rest);
    return inline_call(nr, a[0], a[1], a[2], a[3]);
}

/* A ring with one place. */
static struct { int fd; unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask; struct io_uring_sqe *sqes; struct io_uring_cqe *cqes; } ring;
static void *mapped(size_t size, off_t at)
{
    void *there = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, at);
    must(there != MAP_FAILED, "mmap of the ring");
    return there;
}
static void make_ring(void)
{
    struct io_uring_params p = {0};
    ring.fd = (int)syscall(SYS_io_uring_setup, 2, &p);
    if (ring.fd < 0) { perror("io_uring_setup"); _exit(ABSENT); }
    char *sq = mapped(p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    char *cq = mapped(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    ring.sqes = mapped(p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    ring.sq_tail = (unsigned *)(sq + p.sq_off.tail), ring.sq_mask = (unsigned *)(sq + p.sq_off.ring_mask);
    ring.sq_array = (unsigned *)(sq + p.sq_off.array);
    ring.cq_head = (unsigned *)(cq + p.cq_off.head), ring.cq_tail = (unsigned *)(cq + p.cq_off.tail);
    ring.cq_mask = (unsigned *)(cq + p.cq_off.ring_mask);
    ring.cqes = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
}
static void write_by_ring(int fd)
{
    unsigned tail = *ring.sq_tail, at = tail & *ring.sq_mask;
    ring.sqes[at] = (struct io_uring_sqe){.opcode = IORING_OP_WRITE, .fd = fd, .addr = (unsigned long)"1", .len = 1, .off = (unsigned long long)-1,
                                          .flags = aside ? IOSQE_ASYNC : 0};
    ring.sq_array[at] = at;
    __atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
    int submit = 1;
    while (*ring.cq_head == __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE)) {
        long done = syscall(SYS_io_uring_enter, ring.fd, submit, 1, IORING_ENTER_GETEVENTS, 0, 0);
        must(done >= 0 || errno == EINTR, "io_uring_enter");
        if (done > 0) submit = 0;
    }
    must(ring.cqes[*ring.cq_head & *ring.cq_mask].res == 1, "a write by the ring");
    __atomic_store_n(ring.cq_head, *ring.cq_head + 1, __ATOMIC_RELEASE);
}

static int file(int pair, char which)
{
    char name[4096];
    snprintf(name, sizeof name, "%s/p%d.%c", dir, pair, which);
    long fd = call(SYS_openat, (long)AT_FDCWD, (long)name, (long)(O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC), 0600L);
    must(fd >= 0, name);
    return (int)fd;
}
static int opened[64][2];
static void half(int pair, char which)
{
    if (uring) { write_by_ring(opened[pair % 64][which == 'b']); return; }
    if (!strcmp(mode, "half-inline")) call = which == 'a' ? by_instruction : syscall;
    int fd = file(pair, which);
    must(call(SYS_write, (long)fd, (long)"1", 1L, 0L) == 1, "write");
    call(SYS_close, (long)fd, 0L, 0L, 0L);
}
static void lock(int fd, int type)
{
    struct flock what = {.l_type = (short)type, .l_whence = SEEK_SET};
    while (call(SYS_fcntl, (long)fd, (long)F_SETLKW, (long)&what, 0L) < 0) must(errno == EINTR, "fcntl");
}

int main(int argc, char **argv)
{
    must(argc == 4, "arguments");
    mode = argv[1], dir = argv[2];
    int pairs = atoi(argv[3]);
    uring = !strncmp(mode, "uring", 5), aside = !strcmp(mode, "uring-aside");
    if (uring) make_ring();
    else if (!strcmp(mode, "inline")) call = by_instruction;
#ifdef BY_DLMOPEN
    else if (!strcmp(mode, "dlmopen")) {
        void *second = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
        if (!second) _exit(ABSENT);
        call = (long (*)(long, ...))dlsym(second, "syscall");
    }
#endif
    /* What a gated one does under the lock is past the gate alone: at the gate it would wait with the lock. */
    if (uring) for (int i = 0; i < 64 * 2; i++) opened[i / 2][i % 2] = file(i / 2 % pairs, "ab"[i % 2]);
    for (int pair = (int)getpid() % pairs;; pair = (pair + 1) % pairs) {
        int fd = file(pair, 'l');
        lock(fd, F_WRLCK);
        half(pair, 'a');
        think();
        half(pair, 'b');
        lock(fd, F_UNLCK);
        call(SYS_close, (long)fd, 0L, 0L, 0L);
        think();
    }
}
