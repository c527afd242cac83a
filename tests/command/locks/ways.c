/* ways CASE DIR: as holders.c; ways in which a lock stays held although the descriptor, the thread or the process that took
   it is gone, or is held by somebody who did not take it. */
#define _GNU_SOURCE
#include <linux/close_range.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "half.h"

static void exclusive(int fd) { must(flock(fd, LOCK_EX) == 0, "flock"); }
static void finish(int fd) { half(); byte(b); close(fd); }
static void range(int fd, int command, int type, long start, long length)
{
    struct flock what = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    must(fcntl(fd, command, &what) == 0, "fcntl");
}
static void reap(pid_t child) { must(waitpid(child, 0, 0) == child, "waitpid"); }

/* Ranges. */
static void last_byte(void)
{
    range(l, F_OFD_SETLK, F_WRLCK, 0, 10); byte(a);
    range(l, F_OFD_SETLK, F_WRLCK, 5, 0); range(l, F_OFD_SETLK, F_UNLCK, 2, 1000); range(l, F_OFD_SETLK, F_WRLCK, 990, 1);
    range(l, F_OFD_SETLK, F_UNLCK, 0, 990); range(l, F_OFD_SETLK, F_UNLCK, 1000, 0);
    half(); byte(b); range(l, F_OFD_SETLK, F_UNLCK, 990, 1);
}
static void comb(void)
{
    /* More ranges of one file than the table has places, and one is left. */
    byte(b); byte(a);
    for (int i = 0; i < 150; i++) range(l, F_SETLK, F_WRLCK, 2 * i, 1);
    byte(a);
    range(l, F_SETLK, F_UNLCK, 0, 200); range(l, F_SETLK, F_UNLCK, 201, 0);
    half(); byte(b); range(l, F_SETLK, F_UNLCK, 200, 1);
}
static void before_the_offset(void)
{
    lseek(l, 100, SEEK_SET);
    must(lockf(l, F_LOCK, -50) == 0, "lockf"); byte(a);
    lseek(l, 0, SEEK_SET); must(lockf(l, F_ULOCK, 70) == 0, "lockf");
    half(); byte(b); must(lockf(l, F_ULOCK, 0) == 0, "lockf");
}
static void up_and_down(void)
{
    exclusive(l); byte(a); flock(l, LOCK_SH); exclusive(l); flock(l, LOCK_SH);
    finish(l);
}
static void many_and_back(void)
{
    char name[20];
    int fds[130];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 130; i++) { sprintf(name, "m%d", i); fds[i] = file(name, O_RDWR); exclusive(fds[i]); }
        byte(a);
        for (int i = 0; i < 129; i++) close(fds[i]);
        if (round == 0) { byte(b); close(fds[129]); }
    }
    finish(fds[129]);
}
static void hand_over_hand(void)
{
    int m = file("m", O_RDWR), n = file("n", O_RDWR);
    exclusive(l); byte(a); exclusive(m); close(l); exclusive(n); close(m);
    finish(n);
}

