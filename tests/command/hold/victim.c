/* victim MODE DIR PAIRS: appends one byte to DIR/pN.a, then one to DIR/pN.b, under a lock on DIR/pN.l, again and
   again, N by turns. A pair of different lengths is a set that was cut in two. Static: no preload reaches it.

   fcntl flock ofd shared    by such a lock (shared: an flock shared by a writer, one process a pair)
   threads                   three threads, an OFD lock each
   nested                    as threads, each with a lock inside another
  spawn                     as threads, and a thread that makes threads which end at once
   fork                      the lock is taken, and a child makes the second half; the parent waits for it
   vfork                     the same by a child with our memory
   pass                      one takes the flock, its child makes both halves and ends; the lock ends with the last descriptor
   exec                      becomes itself again under the lock, between the halves
   pipe                      the lock's holder asks a helper without a lock to make the second half
   manager                   four agents are given work by a manager without a lock, by local sockets; each keeps its lock until the
                             manager has taken the result, and gets new work at once (as Postfix's delivery agents)
   settled                   makes a whole set, and keeps its lock while its child sleeps 2 s and then makes another (as Exim's deliveries)
   begun                     the same, but the child makes the first half before it sleeps
   until-wait                without a lock, and sleeps after each pair
   tells, hears              without a lock: one makes the first half, says so on its output, and sleeps; the other, which hears it on
                             its input, makes the second half
   sends-off                 runs $AGENT again and again, which as `once` makes a set without a lock, with a sleep in it, and ends
   dotlock                   the lock is a file that is made and removed (pN.lock)
   map                       under an fcntl lock, by stores into two mapped files (pN.m, pN.n) instead of writes
   free                      without a lock: what a stop anywhere would cut
   signals                   as fcntl, and counts signals: SIGUSR1 and a real-time one; says the counts when SIGTERM comes
   idle                      waits for a signal
   sleeps                    sleeps for an hour
   keeps                     takes one fcntl lock and keeps it
   loads                     works for 2.5 s with another program ($AGENT) mapped, as a loader of its own kind, then becomes that (as fcntl)
   wait                      waits in epoll_wait, again and again
*/
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *mode, *dir, *self, *count;
static int pairs;

