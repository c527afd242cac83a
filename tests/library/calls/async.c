/* Ways that nobody can hold once they are under way: asynchronous I/O, stores through a mapping. */
#include "way.h"
#include <aio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static int fd; static char *m;
static struct aiocb cb; static char text[] = "aio";
static void prep(const char *n) { fd = file("f", "0123456789"); must(ftruncate(fd, 8192), "grow"); cb.aio_fildes = fd; cb.aio_buf = text; cb.aio_nbytes = 3; cb.aio_offset = 4; }
static void prep_map(const char *n) { prep(n); m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); }
static void prep_map_ro(const char *n) { prep(n); m = mmap(0, 8192, PROT_READ, MAP_SHARED, fd, 0); }
static void finish(const char *n, int r) { result(call(n), r); if (r < 0) return; const struct aiocb *l[] = { &cb }; while (aio_error(&cb) == EINPROGRESS) aio_suspend(l, 1, 0); result("return", aio_return(&cb)); }
static void a_aio(const char *n) { int (*f)(struct aiocb *) = sym(call(n)); finish(n, f(&cb)); }
static void a_lio(const char *n) { int (*f)(int, struct aiocb *const *, int, struct sigevent *) = sym(call(n)); struct aiocb *l[] = { &cb }; cb.aio_lio_opcode = LIO_WRITE; finish(n, f(LIO_WAIT, l, 1, 0)); }
static void a_lio_nowait(const char *n) { struct aiocb *l[] = { &cb }; cb.aio_lio_opcode = LIO_WRITE; finish(n, lio_listio(LIO_NOWAIT, l, 1, 0)); }
static void a_aio_fsync(const char *n) { int (*f)(int, struct aiocb *) = sym(call(n)); finish(n, f(O_SYNC, &cb)); }
static void a_aio_read(const char *n) { finish(n, aio_read(&cb)); }
/* Queued before the barrier: the only helper thread waits for a pipe first, then does the write by itself. */
static int hold[2]; static struct aiocb rd; static char one[1];
static void prep_queued(const char *n)
{
#ifdef __GLIBC__
    struct aioinit ai = { .aio_threads = 1, .aio_num = 4 }; aio_init(&ai);
    prep(n); must(pipe(hold), "pipe"); rd.aio_fildes = hold[0]; rd.aio_buf = one; rd.aio_nbytes = 1;
    must(aio_read(&rd), "aio_read"); usleep(50000); must(aio_write(&cb), "aio_write"); usleep(50000);
#else
    absent("one helper thread for all cannot be asked for in this libc");
#endif
}
static void a_queued(const char *n) { must(write(hold[1], "g", 1), "pipe"); finish(n, 0); }
static void a_store(const char *n) { memcpy(m, "store", 5); }
static void a_store_msync(const char *n) { memcpy(m, "store", 5); result("msync", msync(m, 4096, MS_SYNC)); }
static void a_map_store(const char *n) { char *(*f)(void *, size_t, int, int, int, off_t) = sym(call(n)); m = f(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); result("mmap", m == MAP_FAILED ? -1 : 0); memcpy(m, "store", 5); }
static void a_protect_store(const char *n) { result("mprotect", mprotect(m, 8192, PROT_READ | PROT_WRITE)); memcpy(m, "store", 5); }
static void a_private(const char *n) { m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0); memcpy(m, "store", 5); munmap(m, 8192); }
static void a_anon(const char *n) { m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0); memcpy(m, "store", 5); result("munmap", munmap(m, 8192)); }

/* Kernel aio, as libaio does it, through syscall(). */
struct kiocb { unsigned long data; unsigned key, rw; unsigned short op; short prio; unsigned fildes; unsigned long buf, n; long off; unsigned long r; unsigned flags, resfd; };
static unsigned long ctx;
static void prep_kaio(const char *n) { prep(n); must(syscall(SYS_io_setup, 4, &ctx), "io_setup"); }
static void a_kaio(const char *n)
{
    struct kiocb k = { .op = 1, .fildes = fd, .buf = (unsigned long)text, .n = 3, .off = 2 }, *l[] = { &k }; char ev[32];
    result("io_submit", syscall(SYS_io_submit, ctx, 1, l)); result("io_getevents", syscall(SYS_io_getevents, ctx, 1, 1, ev, 0));
}
/* io_uring without liburing: one write. */
struct sqe { unsigned char op, flags; unsigned short prio; int fd; unsigned long off, addr; unsigned len, rw; unsigned long data; unsigned long pad[3]; };
static unsigned char par[120]; static int ring; static char *sq, *cq; static struct sqe *e;
#define P(o) (*(unsigned *)(par + (o)))
static void prep_uring(const char *n)
{
    prep(n);
    ring = syscall(425, 2, par);
    if (ring < 0) absent("the kernel refuses io_uring here");
    sq = mmap(0, P(64) + P(0) * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring, 0);
    cq = mmap(0, P(80 + 20) + 64, PROT_READ | PROT_WRITE, MAP_SHARED, ring, 0x8000000);
    e = mmap(0, P(0) * 64, PROT_READ | PROT_WRITE, MAP_SHARED, ring, 0x10000000);
}
static void a_uring(const char *n)
{
    e->op = 23 /* WRITE */; e->fd = fd; e->addr = (unsigned long)text; e->len = 3; e->off = 1;
    ((unsigned *)(sq + P(40 + 24)))[0] = 0; __atomic_store_n((unsigned *)(sq + P(40 + 4)), 1, __ATOMIC_RELEASE);
    result("io_uring_enter", syscall(426, ring, 1, 1, 1, 0, 0));
}

struct way ways[] = {
    W("aio_write", "holds", prep, a_aio), W("aio_write64", "holds", prep, a_aio), W("lio_listio", "holds", prep, a_lio), W("lio_listio64", "holds", prep, a_lio), W("lio_listio:nowait", "holds", prep, a_lio_nowait),
    W("aio_fsync", "either", prep, a_aio_fsync), W("aio_fsync64", "either", prep, a_aio_fsync), W("aio_read", "passes", prep, a_aio_read),
    W("aio_write:queued", "past", prep_queued, a_queued),
    W("store", "past", prep_map, a_store), W("store:msync", "past", prep_map, a_store_msync), W("mprotect:store", "holds", prep_map_ro, a_protect_store),
    W("mmap", "past", prep, a_map_store), W("mmap64", "past", prep, a_map_store),
    W("mmap:private", "passes", prep, a_private), W("mmap:anonymous", "passes", prep, a_anon),
    W("io_submit", "holds", prep_kaio, a_kaio), W("io_uring", "past", prep_uring, a_uring),
    END
};