/* Descriptors. */
static void replaced(void) { int d = dup(l), other = file("c", O_RDWR); exclusive(l); byte(a); dup2(other, l); finish(d); }
static void closed_range(void) { int d = fcntl(l, F_DUPFD, 500); exclusive(l); byte(a); must(syscall(SYS_close_range, l, 499, 0) == 0, "close_range"); a = b = -1; b = file("b", O_RDWR); finish(d); }
static void range_to_close_later(void) { exclusive(l); byte(a); must(syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0, "close_range"); finish(l); }
static void through_proc(void)
{
    char path[40];
    sprintf(path, "/proc/self/fd/%d", l);
    int other = open(path, O_RDWR), d = dup(other);
    exclusive(other); byte(a); close(l); close(other);
    finish(d);
}
static void stream(void) { int d = dup(l); FILE *f = fdopen(l, "r+"); exclusive(fileno(f)); byte(a); fclose(f); finish(d); }
static void a_folder(void) { int d = open(".", O_RDONLY | O_DIRECTORY); exclusive(d); byte(a); finish(d); }
static void unlinked(void) { exclusive(l); must(unlink("l") == 0, "unlink"); byte(a); finish(l); }
static void renamed_over(void) { close(file("new", O_RDWR)); exclusive(l); must(rename("new", "l") == 0, "rename"); byte(a); finish(l); }
static void again(const char *name) { setenv("AGAIN", "1", 1); execl("/proc/self/exe", "ways", name, ".", (char *)0); _exit(3); }
static void exec_keeps_one(void)
{
    if (!getenv("AGAIN")) { int d = dup(l); fcntl(l, F_SETFD, FD_CLOEXEC); exclusive(l); byte(a); dup2(d, 300); close(d); again("exec_keeps_one"); }
    finish(300);
}
static void exec_of_the_taker(void)
{
    if (!getenv("AGAIN")) { dup2(l, 300); range(300, F_SETLK, F_WRLCK, 0, 0); byte(a); again("exec_of_the_taker"); }
    finish(300);
}
/* The other half is another program's, begun while the barrier is up. */
static void exec_half_way(void)
{
    if (!getenv("AGAIN")) { dup2(l, 300); range(300, F_SETLK, F_WRLCK, 0, 0); byte(a); half(); again("exec_half_way"); }
    byte(b); close(300);
}

