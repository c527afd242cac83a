/* Signals into hooked calls: storms, alternate stacks, siglongjmp out of a call that waits. */
#include "robust.h"

static volatile long hits;
static int hfd;
static void handler(int s) { int e = errno; if (write(hfd, "h", 1) == 1) hits++; int d = dup(hfd); if (d >= 0) close(d); errno = e; }
static void interval(long us) { struct itimerval t = { { 0, us }, { 0, us } }; setitimer(ITIMER_REAL, &t, 0); }
static long storm_with(long end, int flags)
{
    long n = 0; struct sigaction s = { .sa_handler = handler, .sa_flags = SA_RESTART | flags }; sigaction(SIGALRM, &s, 0);
    hfd = open("handler", O_WRONLY | O_CREAT | O_APPEND, 0600); int fd = open("locked", O_RDWR | O_CREAT, 0600); FILE *f = fopen("stream", "w");
    interval(300);
    while (now_ms() < end) { changes(1); locked_change(fd); NEED(fprintf(f, "%ld ", n) > 0); NEED(fflush(f) == 0); n++; }
    interval(0); NEED(hits > 0); struct stat st; NEED(fstat(hfd, &st) == 0 && st.st_size == hits); return n;
}
static long storm(long end) { return storm_with(end, 0); }
static char alt[16384];
static long altstack(long end) { stack_t s = { .ss_sp = alt, .ss_size = sizeof alt }; NEED(sigaltstack(&s, 0) == 0); return storm_with(end, SA_ONSTACK); }
static sigjmp_buf back;
static volatile int armed;
static void jump(int s) { hits++; if (armed) siglongjmp(back, 1); }
/* Out of a blocked call, a plain one, one under a lock: whatever the signal meets. */
static long longjmps(long end)
{
    struct sigaction s = { .sa_handler = jump }; sigaction(SIGALRM, &s, 0); static volatile long n; static volatile int fd, lk; fd = open("f", O_RDWR | O_CREAT, 0600); lk = open("l", O_RDWR | O_CREAT, 0600);
    interval(7000);
    while (now_ms() < end) {
        if (sigsetjmp(back, 1) == 0) { armed = 1; for (;;) { write(fd, "x", 1); pwrite(fd, "y", 1, 0); rename("none", "nothing"); ftruncate(fd, 10); n++; } }
        armed = 0; struct flock u = { .l_type = F_UNLCK }; fcntl(lk, F_SETLK, &u); n++;
    }
    interval(0); NEED(hits > 0); return n;
}
/* Out of the look at a name under a lock: nothing that the hook has opened for it stays open. */
static int highest(void) { int fd = dup(0); NEED(fd >= 0); close(fd); return fd; }
static long longjmps_names(long end)
{
    struct sigaction s = { .sa_handler = jump }; sigaction(SIGALRM, &s, 0); static volatile long n; static volatile int lk, free_fd; static volatile long jumps; lk = open("l", O_RDWR | O_CREAT, 0600);
    mkdir("there", 0700); free_fd = highest(); armed = 0; interval(150);
    while (now_ms() < end) {
        if (sigsetjmp(back, 1) == 0) { armed = 1; for (;;) { struct flock l = { .l_type = F_WRLCK }; fcntl(lk, F_SETLK, &l); mkdir("there", 0700); l.l_type = F_UNLCK; fcntl(lk, F_SETLK, &l); n++; } }
        armed = 0; jumps++;
    }
    interval(0); struct flock u = { .l_type = F_UNLCK }; fcntl(lk, F_SETLK, &u); NEED(jumps > 100); NEED(highest() == free_fd); return n;
}
/* The last thing before a long sleep: the next calls lie deeper than the one that was left. */
static long longjmp_asleep(long end)
{
    struct sigaction s = { .sa_handler = jump }; sigaction(SIGALRM, &s, 0); int fd = open("f", O_RDWR | O_CREAT, 0600); static char block[1 << 20]; static volatile long n;
    interval(50000);
    if (sigsetjmp(back, 1) == 0) { armed = 1; for (;;) { pwrite(fd, block, sizeof block, 0); n++; } }
    armed = 0; interval(0); while (now_ms() < end) usleep(10000); return n;
}
/* The same from an alternate stack, into a frame far up. */
static void deep(int d) { volatile char room[512]; room[0] = d; if (d) deep(d - 1); else for (;;) { int fd = open("deep", O_WRONLY | O_CREAT, 0600); if (fd >= 0) { write(fd, "z", 1); close(fd); } } (void)room[0]; }
static long longjmps_deep(long end)
{
    stack_t st = { .ss_sp = alt, .ss_size = sizeof alt }; sigaltstack(&st, 0); struct sigaction s = { .sa_handler = jump, .sa_flags = SA_ONSTACK }; sigaction(SIGALRM, &s, 0); static volatile long n;
    interval(9000);
    while (now_ms() < end) { if (sigsetjmp(back, 1) == 0) { armed = 1; deep(n % 40); } armed = 0; n++; for (int i = 3; i < 200; i++) close(i); }
    interval(0); return n;
}
/* Signals to many threads at once, handlers that write, no SA_RESTART: EINTR only where bare has it. */
static volatile int over;
static void *writer(void *p) { long n = 0; while (!over) { changes(100 + (int)(long)p); n++; } return (void *)n; }
static long storm_threads(long end)
{
    struct sigaction s = { .sa_handler = handler }; sigaction(SIGUSR1, &s, 0); hfd = open("handler", O_WRONLY | O_CREAT | O_APPEND, 0600);
    pthread_t t[6]; long n = 0; for (long i = 0; i < 6; i++) pthread_create(t + i, 0, writer, (void *)i);
    while (now_ms() < end) { for (int i = 0; i < 6; i++) pthread_kill(t[i], SIGUSR1); usleep(1000); }
    over = 1; for (int i = 0; i < 6; i++) { void *r; pthread_join(t[i], &r); n += (long)r; } return n;
}
/* fork inside a handler, inside a hooked call. */
static void forking(int s) { int e = errno; pid_t p = fork(); if (!p) { write(hfd, "c", 1); _exit(0); } if (p > 0) { hits++; while (waitpid(p, 0, 0) < 0 && errno == EINTR) {} } errno = e; }
static long fork_in_handler(long end)
{
    struct sigaction s = { .sa_handler = forking, .sa_flags = SA_RESTART }; sigaction(SIGALRM, &s, 0); hfd = open("handler", O_WRONLY | O_CREAT | O_APPEND, 0600); int fd = open("lk", O_RDWR | O_CREAT, 0600); long n = 0;
    interval(20000); while (now_ms() < end) { changes(2); locked_change(fd); n++; } interval(0);
    struct stat st; NEED(fstat(hfd, &st) == 0 && st.st_size == hits); return n;
}
struct robust cases[] = { { "signal-storm", storm }, { "sigaltstack", altstack }, { "siglongjmp", longjmps }, { "siglongjmp-names", longjmps_names }, { "siglongjmp-deep", longjmps_deep }, { "siglongjmp-asleep", longjmp_asleep }, { "storm-threads", storm_threads }, { "fork-in-handler", fork_in_handler }, { 0, 0 } };
