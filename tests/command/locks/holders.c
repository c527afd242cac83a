/* holders CASE DIR: one set = a byte in DIR/a, then a byte in DIR/b, under one lock on DIR/l, taken in a way that
   the library does not see, or passed on. After the first byte: READY on stdout, then waits for a byte on stdin
   (or for $HOLD_MS), then the second byte; then the lock is given up, DONE is said, and a byte is waited for.
   Cases with "read_" or "listed_idle" hold what guards nothing, or change nothing. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "half.h"

static void raw_fcntl(int fd, int command, int type)
{
    struct flock what = {.l_type = type, .l_whence = SEEK_SET};
    must(raw(SYS_fcntl, fd, command, (long)&what) == 0, "fcntl");
}
static void set_and_close(int fd) { byte(a); half(); byte(b); close(fd); }

static void dup_of_dup(void) { int d = dup(l), e = dup(d); flock(l, LOCK_EX); byte(a); close(l); close(d); half(); byte(b); close(e); }
static void raw_flock(void) { raw(SYS_flock, l, LOCK_EX, 0); set_and_close(l); }
static void raw_shared_writer(void) { raw(SYS_flock, l, LOCK_SH, 0); set_and_close(l); }
static void raw_posix(void) { raw_fcntl(l, F_SETLK, F_WRLCK); set_and_close(l); }
static void raw_ofd(void) { raw_fcntl(l, F_OFD_SETLK, F_WRLCK); set_and_close(l); }
static void missed_conversion(void) { int r = file("l", O_RDONLY); close(l); flock(r, LOCK_SH); raw(SYS_flock, r, LOCK_EX, 0); set_and_close(r); }
static void dup_before(void) { int d = dup(l); flock(l, LOCK_EX); byte(a); close(l); half(); byte(b); close(d); }
static void locked_by_dup(void) { int d = dup(l); flock(d, LOCK_EX); byte(a); close(d); half(); byte(b); close(l); }
static void ofd(int type, long start, long length)
{
    struct flock what = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    must(fcntl(l, F_OFD_SETLK, &what) == 0, "F_OFD_SETLK");
}
static void ofd_grows(void) { ofd(F_RDLCK, 0, 10); ofd(F_WRLCK, 0, 0); byte(a); ofd(F_UNLCK, 0, 10); half(); byte(b); ofd(F_UNLCK, 10, 0); }
static void ofd_shrinks(void)
{
    ofd(F_WRLCK, 0, 100); byte(a);
    ofd(F_UNLCK, 0, 20); ofd(F_RDLCK, 40, 10); ofd(F_UNLCK, 60, 0);
    half(); byte(b);
    ofd(F_UNLCK, 20, 20); ofd(F_UNLCK, 50, 10);
}
static void many_locks(void)
{
    char name[20];
    int fds[70];
    for (int i = 0; i < 70; i++) {
        sprintf(name, "m%d", i);
        fds[i] = file(name, O_RDWR);
        must(lockf(fds[i], F_LOCK, 0) == 0, name);
    }
    byte(a);
    for (int i = 0; i < 69; i++) close(fds[i]);
    half(); byte(b); close(fds[69]);
}
static void process_id(void)
{
    char id[20];
    flock(l, LOCK_EX);
    must(ftruncate(l, 0) == 0 && pwrite(l, id, sprintf(id, "%d\n", getpid()), 0) > 0, "the id");
    pid_t child = fork();
    if (!child) _exit(0);
    waitpid(child, 0, 0);
    set_and_close(l);
}
static void conversion(void) { int r = file("l", O_RDONLY); flock(r, LOCK_SH); flock(r, LOCK_EX); set_and_close(r); close(l); }
static void *in_short_thread(void *unused) { flock(l, LOCK_EX); byte(a); return unused; }
static void thread_ends(void) { pthread_t t; pthread_create(&t, 0, in_short_thread, 0); pthread_join(t, 0); half(); byte(b); close(l); }

static void write_lease(void) { must(fcntl(l, F_SETLEASE, F_WRLCK) == 0, "lease"); set_and_close(l); }
static void child_locks(void)
{
    pid_t child = fork();
    if (!child) { flock(l, LOCK_EX); _exit(0); }
    waitpid(child, 0, 0);
    set_and_close(l);
}
static void tool_locks(void)
{
    char fd[12];
    sprintf(fd, "%d", l);
    pid_t child = vfork();
    if (!child) { execlp("flock", "flock", fd, (char *)0); _exit(3); }
    waitpid(child, 0, 0);
    set_and_close(l);
}
static void parent_closes(void)
{
    flock(l, LOCK_EX);
    byte(a);
    pid_t child = fork();
    if (!child) { half(); byte(b); close(l); _exit(0); }
    close(l);
    waitpid(child, 0, 0);
}
static void parent_exits(void)
{
    flock(l, LOCK_EX);
    byte(a);
    if (fork()) _exit(0);
    half(); byte(b); close(l);
}
static void passed_on(void)
{
    int pair[2];
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    char control[CMSG_SPACE(sizeof(int))] = {0}, c = 0;
    struct iovec part = {&c, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    pid_t child = fork();
    if (!child) {
        close(l);
        recvmsg(pair[1], &message, 0);
        int got;
        memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
        half(); byte(b); close(got); _exit(0);
    }
    flock(l, LOCK_EX);
    byte(a);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof l)};
    memcpy(CMSG_DATA(header), &l, sizeof l);
    sendmsg(pair[0], &message, 0);
    close(l);
    waitpid(child, 0, 0);
}
static void closed_but_mapped(void)
{
    must(ftruncate(l, 4096) == 0, "ftruncate");
    raw(SYS_flock, l, LOCK_EX, 0);
    void *map = mmap(0, 4096, PROT_READ, MAP_PRIVATE, l, 0);
    raw(SYS_close, l, 0, 0);
    byte(a); half(); byte(b);
    munmap(map, 4096);
}
static void *in_thread(void *unused)
{
    must(unshare(CLONE_FILES) == 0, "unshare");
    int own = file("l2", O_RDWR);
    raw(SYS_flock, own, LOCK_EX, 0);
    set_and_close(own);
    return unused;
}
static void table_of_its_own(void) { pthread_t t; pthread_create(&t, 0, in_thread, 0); pthread_join(t, 0); }
static void *ends_late(void *unused) { usleep(200000); raw_flock(); say("DONE\n"); await(); _exit(0); return unused; }
static void first_thread_ends(void) { pthread_t t; pthread_create(&t, 0, ends_late, 0); pthread_exit(0); }
static void odd_name(void) { prctl(PR_SET_NAME, "postausg\xc3\xa4ng-r\xc3", 0, 0, 0); raw_flock(); }

static void read_flock(void) { int r = file("l", O_RDONLY); raw(SYS_flock, r, LOCK_SH, 0); half(); close(r); }
static void read_posix(void) { raw_fcntl(l, F_SETLK, F_RDLCK); half(); close(l); }
/* A daemon: its id is in the file that it holds for life, and that is all that it has changed. */
static void pid_file(void)
{
    char id[20];
    flock(l, LOCK_EX);
    must(pwrite(l, id, sprintf(id, "%d\n", getpid()), 0) > 0, "the id");
    pid_t child = fork();
    if (!child) { half(); _exit(0); }
    waitpid(child, 0, 0);
}
static void chrooted(void) { flock(l, LOCK_EX); must(chroot(".") == 0 && chdir("/") == 0, "chroot"); byte(a); half(); }
/* As a process is that has confined itself: by a filter, or in a root without /proc. What it holds is known as before. */
static void confine(void)
{
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, all};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
}
static void confined_flock(void) { confine(); flock(l, LOCK_EX); set_and_close(l); }
static void confined_posix(void) { confine(); must(lockf(l, F_LOCK, 0) == 0, "lockf"); set_and_close(l); }
static void confined_ofd(void) { confine(); ofd(F_WRLCK, 0, 0); set_and_close(l); }
static void confined_idle(void) { confine(); flock(l, LOCK_EX); half(); close(l); }
static void confined_idle_posix(void) { confine(); must(lockf(l, F_LOCK, 0) == 0, "lockf"); half(); close(l); }
static void confined_idle_dup(void) { confine(); flock(l, LOCK_EX); int d = dup(l); close(l); half(); close(d); }
static void into_jail(void) { must(chroot(".") == 0 && chdir("/") == 0, "chroot"); }
static void reap_one(void) { pid_t child = fork(); if (!child) _exit(0); must(waitpid(child, 0, 0) == child, "waitpid"); }
static void jailed_reaper(void) { dup2(a, 40); flock(l, LOCK_EX); into_jail(); byte(a); reap_one(); set_and_close(l); }
static void jailed_idle_reaper(void)
{
    /* The child is there before the lock: a fork under one begins the set. */
    int go[2];
    char none;
    must(pipe(go) == 0, "pipe");
    pid_t child = fork();
    if (!child) { close(go[1]); _exit(read(go[0], &none, 1)); }
    dup2(a, 40);
    flock(l, LOCK_EX);
    into_jail();
    close(go[1]);
    must(waitpid(child, 0, 0) == child, "waitpid");
    half();
    close(l);
}
static void listed_idle(void) { flock(l, LOCK_EX); half(); close(l); }
static void listed_idle_posix(void) { must(lockf(l, F_LOCK, 0) == 0, "lockf"); half(); close(l); }

