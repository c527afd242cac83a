/* Forks of every kind while others write. */
#include "robust.h"
#include <sched.h>
#include <stdatomic.h>
#include <spawn.h>
#include <sys/syscall.h>

extern char **environ;
static volatile int over;
static void *writer(void *p) { long n = 0; while (!over) { changes(200 + (int)(long)p); n++; } return (void *)n; }
static void *stdio_writer(void *p) { FILE *f = fopen("stdio", "w"); long n = 0; while (!over) { fprintf(f, "%ld\n", n++); if (n % 50 == 0) fflush(f); } fclose(f); return 0; }
static void reap(pid_t p) { int st; pid_t r; while ((r = waitpid(p, &st, 0)) < 0 && errno == EINTR) {} if (r != p || st) { out("child status %x\n", st); bad("child"); } }
static long with_threads(long end, void (*each)(long))
{
    pthread_t t[4]; long n = 0; for (long i = 0; i < 3; i++) pthread_create(t + i, 0, writer, (void *)i); pthread_create(t + 3, 0, stdio_writer, 0);
    while (now_ms() < end) each(n++);
    over = 1; for (int i = 0; i < 4; i++) pthread_join(t[i], 0); return n;
}
static void f_plain(long n) { pid_t p = fork(); NEED(p >= 0); if (!p) { changes(300 + n % 8); _exit(0); } reap(p); }
static void f_deep(long n) { pid_t p = fork(); NEED(p >= 0); if (!p) { changes(310); pid_t q = fork(); if (!q) { changes(320); _exit(0); } reap(q); changes(330); _exit(0); } reap(p); }
static void f_exit(long n) { pid_t p = fork(); NEED(p >= 0); if (!p) { FILE *f = fopen("e", "w"); fputs("pending", f); fclose(f); _exit(0); } reap(p); }
static char *tr[] = { "/bin/true", 0 };
static void f_vfork(long n) { pid_t p = vfork(); NEED(p >= 0); if (!p) { execv(tr[0], tr); _exit(9); } reap(p); }
static void f_spawn(long n)
{
    pid_t p; posix_spawn_file_actions_t a; posix_spawn_file_actions_init(&a); posix_spawn_file_actions_addopen(&a, 1, "spawned", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    char *e[] = { "/bin/echo", "hello", 0 }; int r = posix_spawn(&p, e[0], &a, 0, e, environ); posix_spawn_file_actions_destroy(&a); NEED(r == 0); reap(p);
}
static void f_raw(long n) { pid_t p = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); NEED(p >= 0); if (!p) { changes(340); _exit(0); } reap(p); }
static int lock_fd;
static void f_locked(long n)
{
    struct flock l = { .l_type = F_WRLCK }; NEED(flock(lock_fd, LOCK_EX) == 0); NEED(fcntl(lock_fd, F_SETLKW, &l) == 0); NEED(write(lock_fd, "p", 1) == 1);
    pid_t p = fork(); NEED(p >= 0); if (!p) { NEED(write(lock_fd, "c", 1) == 1); changes(350); _exit(0); }
    reap(p); NEED(flock(lock_fd, LOCK_UN) == 0); l.l_type = F_UNLCK; NEED(fcntl(lock_fd, F_SETLK, &l) == 0);
}
static long threads_fork(long end) { return with_threads(end, f_plain); }
static long threads_deep(long end) { return with_threads(end, f_deep); }
static long threads_stdio(long end) { return with_threads(end, f_exit); }
static long threads_vfork(long end) { return with_threads(end, f_vfork); }
static long threads_spawn(long end) { return with_threads(end, f_spawn); }
static long raw_clone(long end) { long n = 0; while (now_ms() < end) f_raw(n++); return n; }
static long vfork_exec(long end) { long n = 0; int fd = open("lk", O_RDWR | O_CREAT, 0600); while (now_ms() < end) { locked_change(fd); f_vfork(n++); changes(3); } return n; }
static long fork_locked(long end) { long n = 0; lock_fd = open("lk", O_RDWR | O_CREAT | O_APPEND, 0600); while (now_ms() < end) f_locked(n++); struct stat st; NEED(fstat(lock_fd, &st) == 0 && st.st_size == 2 * n); return n; }
static void before(void) { changes(400); }
static void parent(void) { changes(401); }
static void child(void) { changes(402); }
static long atfork(long end) { long n = 0; pthread_atfork(before, parent, child); while (now_ms() < end) f_plain(n++); return n; }
/* A crowd: children that outlive their parent, exec by the dozen. */
static long orphans(long end)
{
    long n = 0;
    while (now_ms() < end) { pid_t p = fork(); NEED(p >= 0); if (!p) { if (fork() == 0) { changes(500 + n % 16); execl("/bin/sh", "sh", "-c", "echo x > orphan.$$; rm orphan.$$", (char *)0); _exit(0); } _exit(0); } reap(p); n++; usleep(2000); }
    usleep(1500000); return n;
}
/* A forked child whose two threads make their first changes at the same moment: each must have a slot of its own in the one
 * region that is made (gate/src/region.rs: slots of 64 bytes from byte 4096 on; word, stack, thread id). */
static atomic_int here;
static pthread_barrier_t all;
static void *first_changes(void *p) { here++; while (here < 2) {} changes(600 + (int)(long)p); pthread_barrier_wait(&all); pthread_barrier_wait(&all); return 0; }
static void each_has_a_slot(void)
{
    FILE *maps = fopen("/proc/self/maps", "r"); char line[400]; int regions = 0, used = 0; NEED(maps != 0);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to; char *at;
        if (!strstr(line, "/dev/zero") || sscanf(line, "%lx-%lx", &from, &to) != 2 || to - from < 128 * 1024 || memcmp((char *)from, "wgregion", 8)) continue;
        regions++; at = (char *)from + 4096;
        for (int i = 0; i < 64; i++) used += *(unsigned long *)(at + 64 * i) != 0 && *(int *)(at + 64 * i + 16) != 0;
    }
    fclose(maps);
    if (regions && (regions != 1 || used != 2)) { out("%d regions, slots of %d threads\n", regions, used); bad("two threads in one slot"); }
}
static void f_together(long n)
{
    pid_t p = fork(); NEED(p >= 0); if (p) { reap(p); return; }
    pthread_t t[2]; here = 0; pthread_barrier_init(&all, 0, 3); for (long i = 0; i < 2; i++) NEED(pthread_create(t + i, 0, first_changes, (void *)i) == 0);
    pthread_barrier_wait(&all); each_has_a_slot(); pthread_barrier_wait(&all); for (int i = 0; i < 2; i++) pthread_join(t[i], 0); _exit(0);
}
static long first_entries_together(long end) { long n = 0; while (now_ms() < end || n < 200) f_together(n++); return n; }
struct robust cases[] = { { "threads-fork", threads_fork }, { "threads-fork-deep", threads_deep }, { "threads-fork-stdio", threads_stdio }, { "threads-vfork", threads_vfork }, { "threads-spawn", threads_spawn }, { "raw-clone", raw_clone },
    { "vfork-exec", vfork_exec }, { "fork-under-lock", fork_locked }, { "atfork-handlers", atfork }, { "orphans", orphans },
    { "first-entries-together", first_entries_together }, { 0, 0 } };
