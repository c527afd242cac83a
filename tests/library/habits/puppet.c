/* Does one thing for each line that it reads, then says "ok RESULT" (or a negative errno).
 *
 *   lock FILE          opens and locks it (flock); unlock; relock: without closing it
 *   write FILE         opens, appends a line, closes
 *   create FILE        makes it, closes
 *   keep FILE          opens it as a stream and keeps that; put N: N times putc; sync; drop
 *   lend FILE          opens it; a vfork child writes to the kept file under that descriptor; pen:
 *                      writes to FILE
 *   rename FROM TO, link FROM TO, chdir FOLDER
 *   unix SOCKET, tcp PORT, pair      connects, or makes a pair; send or pour (write): one byte
 *   nap MS             fork: a child that sleeps and goes; later FILE MS: that writes then
 *   agent PROGRAM A B  runs PROGRAM both A B and writes to B.record when it has exited
 *   shell FILE         fork: a child that becomes a shell, which writes, and is waited for
 *   both FILE FILE     writes, computes half a second, waiting for nothing, writes
 *   replace            another descriptor takes the place of the locked one (dup2)
 *   range FIRST FLAGS  close_range from this descriptor on; the result is 1 if it failed
 *   scribble MS FILE   writes every 5 ms; the result is how often
 *
 * Reading the next line is a wait for input.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int locked = -1, peer = -1, lent = -1;
static FILE *kept;

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int append(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
    int done = fd < 0 ? -1 : (int)write(fd, "line\n", 5);
    if (fd >= 0)
        close(fd);
    return done;
}

static int dial_unix(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    strncpy(to.sun_path, path, sizeof to.sun_path - 1);
    peer = socket(AF_UNIX, SOCK_STREAM, 0);
    return connect(peer, (struct sockaddr *)&to, sizeof to);
}

static int dial_tcp(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    peer = socket(AF_INET, SOCK_STREAM, 0);
    return connect(peer, (struct sockaddr *)&to, sizeof to);
}

static int in_child(long sleep_ms, const char *path)
{
    pid_t child = fork();
    if (child)
        return child < 0 ? -1 : 0;
    struct timespec t = {sleep_ms / 1000, sleep_ms % 1000 * 1000000};
    nanosleep(&t, NULL);
    if (path)
        append(path);
    _exit(0);
}

static int lend(const char *path)
{
    lent = open(path, O_WRONLY | O_APPEND);
    pid_t child = vfork();
    if (!child) {
        /* Its descriptors are its own, its memory is not. */
        dup2(fileno(kept), lent);
        _exit(write(lent, "x", 1) != 1);
    }
    return lent < 0 || child < 0 ? -1 : 0;
}

static int by_shell(const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "echo line >> \"$0\"", path, NULL);
        _exit(1);
    }
    /* Nobody's status is kept: this waits until there is no child. */
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return child < 0 ? -1 : 0;
}

/* The child's exit is all that its parent hears of what it did. */
static int with_agent(const char *program, const char *a, const char *b)
{
    char record[300];
    snprintf(record, sizeof record, "%s.record", b);
    signal(SIGCHLD, SIG_DFL);
    pid_t child = fork();
    if (!child) {
        execl(program, program, "both", a, b, NULL);
        _exit(1);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status)
        return -1;
    return append(record);
}

static int obey(const char *verb, const char *a, const char *b, const char *c)
{
    if (!strcmp(verb, "agent"))
        return with_agent(a, b, c);
    if (!strcmp(verb, "lock")) {
        locked = open(a, O_RDWR | O_CREAT, 0644);
        return flock(locked, LOCK_EX);
    }
    if (!strcmp(verb, "unlock"))
        return close(locked);
    if (!strcmp(verb, "relock"))
        return flock(locked, LOCK_UN) < 0 ? -1 : flock(locked, LOCK_EX);
    if (!strcmp(verb, "write"))
        return append(a);
    if (!strcmp(verb, "create"))
        return close(open(a, O_WRONLY | O_CREAT | O_EXCL, 0644));
    if (!strcmp(verb, "keep"))
        return (kept = fopen(a, "a")) ? 0 : -1;
    if (!strcmp(verb, "put")) {
        for (long n = atol(a); n > 0; n--)
            if (putc('x', kept) == EOF)
                return -1;
        return fflush(kept);
    }
    if (!strcmp(verb, "drop"))
        return fclose(kept);
    if (!strcmp(verb, "lend"))
        return lend(a);
    if (!strcmp(verb, "pen"))
        return (int)write(lent, "x", 1);
    if (!strcmp(verb, "sync"))
        return fsync(fileno(kept));
    if (!strcmp(verb, "rename"))
        return rename(a, b);
    if (!strcmp(verb, "link"))
        return link(a, b);
    if (!strcmp(verb, "chdir"))
        return chdir(a);
    if (!strcmp(verb, "unix"))
        return dial_unix(a);
    if (!strcmp(verb, "tcp"))
        return dial_tcp(atoi(a));
    if (!strcmp(verb, "pair")) {
        int both[2], made = socketpair(AF_UNIX, SOCK_STREAM, 0, both);
        peer = both[0];
        return made;
    }
    if (!strcmp(verb, "send"))
        return (int)send(peer, "x", 1, 0);
    if (!strcmp(verb, "pour"))
        return (int)write(peer, "x", 1);
    if (!strcmp(verb, "nap"))
        return in_child(atol(a), NULL);
    if (!strcmp(verb, "later"))
        return in_child(atol(b), a);
    if (!strcmp(verb, "shell"))
        return by_shell(a);
    if (!strcmp(verb, "both")) {
        if (append(a) < 0)
            return -1;
        for (long end = now_ms() + 500; now_ms() < end;)
            ;
        return append(b);
    }
    if (!strcmp(verb, "replace"))
        return dup2(2, locked);
    if (!strcmp(verb, "range"))
        return close_range((unsigned)strtoul(a, NULL, 10), ~0u, atoi(b)) < 0;
    if (!strcmp(verb, "scribble")) {
        int count = 0;
        struct timespec t = {0, 5000000};
        for (long end = now_ms() + atol(a); now_ms() < end; count++) {
            if (append(b) < 0)
                return -1;
            nanosleep(&t, NULL);
        }
        return count;
    }
    errno = ENOTSUP;
    return -1;
}

int main(int argc, char **argv)
{
    char line[1024], said[64], verb[32], a[256], b[256], c[256];
    size_t len = 0;
    if (argc > 3)
        return obey(argv[1], argv[2], argv[3], "") < 0;
    signal(SIGCHLD, SIG_IGN);
    /* A byte at a time: no stream, so that nothing is read ahead. */
    while (read(0, line + len, 1) == 1) {
        if (line[len] != '\n') {
            if (len < sizeof line - 2)
                len++;
            continue;
        }
        line[len] = 0;
        len = 0;
        if (sscanf(line, "%31s %255s %255s %255s", verb, a, b, c) < 1)
            continue;
        int result = obey(verb, a, b, c);
        int said_len = snprintf(said, sizeof said, "ok %d\n", result < 0 ? -errno : result);
        if (write(1, said, (size_t)said_len) != said_len)
            return 1;
    }
    return 0;
}
