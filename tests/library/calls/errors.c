/* Failing calls: every errno must be the call's own, with the barrier down and after waiting under it.
 * Bad pointers are among them: what a bare call answers with EFAULT must not crash a gate that reads the path.
 */
#include "way.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <utime.h>

static int fd, ro, dirfd_, p[2], closed = 999;
static char longname[5000];
static void prep(const char *n)
{
    fd = file("f", "0123456789"); made("plain", "x"); must(mkdir("dir", 0755), "dir"); made("dir/in", "y");
    ro = must(open("f", O_RDONLY), "ro"); dirfd_ = must(open("dir", O_RDONLY | O_DIRECTORY), "dir"); must(pipe(p), "pipe");
    must(symlink("loop", "loop"), "loop"); memset(longname, 'n', sizeof longname - 1);
}
#define T(call) do { errno = 0; long r_ = (long)(call); int e_ = errno; say(r_ < 0 ? "%s -> %ld, %d\n" : "%s -> %ld\n", #call, r_, e_); } while (0)

/* Paths that are wrong in every way a path can be. */
static void a_paths(const char *n)
{
    const char *bad[] = { 0, (char *)1, (char *)-4096, "", longname, "none/x", "plain/x", "loop", "dir", "/proc/none" };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *b = bad[i]; say("path %u\n", i);
        T(open(b, O_WRONLY | O_TRUNC) >= 0 ? 0 : -1); T(open(b, O_WRONLY | O_CREAT | O_EXCL, 0600) >= 0 ? 0 : -1);
        T(openat(dirfd_, b, O_WRONLY | O_TRUNC) >= 0 ? 0 : -1); T(openat(closed, b, O_WRONLY | O_TRUNC) >= 0 ? 0 : -1);
        if (b != bad[8]) { T(truncate(b, 3)); T(rename(b, "to")); T(rename("plain", b)); T(link(b, "to")); T(link("plain", b)); T(renameat(closed, b, AT_FDCWD, "to")); }
        if (i != 8) { T(symlink("x", b)); T(unlink(b)); T(unlinkat(dirfd_, b, 0)); T(rmdir(b)); T(mkdir(b, 0700)); T(mknod(b, S_IFIFO | 0600, 0)); T(mkfifo(b, 0600)); T(unlinkat(closed, b, AT_REMOVEDIR));
            T(chmod(b, 0600)); T(chown(b, 1, 1)); T(lchown(b, 1, 1)); T(fchmodat(closed, b, 0600, 0)); T(utimensat(closed, b, 0, 0)); T(setxattr(b, "user.a", "v", 1, 0)); T(removexattr(b, "user.a")); T(utime(b, 0)); }
        if (b && b != (char *)1 && b != (char *)-4096) { T(fopen(b, "w") ? 0 : -1); T(remove(b)); char t[64] = "none/XXXXXX"; T(mkstemp(t)); char u[] = "short"; T(mkstemp(u)); }
        made("plain", "x"); mkdir("dir", 0755);
        unlink("to"); unlink("loop"); symlink("loop", "loop");
    }
}
static void a_descriptors(const char *n)
{
    int bad[] = { -1, closed, ro, p[0], dirfd_ }; struct iovec iov = { "x", 1 }; struct flock l = { .l_type = F_WRLCK }, u = { .l_type = 99 };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        int b = bad[i]; say("descriptor %u\n", i);
        T(write(b, "x", 1)); T(pwrite(b, "x", 1, 0)); T(writev(b, &iov, 1)); T(pwritev(b, &iov, 1, 0)); T(ftruncate(b, 1)); T(fchmod(b, 0644) == 0 || i > 1 ? 1 : -1); T(fallocate(b, 0, 0, 1)); T(posix_fallocate(b, 0, 1));
        T(sendfile(b, ro, 0, 1)); T(fsetxattr(b, "bogus", "v", 1, 0)); T(fcntl(b, F_SETLK, &l)); T(fcntl(b, F_SETLK, &u)); T(fcntl(b, F_OFD_SETLK, &u)); T(flock(b, 77)); T(lockf(b, F_TLOCK, 1)); T(dup2(b, -1)); T(dup3(b, b, 0)); T(fcntl(b, F_DUPFD, -1)); T(fsync(b) == 0 ? 0 : -1);
    }
    T(close(-1)); T(close(closed)); T(dup(closed)); T(dup2(closed, 50));
}
static void a_pointers(const char *n)
{
    void *bad[] = { 0, (void *)1, (void *)-4096L };
    for (int i = 0; i < 3; i++) {
        void *b = bad[i]; say("pointer %d\n", i);
        T(write(fd, b, 5)); T(pwrite(fd, b, 5, 0)); T(writev(fd, b, 1)); T(fcntl(fd, F_SETLK, b)); T(fcntl(fd, F_OFD_SETLKW, b)); T(bind(socket(AF_UNIX, SOCK_DGRAM, 0), b, 10)); T(sendfile(fd, ro, i ? b : (void *)1, 1));
        T(syscall(437, AT_FDCWD, "f", b, 24)); T(syscall(437, AT_FDCWD, b, b, 3)); T(syscall(SYS_openat, AT_FDCWD, b, O_CREAT | O_WRONLY, 0600)); T(syscall(SYS_write, fd, b, 4)); T(utimensat(AT_FDCWD, "f", i ? b : (void *)1, 0)); T(fsetxattr(fd, b, "v", 1, 0));
        T(syscall(435, b, 88)); T(syscall(SYS_execve, b, b, b)); T(execve(b, b, b));
    }
}
static void a_places(const char *n)
{
    int full = open("/dev/full", O_WRONLY); char t[64]; snprintf(t, 64, "/dev/shm/wg-%d", getpid());
    T(write(full, "x", 1)); T(rename("f", t)); T(link("f", t)); T(creat("/proc/none", 0600)); T(mkdir("/proc/none", 0700)); T(open("/proc/self/exe", O_WRONLY)); T(truncate("/bin/sh-none", 0));
    T(write(p[1], "x", 0)); T(pwrite(p[1], "x", 1, 0)); signal(SIGPIPE, SIG_IGN); close(p[0]); T(write(p[1], "x", 1)); T(dprintf(p[1], "x"));
    FILE *f = fdopen(full, "w"); T(fputs("y", f)); T(fflush(f)); T(fclose(f)); f = fopen("/dev/full", "w"); setvbuf(f, 0, _IONBF, 0); T(fprintf(f, "%d", 1)); T(fwrite("abc", 1, 3, f)); T(putc('c', f)); T(ferror(f) != 0);
    f = fopen("f", "r"); T(fputs("no", f)); T(fputc('x', f)); T(fprintf(f, "x") < 0 ? -1 : 0); T(fseek(f, -100, SEEK_SET)); T(fseek(f, 0, 99)); T(setvbuf(f, 0, 77, 10)); T(freopen("none/x", "w", f) ? 0 : -1);
    T(fopen("f", "zz") ? 0 : -1); T(fdopen(-1, "w") ? 0 : -1);
}
static void a_limits(const char *n)
{
    signal(SIGXFSZ, SIG_IGN); struct rlimit r = { 20, 20 }, o; must(setrlimit(RLIMIT_FSIZE, &r), "fsize");
    T(pwrite(fd, "0123456789", 10, 15)); T(pwrite(fd, "x", 1, 30)); T(ftruncate(fd, 100)); T(posix_fallocate(fd, 0, 100));
    getrlimit(RLIMIT_NOFILE, &o); r.rlim_cur = r.rlim_max = 3; setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 3, o.rlim_max });
    T(open("new", O_CREAT | O_WRONLY, 0600)); T(creat("new2", 0600)); T(dup(fd)); T(fcntl(fd, F_DUPFD, 0)); T(fopen("new3", "w") ? 0 : -1); char t[] = "tXXXXXX"; T(mkstemp(t)); T(popen("true", "r") ? 0 : -1); T(truncate("f", 4)); T(rename("plain", "renamed"));
    setrlimit(RLIMIT_NOFILE, &o);
}
static void nothing(int s) { }
/* Interrupted and short writes: a full pipe, a signal, O_NONBLOCK. */
static void a_interrupted(const char *n)
{
    static char big[1 << 20]; struct sigaction a = { .sa_handler = nothing }; struct itimerval t = { { 0, 0 }, { 0, 100000 } };
    sigaction(SIGALRM, &a, 0);
    fcntl(p[1], F_SETFL, O_NONBLOCK); T(write(p[1], big, sizeof big) == 65536); T(write(p[1], big, 1)); fcntl(p[1], F_SETFL, 0);
    setitimer(ITIMER_REAL, &t, 0); T(write(p[1], big, 10)); char s[4096]; T(read(p[0], s, sizeof s)); setitimer(ITIMER_REAL, &t, 0); T(write(p[1], big, sizeof big) == 4096);
    int w = open("f", O_RDWR); pid_t c = fork(); if (!c) { flock(w, LOCK_EX); int o = open("f", O_RDWR); flock(o, LOCK_EX | LOCK_NB); sleep(2); _exit(0); }
    usleep(200000); int o = open("f", O_RDWR); setitimer(ITIMER_REAL, &t, 0); close(w); T(flock(o, LOCK_EX)); kill(c, 9); waitpid(c, 0, 0);
    c = fork(); if (!c) { struct flock l = { .l_type = F_WRLCK }; fcntl(o, F_SETLK, &l); sleep(2); _exit(0); }
    usleep(200000); struct flock l = { .l_type = F_WRLCK }; setitimer(ITIMER_REAL, &t, 0); T(fcntl(o, F_SETLKW, &l)); setitimer(ITIMER_REAL, &t, 0); T(lockf(o, F_LOCK, 0)); kill(c, 9); waitpid(c, 0, 0);
    struct sockaddr_un u = { AF_UNIX, "plain" }; T(bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&u, sizeof u));
}
/* The same pointers, each call in a thread of its own, so that all of them meet the closed barrier. */
static struct { const char *name; long r; int e; } got[200];
static int slots; static char *const nobody = (char *)1;
#define EACH(X) X(open(b, O_WRONLY | O_CREAT, 0600)) X(openat(dirfd_, b, O_WRONLY | O_TRUNC)) X(creat(b, 0600)) X(truncate(b, 3)) X(rename(b, "to")) X(rename("plain", b)) X(link("plain", b)) X(symlink("x", b)) X(unlink(b)) \
    X(rmdir(b)) X(mkdir(b, 0700)) X(mknod(b, S_IFIFO, 0)) X(chmod(b, 0600)) X(chown(b, 1, 1)) X(fchmodat(AT_FDCWD, b, 0600, 0)) X(setxattr(b, "user.a", "v", 1, 0)) X(utime(b, 0)) X(renameat(dirfd_, b, AT_FDCWD, b)) X(unlinkat(closed, b, 0)) \
    X(write(fd, b, 5)) X(writev(fd, (void *)b, 2)) X(fcntl(fd, F_SETLK, b)) X(bind(socket(AF_UNIX, SOCK_DGRAM, 0), (void *)b, 30)) X(syscall(437, AT_FDCWD, "f", b, 24)) X(syscall(SYS_openat, AT_FDCWD, b, O_CREAT, 0600)) X(syscall(SYS_rename, b, b)) X(execve(b, (void *)b, (void *)b)) \
    X(write(closed, "x", 1)) X(ftruncate(-1, 0)) X(fchmod(closed, 0))