static void must(int ok, const char *what) { if (!ok) { perror(what); _exit(3); } }
static int file(int pair, char which)
{
    char name[4096];
    snprintf(name, sizeof name, "%s/p%d.%c", dir, pair, which);
    int fd = open(name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    must(fd >= 0, name);
    return fd;
}
static void half(int pair, char which)
{
    int fd = file(pair, which);
    must(write(fd, "1", 1) == 1, "write");
    close(fd);
}
static void set(int fd, int command, int type)
{
    struct flock what = {.l_type = type, .l_whence = SEEK_SET};
    int done;
    do done = fcntl(fd, command, &what); while (done < 0 && errno == EINTR);
    must(done == 0, "fcntl");
}
static void lock(int fd, const char *how, int on)
{
    if (!strcmp(how, "fcntl")) set(fd, F_SETLKW, on ? F_WRLCK : F_UNLCK);
    else if (!strcmp(how, "ofd")) set(fd, F_OFD_SETLKW, on ? F_WRLCK : F_UNLCK);
    else while (flock(fd, !on ? LOCK_UN : strcmp(how, "shared") ? LOCK_EX : LOCK_SH) < 0) must(errno == EINTR, "flock");
}
static void store(int pair, char which)
{
    static volatile long *mapped[64][2];
    volatile long **at = &mapped[pair % 64][which == 'b'];
    if (!*at) {
        int fd = file(pair, which == 'a' ? 'm' : 'n');
        must(!ftruncate(fd, 4096), "ftruncate");
        *at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        must(*at != MAP_FAILED, "mmap");
        close(fd);
    }
    ++**at;
}
static void think(void) { for (volatile int i = 0; i < 20000; i++) ; }

static void plain(const char *how, int pair)
{
    int fd = file(pair, 'l');
    lock(fd, how, 1);
    half(pair, 'a');
    think();
    half(pair, 'b');
    lock(fd, how, 0);
    close(fd);
}
static void by_stores(int pair)
{
    /* Mapped before the lock is taken: what a gated one does under the lock is stores alone. */
    static int lock_fd[64], known[64];
    if (!known[pair % 64]++) { lock_fd[pair % 64] = file(pair, 'l'); close(file(pair, 'm')); close(file(pair, 'n')); }
    int fd = lock_fd[pair % 64];
    lock(fd, "fcntl", 1);
    store(pair, 'a');
    think();
    store(pair, 'b');
    lock(fd, "fcntl", 0);
}
static void by_dotlock(int pair)
{
    char name[4096];
    snprintf(name, sizeof name, "%s/p%d.lock", dir, pair);
    int fd;
    while ((fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600)) < 0) { must(errno == EEXIST, "dotlock"); usleep(500); }
    dprintf(fd, "%d\n", (int)getpid());
    close(fd);
    half(pair, 'a');
    think();
    half(pair, 'b');
    must(!unlink(name), "unlink");
}
static void by_child(int pair, int shares)
{
    int fd = file(pair, 'l');
    lock(fd, "fcntl", 1);
    half(pair, 'a');
    pid_t child = shares ? vfork() : fork();
    if (!child) { half(pair, 'b'); _exit(0); }
    must(child > 0, "fork");
    while (waitpid(child, 0, 0) < 0) must(errno == EINTR, "waitpid");
    lock(fd, "fcntl", 0);
    close(fd);
}
static void passed_on(int pair)
{
    int fd = file(pair, 'l');
    lock(fd, "flock", 1);
    pid_t child = fork();
    if (!child) { half(pair, 'a'); think(); half(pair, 'b'); _exit(0); }
    must(child > 0, "fork");
    close(fd);
    while (waitpid(child, 0, 0) < 0) must(errno == EINTR, "waitpid");
}
/* The child works under its parent's lock, after a sleep. */
static void asleep(int pair, int begun)
{
    int fd = file(pair, 'l');
    lock(fd, "fcntl", 1);
    half(pair, 'a');
    half(pair, 'b');
    pid_t child = fork();
    if (!child) {
        if (begun) half(pair, 'a');
        struct timespec left = {.tv_sec = 2};
        while (nanosleep(&left, &left)) must(errno == EINTR, "nanosleep");
        if (!begun) half(pair, 'a');
        think();
        half(pair, 'b');
        _exit(0);
    }
    must(child > 0, "fork");
    while (waitpid(child, 0, 0) < 0) must(errno == EINTR, "waitpid");
    lock(fd, "fcntl", 0);
    close(fd);
}
/* The second half is made by the image that comes after. */
static void becomes_itself(int pair)
{
    int fd = file(pair, 'l');
    fcntl(fd, F_SETFD, 0);
    lock(fd, "flock", 1);
    half(pair, 'a');
    char next[12], locked[12];
    sprintf(next, "%d", pair);
    sprintf(locked, "%d", fd);
    execl(self, self, mode, dir, count, next, locked, (char *)0);
    must(0, "exec");
}
static int asks[2], answers[2];
static void helper(void)
{
    int pair;
    while (read(asks[0], &pair, sizeof pair) == sizeof pair) {
        half(pair, 'b');
        must(write(answers[1], "", 1) == 1, "answer");
    }
    _exit(0);
}
static void by_helper(int pair)
{
    char done;
    int fd = file(pair, 'l');
    lock(fd, "fcntl", 1);
    half(pair, 'a');
    must(write(asks[1], &pair, sizeof pair) == sizeof pair && read(answers[0], &done, 1) == 1, "helper");
    lock(fd, "fcntl", 0);
    close(fd);
}
/* One byte at a time; a wait that a stop has ended is begun again. */
static char get(int fd)
{
    char one;
    ssize_t got;
    do got = recv(fd, &one, 1, 0); while (got < 0 && errno == EINTR);
    if (got != 1) _exit(0);
    return one;
}
static void put(int fd) { must(send(fd, "1", 1, MSG_NOSIGNAL) == 1, "send"); }
static void agent(int manager, int pair)
{
    for (;;) {
        get(manager);
        int fd = file(pair, 'l');
        lock(fd, "fcntl", 1);
        half(pair, 'a');
        think();
        half(pair, 'b');
        put(manager);
        struct pollfd taken = {.fd = manager, .events = POLLIN};
        while (poll(&taken, 1, -1) != 1) must(errno == EINTR, "poll");
        get(manager);
        lock(fd, "fcntl", 0);
        close(fd);
    }
}
static void manage(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    int e = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < 4; i++) {
        int pair[2];
        must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
        if (!fork()) { close(pair[0]); agent(pair[1], i); }
        close(pair[1]);
        event.data.fd = pair[0];
        epoll_ctl(e, EPOLL_CTL_ADD, pair[0], &event);
        put(pair[0]);
    }
    for (;;) {
        if (epoll_wait(e, &event, 1, -1) != 1) { must(errno == EINTR, "epoll_wait"); continue; }
        get(event.data.fd);
        /* The result is taken; and more work. */
        put(event.data.fd);
        put(event.data.fd);
    }
}
static void tell(void)
{
    for (int pair = 0;; pair = (pair + 1) % pairs) {
        half(pair, 'a');
        think();
        must(write(1, &pair, sizeof pair) == sizeof pair, "told");
        usleep(500);
    }
}
static void hear(void)
{
    int pair;
    while (read(0, &pair, sizeof pair) == sizeof pair) { think(); half(pair, 'b'); }
    _exit(0);
}
static void once(int pair) { half(pair, 'a'); usleep(2000); half(pair, 'b'); _exit(0); }
static void send_off(void)
{
    for (int pair = 0;; pair = (pair + 1) % pairs) {
        char number[12];
        sprintf(number, "%d", pair);
        pid_t agent = fork();
        if (!agent) { execl(getenv("AGENT"), "agent", "once", dir, count, number, (char *)0); _exit(4); }
        must(agent > 0, "fork");
        while (waitpid(agent, 0, 0) < 0) must(errno == EINTR, "waitpid");
        usleep(500);
    }
}
static void *in_thread(void *unused)
{
    int inner = !strcmp(mode, "nested"), around = inner ? file(pairs, 'l') : -1;
    for (int pair = 0;; pair = (pair + 1) % pairs) {
        if (inner) lock(around, "ofd", 1);
        plain("ofd", pair);
        if (inner) { lock(around, "ofd", 0); think(); }
    }
    return unused;
}
static void *ends_at_once(void *unused) { plain("ofd", 0); return unused; }
static void threads(int spawn)
{
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    for (int i = 0; i < 2 + !spawn; i++) pthread_create(&thread, &small, in_thread, 0);
    for (;;) {
        if (!spawn) { pause(); continue; }
        if (!pthread_create(&thread, &small, ends_at_once, 0)) pthread_join(thread, 0);
    }
}
static volatile sig_atomic_t usr1, real_time, over;
static void on_usr1(int s) { (void)s; usr1++; }
static void on_real_time(int s) { (void)s; real_time++; }
static void on_term(int s) { (void)s; over = 1; }

