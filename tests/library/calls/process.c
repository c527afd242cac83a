/* Ways: a change made by somebody whom this process starts: children, other programs, threads, handlers. */
#include "way.h"
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <utmp.h>
#include <wordexp.h>

extern char **environ;
static int fd;
static char *touch[] = { "/bin/sh", "-c", "echo from a child > out", 0 };
static void prep(const char *n) { fd = file("f", "0123456789"); }
static void change(void) { if (write(fd, "child", 5) != 5) _exit(90); }
static void waited(const char *n, pid_t p) { int st = 0; result(call(n), p < 0 ? p : 0); if (p > 0) { waitpid(p, &st, 0); say("status=%x\n", st); } }

static void a_fork(const char *n) { pid_t (*f)(void) = sym(call(n)); pid_t p = f(); if (!p) { change(); _exit(3); } waited(n, p); }
static void a_fork_twice(const char *n) { pid_t p = fork(); if (!p) { pid_t q = fork(); if (!q) { change(); _exit(1); } waitpid(q, 0, 0); _exit(2); } waited(n, p); }
static void a_vfork(const char *n) { pid_t p = vfork(); if (!p) { execv(touch[0], touch); _exit(91); } waited(n, p); }
static void a_vfork_write(const char *n) { pid_t p = vfork(); if (!p) { write(fd, "vfork", 5); _exit(4); } waited(n, p); }
static void a__vfork(const char *n) { pid_t (*f)(void) = sym("__vfork"); pid_t p = f(); if (!p) { execv(touch[0], touch); _exit(91); } waited(n, p); }
static char stack[65536] __attribute__((aligned(16)));
static int child_fn(void *a) { change(); return 5; }
static void a_clone(const char *n) { int (*f)(int (*)(void *), void *, int, void *, ...) = sym(call(n)); waited(n, f(child_fn, stack + sizeof stack, SIGCHLD, 0)); }
static void a_clone_vm(const char *n) { int (*f)(int (*)(void *), void *, int, void *, ...) = sym("clone"); waited(n, f(child_fn, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, 0)); }
static void a_sys_fork(const char *n) { pid_t p = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); if (!p) { change(); _exit(6); } waited(n, p); }
static void a_forkpty(const char *n) { int m; pid_t p = forkpty(&m, 0, 0, 0); if (!p) { change(); _exit(7); } waited(n, p); }
static void a_daemon(const char *n)
{
    pid_t p = fork();
    if (!p) { if (daemon(1, 1)) _exit(92); change(); close(file("by-daemon", "x")); _exit(0); }
    waited(n, p);
    for (int i = 0; i < 2000 && access("by-daemon", F_OK); i++) usleep(10000);
    result("daemon", access("by-daemon", F_OK));
}
static void a_spawn(const char *n) { pid_t p; int (*f)(pid_t *, const char *, void *, void *, char **, char **) = sym(call(n)); int r = f(&p, "/bin/sh", 0, 0, touch, environ); waited(n, r ? -1 : p); }
static void a_spawn_open(const char *n)
{
    pid_t p; posix_spawn_file_actions_t a; char *t[] = { "/bin/true", 0 };
    posix_spawn_file_actions_init(&a); posix_spawn_file_actions_addopen(&a, 7, "made-by-action", O_WRONLY | O_CREAT | O_TRUNC, 0640);
    int r = posix_spawn(&p, t[0], &a, 0, t, environ); waited(n, r ? -1 : p);
}
static void a_spawn_trunc(const char *n)
{
    pid_t p; posix_spawn_file_actions_t a; char *t[] = { "true", 0 };
    posix_spawn_file_actions_init(&a); posix_spawn_file_actions_addopen(&a, 1, "f", O_WRONLY | O_TRUNC, 0);
    int r = posix_spawnp(&p, t[0], &a, 0, t, environ); waited(n, r ? -1 : p);
}
static void a_spawn_fails(const char *n) { pid_t p; char *t[] = { "/none", 0 }; say("error=%d\n", posix_spawn(&p, t[0], 0, 0, t, environ)); }
static void a_spawn_dup(const char *n)
{
    pid_t p; posix_spawn_file_actions_t a; char *t[] = { "/bin/echo", "through a dup", 0 };
    posix_spawn_file_actions_init(&a); posix_spawn_file_actions_adddup2(&a, fd, 1); posix_spawn_file_actions_addclose(&a, fd);
    int r = posix_spawn(&p, t[0], &a, 0, t, environ); waited(n, r ? -1 : p);
}
static void a_system(const char *n) { result(n, system("echo system > out; exit 3")); }
static void a_popen_w(const char *n) { FILE *(*o)(const char *, const char *) = sym(call(n)); FILE *f = o("cat > out", "w"); result("popen", f ? 0 : -1); fputs("piped", f); result("pclose", pclose(f)); }
static void a_popen_r(const char *n) { char b[32] = ""; FILE *f = popen("echo x > out; echo answer", "r"); fgets(b, 32, f); say("%s", b); result("pclose", pclose(f)); }
static void a_wordexp(const char *n) { wordexp_t w; result(n, wordexp("$(echo word > out; echo word)", &w, 0)); say("%s\n", w.we_wordv[0]); }
static void gone(const char *n) { result(n, -1); }
static void a_execve(const char *n) { execve(touch[0], touch, environ); gone(n); }
static void a_execv(const char *n) { execv(touch[0], touch); gone(n); }
static void a_execvp(const char *n) { execvp("sh", touch); gone(n); }
static void a_execvpe(const char *n) { execvpe("sh", touch, environ); gone(n); }
static void a_execl(const char *n) { execl("/bin/sh", "sh", "-c", "echo $1 $2 $3 $4 $5 > out", "a0", "a1", "a2", "a3", "a4", "a5", (char *)0); gone(n); }
static void a_execlp(const char *n) { execlp("sh", "sh", "-c", "echo $1 $2 $3 $4 $5 > out", "a0", "a1", "a2", "a3", "a4", "a5", (char *)0); gone(n); }
/* The environment must hold what gates the new program: it is passed on. */
static void a_execle(const char *n) { execle("/bin/sh", "sh", "-c", "echo $1 $2 $3 $4 > out", "a0", "a1", "a2", "a3", "a4", (char *)0, environ); gone(n); }
static void a_fexecve(const char *n) { int x = open("/bin/sh", O_RDONLY | O_CLOEXEC); fexecve(x, touch, environ); gone(n); }
static void a_execveat(const char *n) { int (*f)(int, const char *, char **, char **, int) = sym(call(n)); f(AT_FDCWD, "/bin/sh", touch, environ, 0); gone(n); }
static void a_exec_noent(const char *n) { execl("/none/such", "x", (char *)0); gone("execl"); execlp("no-such-program", "x", (char *)0); gone("execlp"); execv("/etc/passwd", touch); gone("execv"); }
static void a_pidfd_spawn(const char *n) { int p; int (*f)(int *, const char *, void *, void *, char **, char **) = sym(call(n)); result(n, f(&p, "/bin/sh", 0, 0, touch, environ)); siginfo_t s; result("waitid", waitid(3 /* P_PIDFD */, p, &s, WEXITED)); }