#define FN(call) { struct one *o = v; const char *b = o->b; errno = 0; long r = (long)(call); got[o->slot].e = errno; got[o->slot].r = r; got[o->slot].name = #call; break; }
struct one { int slot, which; const char *b; };
enum { BASE = __COUNTER__ + 1 };
#define CASE(call) case __COUNTER__ - BASE: FN(call)
#ifdef SYS_rename
static void *try_one(void *v) { switch (((struct one *)v)->which) { EACH(CASE) } return 0; }
#endif
static void a_under(const char *n)
{
    static struct one o[200]; static pthread_t t[200]; const char *bad[] = { 0, nobody, (char *)-4096L, longname, "" };
    enum { CALLS = __COUNTER__ - BASE };
    for (int i = 0; i < 5; i++) for (int c = 0; c < CALLS && slots < 200; c++) { if (i > 2 && c > 18) continue; o[slots] = (struct one){ slots, c, bad[i] }; must(-pthread_create(t + slots, 0, try_one, o + slots), "thread"); slots++; }
    for (int i = 0; i < slots; i++) { pthread_join(t[i], 0); say(got[i].r < 0 ? "%d %s -> %ld, %d\n" : "%d %s -> %ld\n", i, got[i].name, got[i].r, got[i].e); }
}
/* errno of a call that succeeds is untouched. */
static void a_errno(const char *n)
{
    errno = 1234; write(fd, "x", 1); say("write %d\n", errno); errno = 1234; close(dup(fd)); say("close %d\n", errno); errno = 1234; rename("plain", "q"); say("rename %d\n", errno);
    errno = 1234; unlink("q"); say("unlink %d\n", errno); errno = 1234; int o = open("q", O_CREAT | O_RDWR, 0600); say("open %d\n", errno); errno = 1234; flock(o, LOCK_EX); say("flock %d\n", errno);
    errno = 1234; struct flock l = { .l_type = F_WRLCK }; fcntl(o, F_SETLK, &l); say("fcntl %d\n", errno); errno = 1234; pid_t c = fork(); if (!c) _exit(errno == 1234 ? 0 : 1); say("fork %d\n", errno); int st; waitpid(c, &st, 0); say("child %x\n", st);
    errno = 1234; c = vfork(); if (!c) _exit(0); say("vfork %d\n", errno); waitpid(c, 0, 0); FILE *f = fdopen(o, "w"); errno = 1234; fprintf(f, "x"); fflush(f); say("stdio %d\n", errno); errno = 1234; fclose(f); say("fclose %d\n", errno);
    errno = 1234; syscall(SYS_ftruncate, fd, 3); say("syscall %d\n", errno); errno = 1234; dup2(fd, 60); say("dup2 %d\n", errno); errno = 1234; mkdir("m", 0700); say("mkdir %d\n", errno);
}

struct way ways[] = {
    W("errors:paths", "same", prep, a_paths), W("errors:descriptors", "same", prep, a_descriptors), W("errors:pointers", "same", prep, a_pointers), W("errors:places", "same", prep, a_places),
    W("errors:limits", "same", prep, a_limits), W("errors:interrupted", "same", prep, a_interrupted), W("errors:errno", "same", prep, a_errno),
    W("errors:under-barrier", "either", prep, a_under),
    END
};
