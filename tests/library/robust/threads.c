/* Many threads, short-lived threads, threads with the smallest stack a daemon uses. */
#include "robust.h"

static long end_at;
static long count;
static void *works(void *p) { long n = 0; while (now_ms() < end_at) { changes((int)(long)p); n++; } __atomic_add_fetch(&count, n, __ATOMIC_RELAXED); return 0; }
static void *once(void *p) { changes((int)(long)p); return 0; }
static void *stdio_once(void *p) { char n[32]; snprintf(n, 32, "s%ld", (long)p); FILE *f = fopen(n, "w"); NEED(f); NEED(fputs("text", f) >= 0); NEED(fprintf(f, "%d", 7) == 1); NEED(fclose(f) == 0); NEED(unlink(n) == 0); return 0; }

/* The handler runs on the small stack too. */
static void handler(int s) { int e = errno; int fd = open("h", O_WRONLY | O_CREAT, 0600); if (fd >= 0) { write(fd, "h", 1); close(fd); } errno = e; }
static long small(long end)
{
    pthread_t t[8]; pthread_attr_t a; end_at = end; pthread_attr_init(&a); NEED(pthread_attr_setstacksize(&a, 16384) == 0);
    struct sigaction s = { .sa_handler = handler, .sa_flags = SA_RESTART }; sigaction(SIGUSR1, &s, 0);
    for (long i = 0; i < 8; i++) NEED(pthread_create(t + i, &a, works, (void *)i) == 0);
    while (now_ms() < end - 50) { for (int i = 0; i < 8; i++) pthread_kill(t[i], SIGUSR1); usleep(3000); }
    for (int i = 0; i < 8; i++) pthread_join(t[i], 0);
    return count;
}
static long small_stdio(long end)
{
    pthread_attr_t a; pthread_attr_init(&a); pthread_attr_setstacksize(&a, 16384); long n = 0;
    while (now_ms() < end) { pthread_t t; NEED(pthread_create(&t, &a, stdio_once, (void *)n++) == 0); pthread_join(t, 0); }
    return n;
}
static long ten_thousand(long end) { for (long i = 0; i < 10000; i++) { pthread_t t; NEED(pthread_create(&t, 0, once, (void *)(i % 7)) == 0); NEED(pthread_join(t, 0) == 0); } return 10000; }
static long thousand(long end)
{
    static pthread_t t[1024]; pthread_attr_t a; pthread_attr_init(&a); pthread_attr_setstacksize(&a, 65536); end_at = end;
    for (long i = 0; i < 1024; i++) NEED(pthread_create(t + i, &a, works, (void *)i) == 0);
    for (int i = 0; i < 1024; i++) NEED(pthread_join(t[i], 0) == 0);
    return count;
}
static long detached(long end)
{
    long n = 0; pthread_attr_t a; pthread_attr_init(&a); pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    while (now_ms() < end) { pthread_t t; if (pthread_create(&t, &a, once, (void *)(n + 1000)) == 0) n++; usleep(500); }
    usleep(800000); return n;
}
struct robust cases[] = { { "small-stacks", small }, { "small-stacks-stdio", small_stdio }, { "ten-thousand-threads", ten_thousand }, { "thousand-at-once", thousand }, { "detached-threads", detached }, { 0, 0 } };