#define CASE(name) {#name, name}
static struct { const char *name; void (*run)(void); } cases[] = {
    CASE(dup_of_dup), CASE(raw_flock), CASE(raw_shared_writer), CASE(raw_posix), CASE(raw_ofd), CASE(missed_conversion),
    CASE(write_lease), CASE(dup_before), CASE(locked_by_dup), CASE(ofd_grows), CASE(ofd_shrinks), CASE(many_locks),
    CASE(process_id), CASE(conversion), CASE(thread_ends), CASE(pid_file), CASE(chrooted), CASE(child_locks), CASE(tool_locks), CASE(parent_closes), CASE(parent_exits), CASE(passed_on),
    CASE(closed_but_mapped), CASE(table_of_its_own), CASE(first_thread_ends), CASE(odd_name),
    CASE(confined_flock), CASE(confined_posix), CASE(confined_ofd), CASE(confined_idle), CASE(confined_idle_posix),
    CASE(confined_idle_dup), CASE(jailed_reaper), CASE(jailed_idle_reaper),
    CASE(read_flock), CASE(read_posix), CASE(listed_idle), CASE(listed_idle_posix)};

int main(int argc, char **argv)
{
    prepare(argc, argv);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!strcmp(argv[1], cases[i].name)) {
            cases[i].run();
            say("DONE\n");
            await();
            return 0;
        }
    return 2;
}