/* Processes. */
static void child_takes_ofd(void) { pid_t child = fork(); if (!child) { range(l, F_OFD_SETLK, F_WRLCK, 0, 0); _exit(0); } reap(child); byte(a); finish(l); }
static void vforked_takes(void) { pid_t child = vfork(); if (!child) { flock(l, LOCK_EX); _exit(0); } reap(child); byte(a); finish(l); }
static void cloned_takes(void)
{
    struct clone_args how = {.exit_signal = SIGCHLD};
    pid_t child = syscall(SYS_clone3, &how, sizeof how);
    if (!child) { flock(l, LOCK_EX); _exit(0); }
    must(child > 0, "clone3"); reap(child); byte(a); finish(l);
}
static void clone_goes_on(void)
{
    exclusive(l); byte(a);
    struct clone_args how = {.exit_signal = SIGCHLD};
    pid_t child = syscall(SYS_clone3, &how, sizeof how);
    must(child >= 0, "clone3");
    if (child) _exit(0);
    finish(l);
}
static int other_table_user(void *unused) { (void)unused; range(l, F_SETLK, F_WRLCK, 0, 0); byte(a); _exit(0); }
static void table_is_shared(void)
{
    /* What the child takes belongs to the table, which both have. */
    static char stack[65536];
    pid_t child = clone(other_table_user, stack + sizeof stack, CLONE_FILES | SIGCHLD, 0);
    reap(child); finish(l);
}
static void grandchild(void)
{
    int until[2];
    char none;
    must(pipe(until) == 0, "pipe");
    exclusive(l); byte(a);
    pid_t child = fork();
    if (!child) { if (fork()) _exit(0); half(); byte(b); _exit(0); }
    close(l); close(until[1]); reap(child);
    must(read(until[0], &none, 1) == 0, "read");
}
static void spawned(void)
{
    extern char **environ;
    char *argv[] = {"sh", "-c", "echo READY; head -c 1 >c; echo 1 >>b", 0};
    posix_spawn_file_actions_t actions;
    pid_t child;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, l, 9);
    posix_spawn_file_actions_addclose(&actions, l);
    exclusive(l); byte(a);
    must(posix_spawnp(&child, "sh", &actions, 0, argv, environ) == 0, "posix_spawn");
    close(l); reap(child);
}
static void hand(int to, int fd)
{
    char control[CMSG_SPACE(sizeof fd)] = {0}, c = 0;
    struct iovec part = {&c, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    must(sendmsg(to, &message, 0) == 1, "sendmsg");
}
static int receive(int from)
{
    char control[CMSG_SPACE(sizeof(int))], c;
    struct iovec part = {&c, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int fd;
    must(recvmsg(from, &message, 0) == 1, "recvmsg");
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}
static void from_hand_to_hand(void)
{
    int one[2], two[2];
    socketpair(AF_UNIX, SOCK_DGRAM, 0, one); socketpair(AF_UNIX, SOCK_DGRAM, 0, two);
    pid_t second = fork();
    if (!second) { close(l); int got = receive(one[1]); byte(file("c", O_RDWR)); hand(two[0], got); close(got); _exit(0); }
    pid_t third = fork();
    if (!third) { close(l); int got = receive(two[1]); half(); byte(b); close(got); _exit(0); }
    exclusive(l); byte(a); hand(one[0], l); close(l);
    reap(second); reap(third);
}
static void fetched(void)
{
    /* Another process fetches it, and its taker ends. */
    int told[2];
    char c;
    must(pipe(told) == 0, "pipe");
    pid_t taker = getpid(), child = fork();
    if (!child) {
        close(l);
        must(read(told[0], &c, 1) == 1, "read");
        int taken = syscall(SYS_pidfd_getfd, (int)syscall(SYS_pidfd_open, taker, 0), l, 0);
        must(taken >= 0, "pidfd_getfd");
        must(kill(taker, SIGKILL) == 0, "kill");
        finish(taken); _exit(0);
    }
    exclusive(l); byte(a);
    must(write(told[1], "x", 1) == 1, "write");
    pause();
}

/* Threads. */
static void *cancelled_inside(void *unused) { (void)unused; exclusive(l); byte(a); pause(); return 0; }
static void cancelled(void) { pthread_t t; pthread_create(&t, 0, cancelled_inside, 0); usleep(100000); pthread_cancel(t); pthread_join(t, 0); finish(l); }
static int at_work[2];
static void *table_from_then(void *unused)
{
    char c;
    must(unshare(CLONE_FILES) == 0, "unshare");
    must(write(at_work[1], "x", 1) == 1 && read(at_work[0], &c, 1) == 1, "pipe");
    usleep(100000);
    finish(l);
    return unused;
}
static void table_of_before(void)
{
    /* The lock is from before the thread had a table of its own, and the first thread closes it. */
    pthread_t t;
    must(pipe(at_work) == 0, "pipe");
    exclusive(l); byte(a);
    pthread_create(&t, 0, table_from_then, 0);
    usleep(50000);
    close(l);
    pthread_join(t, 0);
}
static void on_signal(int signal) { (void)signal; exclusive(l); byte(a); }
static void by_a_handler(void) { signal(SIGUSR1, on_signal); raise(SIGUSR1); finish(l); }
static void *taker(void *unused) { (void)unused; exclusive(l); byte(a); pthread_exit(0); }
static void *goes_on(void *thread) { pthread_join(*(pthread_t *)thread, 0); half(); byte(b); close(l); say("DONE\n"); await(); _exit(0); }
static void all_but_one_end(void)
{
    static pthread_t first, second;
    pthread_create(&first, 0, taker, 0);
    pthread_create(&second, 0, goes_on, &first);
    pthread_exit(0);
}

#define CASE(name) {#name, name}
static struct { const char *name; void (*run)(void); } cases[] = {
    CASE(last_byte), CASE(comb), CASE(before_the_offset), CASE(up_and_down), CASE(many_and_back), CASE(hand_over_hand), CASE(replaced),
    CASE(closed_range), CASE(range_to_close_later), CASE(through_proc), CASE(stream), CASE(a_folder), CASE(unlinked), CASE(renamed_over), CASE(exec_keeps_one),
    CASE(exec_of_the_taker), CASE(exec_half_way), CASE(child_takes_ofd), CASE(vforked_takes), CASE(cloned_takes), CASE(clone_goes_on), CASE(table_is_shared),
    CASE(grandchild), CASE(spawned), CASE(from_hand_to_hand), CASE(fetched), CASE(cancelled), CASE(table_of_before), CASE(by_a_handler),
    CASE(all_but_one_end)};

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
