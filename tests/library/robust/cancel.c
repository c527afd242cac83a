/* pthread_cancel in every hooked call that is a cancellation point: the thread must end as in a bare run,
 * its handlers must have run, and no word may stay in flight (the runner's freeze at "idle" tells).
 */
#include "robust.h"
#include <aio.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

static int full[2], empty[2], fd, lk, cleaned, started;
static FILE *fs;
static char big[70000];
static struct iovec iov = { big, sizeof big };
static void clean(void *p) { cleaned++; }

static void c_write(void) { write(full[1], big, sizeof big); }
static void c_writev(void) { writev(full[1], &iov, 1); }
static void c_fflush(void) { fputs(big, fs); fflush(fs); }
static void c_fwrite(void) { fwrite(big, 1, sizeof big, fs); }
static void c_fprintf(void) { fprintf(fs, "%070000d", 1); }
static void c_open_fifo(void) { open("fifo", O_WRONLY); }
static void c_openat_fifo(void) { openat(AT_FDCWD, "fifo", O_WRONLY); }
static void c_creat_fifo(void) { creat("fifo", 0600); }
static void c_fopen_fifo(void) { fopen("fifo", "w"); }
static void c_setlkw(void) { struct flock l = { .l_type = F_WRLCK }; fcntl(lk, F_SETLKW, &l); }
static void c_lockf(void) { lockf(lk, F_LOCK, 0); }
static void c_flock(void) { struct flock l = { .l_type = F_WRLCK }; fcntl(lk, F_OFD_SETLKW, &l); }
static void c_splice(void) { splice(empty[0], 0, fd, 0, 100, 0); }
static void c_sendfile(void) { for (;;) sendfile(full[1], fd, &(off_t){ 0 }, 10); }
static void c_system(void) { system("sleep 20"); }
static void c_loop_write(void) { for (;;) { pwrite(fd, "x", 1, 0); write(fd, "y", 1); } }
static void c_loop_open(void) { for (;;) close(open("loop", O_RDWR | O_CREAT | O_TRUNC, 0600)); }
static void c_loop_fsync(void) { for (;;) { pwrite(fd, "x", 1, 0); fsync(fd); fdatasync(fd); } }
static void c_loop_names(void) { for (;;) { rename("a", "b"); rename("b", "a"); pthread_testcancel(); } }
static void c_loop_stdio(void) { FILE *f = fopen("s", "w"); for (;;) { fprintf(f, "%d", 1); fflush(f); } }
static void c_loop_fork(void) { for (;;) { pid_t p = fork(); if (!p) _exit(0); waitpid(p, 0, 0); } }

/* Left out: dprintf (a cancelled one leaves its stream in glibc's list and the process aborts at exit, bare)
 * and pclose (glibc waits with cancellation off). The rest waits for ever in a bare run or loops, so that the cancel certainly finds it inside the call. */
static struct { const char *name; void (*f)(void); } calls[] = {
    { "write", c_write }, { "writev", c_writev }, { "fflush", c_fflush }, { "fwrite", c_fwrite }, { "fprintf", c_fprintf },
    { "open", c_open_fifo }, { "openat", c_openat_fifo }, { "creat", c_creat_fifo }, { "fopen", c_fopen_fifo }, { "fcntl", c_setlkw }, { "lockf", c_lockf }, { "fcntl-ofd", c_flock },
    { "splice", c_splice }, { "system", c_system },
    { "loop-write", c_loop_write }, { "loop-open", c_loop_open }, { "loop-fsync", c_loop_fsync }, { "loop-names", c_loop_names }, { "loop-stdio", c_loop_stdio }, { "loop-fork", c_loop_fork },
};
static void *victim(void *p)
{
    int i = (int)(long)p; pthread_cleanup_push(clean, 0);
    __atomic_store_n(&started, 1, __ATOMIC_RELEASE); calls[i].f();
    /* sendfile, flock and the rest of the calls that libc does not make cancellation points end here. */
    for (;;) pause();
    pthread_cleanup_pop(0); return 0;
}
static void fresh(void)
{
    NEED(pipe(full) == 0 && pipe(empty) == 0); fcntl(full[1], F_SETFL, O_NONBLOCK); while (write(full[1], big, 4096) > 0) {} fcntl(full[1], F_SETFL, 0);
    fs = fdopen(dup(full[1]), "w"); setvbuf(fs, 0, _IOFBF, 4096); fd = open("target", O_RDWR | O_CREAT, 0600); lk = open("lk", O_RDWR | O_CREAT, 0600);
}
static pid_t holder;
static void hold_lock(void)
{
    int p[2]; char c; NEED(pipe(p) == 0); holder = fork();
    if (!holder) { int l = open("lk", O_RDWR | O_CREAT, 0600); struct flock f = { .l_type = F_WRLCK }; fcntl(l, F_SETLK, &f); write(p[1], "l", 1); for (;;) pause(); }
    NEED(read(p[0], &c, 1) == 1); close(p[0]); close(p[1]);
}
/* A cancelled stdio call keeps its stream locked for ever in a bare run too: those streams are not touched again. */
static long cancelled(long end, int type)
{
    long n = 0; signal(SIGPIPE, SIG_IGN); memset(big, 'b', sizeof big - 1); mkfifo("fifo", 0600); close(open("a", O_CREAT | O_WRONLY, 0600)); hold_lock();
    do for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (getenv("CANCEL_ONLY") && strcmp(getenv("CANCEL_ONLY"), calls[i].name)) continue;
        pthread_t t; void *r; fresh(); started = 0; cleaned = 0;
        NEED(pthread_create(&t, 0, victim, (void *)(long)i) == 0); while (!__atomic_load_n(&started, __ATOMIC_ACQUIRE)) usleep(100);
        usleep(3000 + n * 977 % 40000); NEED(pthread_cancel(t) == 0);
        struct timespec limit; clock_gettime(CLOCK_REALTIME, &limit); limit.tv_sec += 15;
        int j = pthread_timedjoin_np(t, &r, &limit); if (j) { errno = j; out("%s: ", calls[i].name); bad("join after cancel"); }
        if (r != PTHREAD_CANCELED || cleaned != 1) { out("%s: result %p, cleaned %d\n", calls[i].name, r, cleaned); bad("cancel"); }
        close(full[0]); close(full[1]); close(empty[0]); close(empty[1]); close(fd); close(lk); n++;
    } while (now_ms() < end);
    kill(holder, 9); waitpid(holder, 0, 0); return n;
}
static long deferred(long end) { return cancelled(end, 0); }
/* While the thread waits at the barrier itself. */
static void *at_barrier(void *p) { pthread_cleanup_push(clean, 0); for (;;) { int f = open("ab", O_WRONLY | O_CREAT, 0600); if (f >= 0) { write(f, "1", 1); close(f); } unlink("ab"); } pthread_cleanup_pop(0); return 0; }
static long barrier(long end)
{
    long n = 0;
    while (now_ms() < end) {
        pthread_t t[4]; void *r; cleaned = 0; for (int i = 0; i < 4; i++) NEED(pthread_create(t + i, 0, at_barrier, 0) == 0);
        usleep(20000 + n * 7919 % 90000);
        for (int i = 0; i < 4; i++) pthread_cancel(t[i]);
        for (int i = 0; i < 4; i++) { NEED(pthread_join(t[i], &r) == 0); NEED(r == PTHREAD_CANCELED); }
        n++;
    }
    return n;
}
struct robust cases[] = { { "cancel", deferred }, { "cancel-at-barrier", barrier }, { 0, 0 } };