/* As valgrind, which has no loader and loads what its program would. */
static void load(void)
{
    const char *agent = getenv("AGENT");
    int fd = open(agent, O_RDONLY | O_CLOEXEC);
    must(fd >= 0 && mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED, agent);
    struct timespec now, begun;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000 < 2500);
    execl(agent, agent, "fcntl", dir, count, (char *)0);
    must(0, "exec");
}

int main(int argc, char **argv)
{
    must(argc >= 4, "arguments");
    self = "/proc/self/exe"; mode = argv[1]; dir = argv[2]; count = argv[3]; pairs = atoi(argv[3]);
    int from = getpid() % pairs;
    if (argc == 6) { from = atoi(argv[4]); half(from, 'b'); close(atoi(argv[5])); }
    if (!strcmp(mode, "threads") || !strcmp(mode, "spawn") || !strcmp(mode, "nested")) threads(!strcmp(mode, "spawn"));
    if (!strcmp(mode, "manager")) manage();
    if (!strcmp(mode, "loads")) load();
    if (!strcmp(mode, "tells")) tell();
    if (!strcmp(mode, "hears")) hear();
    if (!strcmp(mode, "sends-off")) send_off();
    if (!strcmp(mode, "once")) once(atoi(argv[4]));
    if (!strcmp(mode, "keeps")) lock(file(0, 'l'), "fcntl", 1);
    if (!strcmp(mode, "idle") || !strcmp(mode, "keeps")) for (;;) pause();
    if (!strcmp(mode, "sleeps")) for (;;) sleep(3600);
    if (!strcmp(mode, "wait")) {
        int e = epoll_create1(0);
        struct epoll_event event;
        for (;;) must(epoll_wait(e, &event, 1, 1000) == 0 || errno == EINTR, "epoll_wait");
    }
    if (!strcmp(mode, "pipe")) {
        must(!pipe2(asks, O_CLOEXEC) && !pipe2(answers, O_CLOEXEC), "pipe");
        if (!fork()) { close(asks[1]); helper(); }
    }
    if (!strcmp(mode, "signals")) {
        struct sigaction action = {.sa_handler = on_usr1};
        sigaction(SIGUSR1, &action, 0);
        action.sa_handler = on_real_time;
        sigaction(SIGRTMIN + 3, &action, 0);
        action.sa_handler = on_term;
        sigaction(SIGTERM, &action, 0);
        printf("READY\n");
        fflush(stdout);
    }
    for (int pair = (from + 1) % pairs; !over; pair = (pair + 1) % pairs) {
        if (!strcmp(mode, "fork")) by_child(pair, 0);
        else if (!strcmp(mode, "vfork")) by_child(pair, 1);
        else if (!strcmp(mode, "settled") || !strcmp(mode, "begun")) asleep(pair, *mode == 'b');
        else if (!strcmp(mode, "pass")) passed_on(pair);
        else if (!strcmp(mode, "exec")) becomes_itself(pair);
        else if (!strcmp(mode, "pipe")) by_helper(pair);
        else if (!strcmp(mode, "dotlock")) { by_dotlock(pair); think(); think(); }
        else if (!strcmp(mode, "map")) by_stores(pair);
        else if (!strcmp(mode, "free")) { half(pair, 'a'); think(); half(pair, 'b'); }
        else if (!strcmp(mode, "until-wait")) { half(pair, 'a'); for (int i = 0; i < 20; i++) think(); half(pair, 'b'); usleep(1); }
        else plain(!strcmp(mode, "signals") ? "fcntl" : mode, pair);
        think();
    }
    printf("%d %d\n", (int)usr1, (int)real_time);
    return 0;
}