static void *t_write(void *p) { change(); return 0; }
static void a_thread(const char *n) { pthread_t t; pthread_create(&t, 0, t_write, 0); result(n, pthread_join(t, 0)); offset(fd); }
static void a_threads(const char *n) { pthread_t t[8]; for (int i = 0; i < 8; i++) pthread_create(t + i, 0, t_write, 0); for (int i = 0; i < 8; i++) pthread_join(t[i], 0); offset(fd); }
static void on_signal(int s) { int e = errno; change(); errno = e; }
static void a_signal(const char *n) { signal(SIGUSR1, on_signal); raise(SIGUSR1); offset(fd); }
static void a_alarm(const char *n)
{
    struct itimerspec t = { .it_value = { 0, 1000000 } }; struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 }; timer_t id;
    signal(SIGUSR1, on_signal); timer_create(CLOCK_MONOTONIC, &e, &id); timer_settime(id, 0, &t, 0); pause(); offset(fd);
}
static volatile int notified;
static void on_timer(union sigval v) { change(); notified = 1; }
static void a_timer_thread(const char *n)
{
    struct itimerspec t = { .it_value = { 0, 1000000 } }; struct sigevent e = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_timer }; timer_t id;
    timer_create(CLOCK_MONOTONIC, &e, &id); timer_settime(id, 0, &t, 0); while (!notified) usleep(10000); offset(fd);
}
static void atfork_child(void) { change(); }
static void a_atfork(const char *n) { pthread_atfork(0, 0, atfork_child); pid_t p = fork(); if (!p) _exit(8); waited(n, p); offset(fd); }
static void a_wait_only(const char *n) { pid_t p = fork(); if (!p) _exit(9); waited(n, p); }

struct way ways[] = {
    W("fork", "holds", prep, a_fork), W("__fork", "holds", prep, a_fork), W("_Fork", "holds", prep, a_fork), W("fork:twice", "holds", prep, a_fork_twice),
    W("vfork", "holds", prep, a_vfork), W("__vfork", "holds", prep, a__vfork), W("vfork:write", "holds", prep, a_vfork_write),
    W("clone", "holds", prep, a_clone), W("__clone", "holds", prep, a_clone), W("clone:vfork", "holds", prep, a_clone_vm), W("syscall:fork", "holds", prep, a_sys_fork),
    W("forkpty", "holds", prep, a_forkpty), W("daemon", "holds", prep, a_daemon),
    W("posix_spawn", "holds", prep, a_spawn), W("posix_spawnp", "holds", prep, a_spawn), W("posix_spawn:create", "holds", prep, a_spawn_open),
    W("posix_spawnp:truncate", "holds", prep, a_spawn_trunc), W("posix_spawn:fails", "either", prep, a_spawn_fails), W("posix_spawn:dup2", "holds", prep, a_spawn_dup),
    W("pidfd_spawn", "holds", prep, a_pidfd_spawn), W("pidfd_spawnp", "holds", prep, a_pidfd_spawn),
    W("system", "holds", prep, a_system), W("popen:w", "holds", prep, a_popen_w), W("_IO_popen:w", "holds", prep, a_popen_w), W("popen:r", "holds", prep, a_popen_r), W("wordexp", "holds", prep, a_wordexp),
    W("execve", "holds", prep, a_execve), W("execv", "holds", prep, a_execv), W("execvp", "holds", prep, a_execvp), W("execvpe", "holds", prep, a_execvpe),
    W("execl", "holds", prep, a_execl), W("execlp", "holds", prep, a_execlp), W("execle", "holds", prep, a_execle), W("fexecve", "holds", prep, a_fexecve), W("execveat", "holds", prep, a_execveat),
    W("exec:noent", "either", prep, a_exec_noent),
    W("pthread_create", "holds", prep, a_thread), W("pthread_create:eight", "holds", prep, a_threads),
    W("signal", "holds", prep, a_signal), W("timer_create:signal", "holds", prep, a_alarm), W("timer_create:thread", "holds", prep, a_timer_thread),
    W("pthread_atfork", "holds", prep, a_atfork), W("fork:no-change", "passes", prep, a_wait_only),
    END
};
