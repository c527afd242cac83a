/* steps OPS PAUSE [AT LOCK SECOND]: does one op after the other in the current directory; after PAUSE ops it says READY and
   waits for a byte on stdin; at the end DONE. What each letter does: generated.py says it. AT, LOCK, SECOND: after an exec. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int lock = -1, second = -1, made;
static long raw(long n, long a, long b, long c)
{
    register long result __asm__("rax") = n;
    __asm__ volatile("syscall" : "+r"(result) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
static void say(const char *word) { raw(SYS_write, 1, (long)word, (long)strlen(word)); }
static void must(int ok, const char *what) { if (!ok) { perror(what); _exit(3); } }
static void byte(const char *name)
{
    int fd = open(name, O_WRONLY | O_APPEND | O_CREAT, 0600);
    must(fd >= 0 && write(fd, "1", 1) == 1, name);
    close(fd);
}
static int file(void)
{
    if (lock < 0) lock = open("l", O_RDWR | O_CREAT, 0600);
    must(lock >= 0, "l");
    return lock;
}
static void range(int command, int type)
{
    struct flock what = {.l_type = type, .l_whence = SEEK_SET};
    fcntl(file(), command, &what);                    /* refused, where it holds another kind: it goes on without */
}
static void follow(pid_t child)                       /* the child goes on; whoever forked it waits */
{
    if (child == 0) return;
    int status = 0;
    close(lock); close(second);
    waitpid(child, &status, 0);
    _exit(0);
}
static void stay(void)                                /* the parent goes on; the child ends with it */
{
    pid_t parent = getpid();
    if (fork() != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent) pause();              /* it may have ended before that call */
    _exit(0);
}
static void pass(void)                                /* the lock's descriptor goes to a child that had none */
{
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0, "socketpair");
    char control[CMSG_SPACE(sizeof(int))] = {0}, c = 0;
    struct iovec part = {&c, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    pid_t child = fork();
    if (child == 0) {
        close(lock); close(second); second = -1;
        must(recvmsg(pair[1], &message, 0) >= 0, "recvmsg");
        memcpy(&lock, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof lock);
        return;
    }
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof lock)};
    memcpy(CMSG_DATA(header), &lock, sizeof lock);
    must(sendmsg(pair[0], &message, 0) >= 0, "sendmsg");
    follow(child);
}
static void one(char op)
{
    char name[40];
    switch (op) {
    case 'F': must(flock(file(), LOCK_EX) == 0, "flock"); break;
    case 'S': must(flock(file(), LOCK_SH) == 0, "flock"); break;
    case 'P': range(F_SETLK, F_WRLCK); break;
    case 'O': range(F_OFD_SETLK, F_WRLCK); break;
    case 'U': flock(file(), LOCK_UN); range(F_SETLK, F_UNLCK); range(F_OFD_SETLK, F_UNLCK); break;
    case 'w': byte("a"); break;
    case 'x': byte("b"); break;
    case 'r': must(rename("t", "t.new") == 0 && rename("t.new", "t") == 0, "rename"); break;
    case 'c': sprintf(name, "made%d", made++); byte(name); break;
    case 'k': byte("gone"); must(unlink("gone") == 0, "unlink"); break;
    case 'd': if (second < 0) second = dup(file()); break;
    case 'q': close(lock); lock = second; second = -1; break;
    case 'f': follow(fork()); break;
    case 'g': stay(); break;
    case 'p': file(); pass(); break;
    default: _exit(2);
    }
}
int main(int argc, char **argv)
{
    must(argc >= 3, "arguments");
    const char *ops = argv[1];
    int pause_after = atoi(argv[2]), at = argc > 3 ? atoi(argv[3]) : 0;
    if (argc > 5) { lock = atoi(argv[4]); second = atoi(argv[5]); }
    byte("t");
    for (; ops[at]; at++) {
        if (at == pause_after) { char got; say("READY\n"); raw(SYS_read, 0, (long)&got, 1); }
        if (ops[at] == 'h') {                         /* a child does the next op and ends */
            pid_t child = fork();
            if (child == 0) { if (ops[at + 1]) one(ops[at + 1]); _exit(0); }
            waitpid(child, 0, 0);
            at++;
            if (!ops[at]) break;
            if (at == pause_after) { char got; say("READY\n"); raw(SYS_read, 0, (long)&got, 1); }
        } else if (ops[at] == 'e') {
            char next[12], l[12], s[12], me[400];
            ssize_t n = readlink("/proc/self/exe", me, sizeof me - 1);
            must(n > 0, "exe");
            me[n] = 0;
            sprintf(next, "%d", at + 1); sprintf(l, "%d", lock); sprintf(s, "%d", second);
            execl(me, me, ops, argv[2], next, l, s, (char *)0);
            _exit(3);
        } else {
            one(ops[at]);
        }
    }
    say("DONE\n");
    char got;
    raw(SYS_read, 0, (long)&got, 1);
    return 0;
}
