/* Ways: locks, and the descriptors that hold them. Who holds a lock and has changed something is in
 * flight, so the barrier is not tried here; what must not differ is every result, and who gets the lock
 * when: a second process tries for it before and after each step.
 */
#include "way.h"
#include <dirent.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <utmp.h>

static int fd;
static void prep(const char *n) { fd = file("f", "0123456789"); }
/* What somebody else sees: a letter for each kind of lock. */
static void others(const char *when)
{
    pid_t p = fork();
    if (!p) {
        int o = open("f", O_RDWR); struct flock l = { .l_type = F_WRLCK }, q = l;
        int a = fcntl(o, F_SETLK, &l), b = fcntl(o, F_OFD_SETLK, &q), c = flock(o, LOCK_EX | LOCK_NB);
        say("%s: posix %s ofd %s flock %s\n", when, a ? "taken" : "free", b ? "taken" : "free", c ? "taken" : "free"); _exit(0);
    }
    waitpid(p, 0, 0);
}
static int lk(int (*f)(int, int, ...), int cmd, int type, long start, long len) { struct flock l = { .l_type = type, .l_start = start, .l_len = len }; return f(fd, cmd, &l); }
typedef int (*fcntl_fn)(int, int, ...);
static void a_posix(const char *n)
{
    fcntl_fn f = sym(call(n)); result("lock", lk(f, F_SETLK, F_WRLCK, 0, 0)); others("locked"); result("part", lk(f, F_SETLKW, F_UNLCK, 0, 5)); others("half");
    result("change", write(fd, "x", 1)); result("rest", lk(f, F_SETLK, F_UNLCK, 5, 0)); others("unlocked");
}
static void a_posix_close(const char *n) { int o = open("f", O_RDONLY); result("lock", lk(fcntl, F_SETLKW, F_WRLCK, 0, 0)); others("locked"); result("close", close(o)); others("closed another"); }
static void a_posix_dup2(const char *n) { int o = open("f", O_RDONLY), z = open("/dev/null", O_RDONLY); lk(fcntl, F_SETLK, F_WRLCK, 0, 0); others("locked"); result("dup2", dup2(z, o) == o ? 0 : -1); others("dup2 over"); }
static void a_posix_dup3(const char *n) { int o = open("f", O_RDONLY), z = open("/dev/null", O_RDONLY); lk(fcntl, F_SETLK, F_WRLCK, 0, 0); others("locked"); result("dup3", dup3(z, o, O_CLOEXEC) == o ? 0 : -1); others("dup3 over"); }
static void a_ofd(const char *n) { int d; result("ofd", lk(fcntl, F_OFD_SETLK, F_WRLCK, 0, 0)); others("locked"); d = dup(fd); close(d); others("dup closed"); result("unlock", lk(fcntl, F_OFD_SETLKW, F_UNLCK, 0, 0)); others("unlocked"); }
static void a_lockf(const char *n) { int (*f)(int, int, off_t) = sym(call(n)); result("lock", f(fd, F_TLOCK, 0)); others("locked"); result("test", f(fd, F_TEST, 0)); result("unlock", f(fd, F_ULOCK, 0)); others("unlocked"); }
static void a_flock(const char *n) { result("ex", flock(fd, LOCK_EX)); others("ex"); result("sh", flock(fd, LOCK_SH)); others("sh"); result("un", flock(fd, LOCK_UN)); others("un"); }
static void a_flock_fork(const char *n) { flock(fd, LOCK_EX); pid_t p = fork(); if (!p) { usleep(300000); _exit(0); } close(fd); others("child has it"); waitpid(p, 0, 0); others("child gone"); }
static void a_flock_shared_w(const char *n) { result("sh", flock(fd, LOCK_SH)); result("w", write(fd, "y", 1)); others("sh"); close(fd); others("closed"); }
static void closer(const char *n, void (*how)(void)) { lk(fcntl, F_SETLK, F_WRLCK, 0, 0); flock(fd, LOCK_EX); others("locked"); how(); others("after"); }
static void c_close(void) { int (*f)(int) = sym("__close"); result("close", f(fd)); }
static void c_posix_close(void) { int (*f)(int, int) = sym("posix_close"); result("close", f(fd, 0)); }
static void c_from(void) { void (*f)(int) = sym("closefrom"); f(fd); }
static void c_range(void) { int (*f)(unsigned, unsigned, int) = sym("close_range"); result("close_range", f(fd, ~0u, 0)); }
static void c_range_cloexec(void) { int (*f)(unsigned, unsigned, int) = sym("close_range"); result("close_range", f(fd, ~0u, 4)); say("cloexec=%d\n", fcntl(fd, F_GETFD)); }
static void c_fclose(void) { FILE *s = fdopen(fd, "r+"); fputs("s", s); result("fclose", fclose(s)); }
static void c_freopen(void) { FILE *s = fdopen(fd, "r+"); result("freopen", freopen("/dev/null", "r", s) ? 0 : -1); }
static void a___close(const char *n) { closer(n, c_close); }
static void a_posixc(const char *n) { closer(n, c_posix_close); }
static void a_from(const char *n) { closer(n, c_from); }
static void a_range(const char *n) { closer(n, c_range); }
static void a_range_c(const char *n) { closer(n, c_range_cloexec); }
static void a_fclose(const char *n) { closer(n, c_fclose); }
static void a_freopen(const char *n) { closer(n, c_freopen); }
static void a_closedir(const char *n) { DIR *d = opendir("."); int e = flock(dirfd(d), LOCK_EX); result("dir", e); result("closedir", closedir(d)); int o = open(".", O_RDONLY); result("again", flock(o, LOCK_EX | LOCK_NB)); }
static void a_exec(const char *n)
{
    pid_t p = fork();
    if (!p) { fcntl(fd, F_SETFD, FD_CLOEXEC); lk(fcntl, F_SETLK, F_WRLCK, 0, 0); execl("/bin/sleep", "sleep", "0.3", (char *)0); _exit(1); }
    usleep(150000); others("cloexec"); waitpid(p, 0, 0);
    p = fork();
    if (!p) { fcntl(fd, F_SETFD, 0); lk(fcntl, F_SETLK, F_WRLCK, 0, 0); execl("/bin/sleep", "sleep", "0.3", (char *)0); _exit(1); }
    usleep(150000); others("kept"); waitpid(p, 0, 0); others("exited");
}
static void a_wait(const char *n)
{
    int ready[2]; char c; must(pipe(ready), "pipe");
    pid_t p = fork();
    if (!p) { int o = open("f", O_RDWR); flock(o, LOCK_EX); write(ready[1], "l", 1); usleep(200000); write(o, "first", 5); flock(o, LOCK_UN); _exit(0); }
    read(ready[0], &c, 1); result("flock", flock(fd, LOCK_EX)); char b[6] = ""; pread(fd, b, 5, 0); say("saw %s\n", b); waitpid(p, 0, 0);
}
static void a_dups(const char *n)
{
    say("dup=%d ", fcntl(dup(fd), F_GETFD)); say("cloexec=%d ", fcntl(fcntl(fd, F_DUPFD_CLOEXEC, 100), F_GETFD)); say("at=%d ", fcntl(fd, F_DUPFD, 150));
    int (*d2)(int, int) = dlsym(RTLD_DEFAULT, "__dup2"); say("dup2=%d same=%d bad=%d\n", (d2 ? d2 : dup2)(fd, 90), dup2(fd, fd), dup2(888, 90));
    result("dup3", dup3(fd, fd, 0)); result("setfl", fcntl(fd, F_SETFL, O_APPEND)); say("getfl=%x\n", fcntl(fd, F_GETFL) & O_APPEND);
    result("bad", fcntl(-1, F_GETFD)); result("cmd", fcntl(fd, 9999, 0)); result("lease", fcntl(fd, F_GETLEASE)); result("pipe-size", fcntl(fd, F_GETPIPE_SZ));
}
static void a_getlk(const char *n) { pid_t p = fork(); if (!p) { lk(fcntl, F_SETLK, F_WRLCK, 3, 4); usleep(300000); _exit(0); } usleep(100000); struct flock l = { .l_type = F_WRLCK }; result("getlk", fcntl(fd, F_GETLK, &l)); say("type=%d start=%ld len=%ld holder=%d\n", l.l_type, (long)l.l_start, (long)l.l_len, l.l_pid == p); waitpid(p, 0, 0); }
static void a_login_tty(const char *n) { int (*f)(int) = sym(call(n)); pid_t p = fork(); if (!p) { setsid(); _exit(f(fd) ? 20 + errno : 0); } int st; waitpid(p, &st, 0); say("status=%x\n", st); }
static void a_atomic(const char *n) { result("excl", open("x.lock", O_CREAT | O_EXCL | O_WRONLY, 0600) < 0 ? -1 : 0); result("again", open("x.lock", O_CREAT | O_EXCL | O_WRONLY, 0600)); result("write", write(fd, "z", 1)); result("link", link("f", "y.lock")); result("unlink", unlink("x.lock")); result("rename", rename("y.lock", "g")); }

struct way ways[] = {
    W("fcntl", "same", prep, a_posix), W("fcntl64", "same", prep, a_posix), W("__fcntl", "same", prep, a_posix), W("fcntl:close", "same", prep, a_posix_close), W("fcntl:dup2", "same", prep, a_posix_dup2), W("fcntl:dup3", "same", prep, a_posix_dup3), W("fcntl:ofd", "same", prep, a_ofd), W("fcntl:getlk", "same", prep, a_getlk),
    W("lockf", "same", prep, a_lockf), W("lockf64", "same", prep, a_lockf), W("flock", "same", prep, a_flock), W("flock:fork", "same", prep, a_flock_fork), W("flock:shared", "same", prep, a_flock_shared_w), W("flock:wait", "same", prep, a_wait),
    W("__close", "same", prep, a___close), W("posix_close", "same", prep, a_posixc), W("closefrom", "same", prep, a_from), W("close_range", "same", prep, a_range), W("close_range:cloexec", "same", prep, a_range_c),
    W("fclose:lock", "same", prep, a_fclose), W("freopen:lock", "same", prep, a_freopen), W("closedir", "same", prep, a_closedir),
    W("exec:lock", "same", prep, a_exec), W("dup", "same", prep, a_dups), W("login_tty", "same", prep, a_login_tty), W("dotlock", "same", prep, a_atomic),
    END
};
