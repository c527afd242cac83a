/* Sections of every kind: how the lock of a set is taken, who writes its four files, how the lock goes.
 *
 * A section reads the set's number, writes the next one into all four files in any order, and is over. Whoever
 * finds the owner of the section before dead repairs the set first: that is the server's own recovery.
 */
#include "tree.h"

const char *const role_names[ROLES] = { "single", "fcntl", "flock", "ofd", "dot", "dotlink", "child",
                                        "grandchild", "exec", "pair", "mixed", "churn" };

unsigned random_below(struct me *me, unsigned n) { return (unsigned)rand_r(&me->seed) % n; }

void fail(const char *what, long detail)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&counters->failed, &none, getpid()))
        snprintf(counters->failure, sizeof counters->failure, "%s (%ld), errno %d", what, detail, errno);
    _exit(71);
}

/* One change has returned. Only those on a file that nobody else writes are timed: a call on a directory may wait
 * for another process that is inside one, and has no processor. */
void step(struct me *me, uint64_t begun, int timed)
{
    uint64_t now = now_ns(), took = now - begun, bound = atomic_load(&counters->bound_ns);
    atomic_fetch_add_explicit(&me->w->calls, 1, memory_order_relaxed);
    if (!timed)
        return;
    if (took > atomic_load_explicit(&me->w->longest_ns, memory_order_relaxed)) {
        atomic_store(&me->w->longest_ns, took);
        atomic_store(&me->w->longest_at_ns, now);
    }
    if (bound && took > bound)
        atomic_fetch_add(&me->w->late, 1);
}

/* Half of the time nothing: what comes between two steps should be short as well as long. */
void pause_somewhere(struct me *me)
{
    unsigned most = (unsigned)atomic_load(&counters->pause_us);
    if (most && random_below(me, 2)) {
        struct timespec t = { 0, (long)random_below(me, most) * 1000 };
        nanosleep(&t, NULL);
    }
}

/* A change of a file of one's own by a single call. */
void write_once(struct me *me, int file)
{
    static _Thread_local uint64_t block[2 + ONE_BYTES / 8];
    static _Thread_local int fd = -1, of = -1;
    char name[40];
    if (of != file) {
        if (fd >= 0)
            close(fd);
        snprintf(name, sizeof name, "one.%d", file);
        fd = CHANGE(me, openat(me->tree, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        if (fd < 0)
            fail(name, fd);
        of = file;
    }
    unsigned kind = random_below(me, 64);
    if (kind == 0) {
        if (TIMED(me, fchmod(fd, random_below(me, 2) ? 0600 : 0640)))
            fail("fchmod", file);
    } else if (kind == 1) {
        snprintf(name, sizeof name, "passing.%d", file);
        int other = CHANGE(me, openat(me->tree, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        if (other < 0 || close(other) || CHANGE(me, unlinkat(me->tree, name, 0)))
            fail(name, other);
    } else {
        /* Mostly small ones, which come often; a big one can be seen half-done. */
        unsigned words = kind < 8 ? ONE_BYTES / 8 : 1 + random_below(me, 64);
        uint64_t number = ((uint64_t)random_below(me, 1u << 30) << 16) | 1;
        block[0] = number;
        block[1] = words;
        for (unsigned i = 0; i < words; i++)
            block[2 + i] = number;
        size_t size = 16 + 8 * (size_t)words;
        if (TIMED(me, pwrite(fd, block, size, 0)) != (ssize_t)size)
            fail("pwrite", file);
    }
}

static void write_file(struct me *me, int set, int file, uint64_t number)
{
    char name[40], other[40];
    int fd;
    snprintf(name, sizeof name, "set.%d/%c", set, 'a' + file);
    switch (file) {
    case 0:
        fd = openat(me->tree, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || TIMED(me, pwrite(fd, &number, 8, 0)) != 8)
            fail(name, fd);
        close(fd);
        break;
    case 1: {
        fd = openat(me->tree, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        FILE *f = fd < 0 ? NULL : fdopen(fd, "r+");
        if (!f || fwrite(&number, 8, 1, f) != 1 || CHANGE(me, fclose(f)))
            fail(name, fd);
        break;
    }
    case 2:
        snprintf(other, sizeof other, "set.%d/c.tmp", set);
        fd = CHANGE(me, openat(me->tree, other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        if (fd < 0 || TIMED(me, write(fd, &number, 8)) != 8)
            fail(other, fd);
        close(fd);
        if (CHANGE(me, renameat(me->tree, other, me->tree, name)))
            fail(other, 0);
        break;
    default:
        fd = openat(me->tree, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0 || (number % RECORDS == 0 && TIMED(me, ftruncate(fd, 0))))
            fail(name, fd);
        if (TIMED(me, write(fd, &number, 8)) != 8)
            fail(name, fd);
        close(fd);
    }
}

/* Puts a set right that a death has cut: every file gets the highest number there is. */
static uint64_t repair(struct me *me, int set, int dead)
{
    struct set *s = &counters->sets[set];
    int helper = atomic_load(&s->helper);
    while (helper && !is_dead(helper))                /* it may still be writing */
        usleep(1000);
    struct numbers n = read_set(me->tree, set);
    uint64_t number = 0;
    for (int i = 0; i < FILES; i++)
        if (n.of[i] != UINT64_MAX && n.of[i] > number)
            number = n.of[i];
    write_file(me, set, 0, number);
    atomic_store(&s->cut, 0);                         /* from here on it is a section like any other */
    write_file(me, set, 1, number);
    write_file(me, set, 2, number);
    char name[40];
    uint64_t records[RECORDS], first = number - number % RECORDS;
    for (uint64_t i = 0; i <= number % RECORDS; i++)
        records[i] = first + i;
    snprintf(name, sizeof name, "set.%d/d", set);
    int fd = openat(me->tree, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ssize_t size = (ssize_t)(8 * (number % RECORDS + 1));
    if (fd < 0 || TIMED(me, ftruncate(fd, 0)) || CHANGE(me, pwrite(fd, records, (size_t)size, 0)) != size)
        fail(name, dead);
    close(fd);
    atomic_store(&s->helper, 0);
    if (dead)
        atomic_fetch_add(&s->repaired, 1);
    return number;
}

/* The lock is held: the section's new number. */
static uint64_t begin(struct me *me, int set)
{
    struct set *s = &counters->sets[set];
    atomic_store(&me->w->set, set);
    int before = atomic_load(&s->owner);              /* nobody else changes it: the lock is ours */
    if (before)
        atomic_store(&s->cut, 1);
    atomic_exchange(&s->owner, getpid());
    struct numbers n = read_set(me->tree, set);
    if (before)
        return repair(me, set, before) + 1;
    if (n.of[0] == UINT64_MAX && n.of[1] == UINT64_MAX)
        return repair(me, set, 0) + 1;                /* a new set */
    if (!is_whole(&n)) {
        errno = 0;
        fail("a section found a set that is not whole, and nobody died", set);
    }
    return n.of[0] + 1;
}

/* All four files are written; the lock is still held. */
static void end(struct me *me, int set)
{
    struct set *s = &counters->sets[set];
    atomic_fetch_add(&s->done, 1);
    atomic_store(&s->owner, 0);
    atomic_store(&me->w->set, -1);
}

/* The files of `mask`, in any order. */
static void write_files(struct me *me, int set, uint64_t number, int mask)
{
    unsigned first = random_below(me, FILES);
    for (unsigned i = 0; i < FILES; i++) {
        int file = (int)((first + i) % FILES);
        if (mask & 1 << file) {
            write_file(me, set, file, number);
            pause_somewhere(me);
        }
    }
}

static int lock_file(struct me *me, int set, int flags)
{
    char name[40];
    snprintf(name, sizeof name, "%d", set);
    int fd = openat(me->locks, name, O_RDWR | O_CREAT | flags, 0600);
    if (fd < 0)
        fail("lock file", set);
    return fd;
}

static void posix_lock(int fd, int command, short type)
{
    struct flock l = { .l_type = type, .l_whence = SEEK_SET };
    while (fcntl(fd, command, &l) < 0)
        if (errno != EINTR)
            fail("fcntl lock", fd);
}

static void flock_take(int fd)
{
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            fail("flock", fd);
}

/* A lock file whose owner is dead is removed, by one process at a time. */
static void steal_if_dead(struct me *me, int set, const char *name)
{
    char text[16] = "";
    int dir = openat(me->locks, "steal", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (dir < 0 || flock(dir, LOCK_EX | LOCK_NB)) {
        close(dir);
        return;
    }
    struct stat st;
    if (fstatat(me->tree, name, &st, 0) == 0) {
        ssize_t n = read_file(me->tree, name, text, sizeof text - 1);
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        /* One that was killed before it wrote its number: by age. */
        if ((n > 0 && is_dead(atoi(text))) || (n == 0 && now.tv_sec - st.st_mtim.tv_sec > 3))
            if (CHANGE(me, unlinkat(me->tree, name, 0)) && errno != ENOENT)
                fail("stale lock file", set);
    }
    close(dir);
}

static void dotlock_take(struct me *me, int set, int by_link)
{
    char name[40], post[60], text[16];
    snprintf(name, sizeof name, "set.%d/box.lock", set);
    snprintf(post, sizeof post, "set.%d/box.lock.%d.here", set, getpid());
    int size = snprintf(text, sizeof text, "%d\n", getpid());
    for (;;) {
        int fd = CHANGE(me, openat(me->tree, by_link ? post : name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (fd < 0 && errno != EEXIST)
            fail("lock file", set);
        if (fd >= 0 && (CHANGE(me, write(fd, text, (size_t)size)) != size || close(fd)))
            fail("lock file's content", set);
        if (by_link) {
            int linked = CHANGE(me, linkat(me->tree, post, me->tree, name, 0));
            if (CHANGE(me, unlinkat(me->tree, post, 0)))
                fail("hitching post", set);
            fd = linked ? -1 : 0;
        }
        if (fd >= 0)
            return;
        steal_if_dead(me, set, name);
        usleep(500 + random_below(me, 2000));
    }
}

/* The lock of a set, by kind: the descriptor it lies on, -1 for a lock file. */
static int take(struct me *me, int kind, int set)
{
    char name[40];
    int fd;
    switch (kind) {
    case FCNTL:
        posix_lock(fd = lock_file(me, set, O_CLOEXEC), F_SETLKW, F_WRLCK);
        return fd;
    case OFD:
        posix_lock(fd = lock_file(me, set, O_CLOEXEC), F_OFD_SETLKW, F_WRLCK);
        return fd;
    case FLOCK:
        snprintf(name, sizeof name, "set.%d/guard", set);   /* this one lies in the tree */
        if ((fd = openat(me->tree, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
            fail(name, set);
        flock_take(fd);
        return fd;
    default:
        dotlock_take(me, set, kind == DOTLINK);
        return -1;
    }
}

/* All the ways in which a lock ends. */
static void release(struct me *me, int kind, int set, int fd)
{
    char name[40];
    unsigned way = random_below(me, 3);
    if (fd < 0) {
        snprintf(name, sizeof name, "set.%d/box.lock", set);
        if (CHANGE(me, unlinkat(me->tree, name, 0)))
            fail("own lock file", set);
        return;
    }
    if (way == 0 && kind == FLOCK)
        flock(fd, LOCK_UN);
    else if (way == 0)
        posix_lock(fd, kind == OFD ? F_OFD_SETLK : F_SETLK, F_UNLCK);
    else if (way == 1 && kind == FCNTL)
        close(lock_file(me, set, O_CLOEXEC));          /* the first close of any descriptor */
    else if (way == 1) {
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        dup2(null, fd);
        close(null);
    }
    close(fd);
}

/* What a child does of its parent's section: in this program, or in another one. */
static _Noreturn void help(struct me *me, int set, uint64_t number, int mask)
{
    if (random_below(me, 4) == 0) {
        char s[16], n[24], m[16], w[16], seed[16];
        snprintf(s, sizeof s, "%d", set);
        snprintf(n, sizeof n, "%llu", (unsigned long long)number);
        snprintf(m, sizeof m, "%d", mask);
        snprintf(w, sizeof w, "%d", (int)(me->w - counters->workers));
        snprintf(seed, sizeof seed, "%u", me->seed);
        execl(self_path, "stress-helper", "help", tree_path, locks_path, counters_path, w, seed, s, n, m, (char *)0);
        fail("exec of a helper", set);
    }
    write_files(me, set, number, mask);
    _exit(0);
}

static pid_t forked(struct me *me, int set)
{
    pid_t child = fork();
    if (child < 0)
        fail("fork", set);
    if (child == 0)
        me->seed ^= (unsigned)getpid();
    return child;
}

/* In a child that is about to write for a section: the owner may have been killed meanwhile. It says that it is
 * there, then looks; who repairs takes the set over, then looks who is there. */
static void helps(int set, int owner)
{
    atomic_store(&counters->sets[set].helper, getpid());
    if (atomic_load(&counters->sets[set].owner) != owner)
        _exit(1);
}

/* "Parent locks, child writes and exits, parent records." */
static void with_child(struct me *me, int set)
{
    int fd = take(me, FCNTL, set);
    uint64_t number = begin(me, set);
    int mine = random_below(me, 2) ? 1 : 0, childs = 6;        /* a before or after; b and c; d is the record */
    write_files(me, set, number, mine);
    int status, owner = getpid();
    pid_t child = forked(me, set);
    if (child == 0) {
        helps(set, owner);
        help(me, set, number, childs);
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            fail("waitpid", set);
    pause_somewhere(me);                                /* the child is gone, the record is not there */
    /* A child that was killed has left its part half-done. */
    write_files(me, set, number, status ? 15 & ~mine & ~8 : 15 & ~mine & ~childs & ~8);
    write_files(me, set, number, 8);
    atomic_store(&counters->sets[set].helper, 0);
    end(me, set);
    release(me, FCNTL, set, fd);
}

/* A grandchild writes; its parent waits for it, or is gone before it has begun. */
static void with_grandchild(struct me *me, int set)
{
    int ready[2], fd = take(me, FLOCK, set);
    uint64_t number = begin(me, set);
    int orphaned = random_below(me, 3) == 0, owner = getpid();
    if (pipe2(ready, O_CLOEXEC))
        fail("pipe", set);
    pid_t child = forked(me, set);
    if (child == 0) {
        pid_t grandchild = forked(me, set);
        if (grandchild == 0) {
            if (orphaned)
                usleep(random_below(me, 2000));
            helps(set, owner);
            write_files(me, set, number, 2);
            _exit(write(ready[1], "", 1) != 1);
        }
        if (!orphaned) {
            int status;
            waitpid(grandchild, &status, 0);
            write_files(me, set, number, 4);
            _exit(0);
        }
        _exit(0);
    }
    close(ready[1]);
    int status;
    waitpid(child, &status, 0);
    char done;
    if (read(ready[0], &done, 1) != 1 || status)
        fail("a child or grandchild did not do its part", status);
    close(ready[0]);
    write_files(me, set, number, orphaned ? 5 : 1);
    write_files(me, set, number, 8);
    atomic_store(&counters->sets[set].helper, 0);
    end(me, set);
    release(me, FLOCK, set, fd);
}

/* Another program goes on under the lock. */
static void with_exec(struct me *me, int set)
{
    int flocks = (int)random_below(me, 2), fd = lock_file(me, set, 0);
    if (flocks)
        flock_take(fd);
    posix_lock(fd, F_SETLKW, F_WRLCK);
    uint64_t number = begin(me, set);
    int mine = (int)random_below(me, 16);               /* also none, also all */
    write_files(me, set, number, mine);
    char w[16], seed[16], s[16], n[24], m[16], f[16];
    snprintf(w, sizeof w, "%d", (int)(me->w - counters->workers));
    snprintf(seed, sizeof seed, "%u", me->seed);
    snprintf(s, sizeof s, "%d", set);
    snprintf(n, sizeof n, "%llu", (unsigned long long)number);
    snprintf(m, sizeof m, "%d", 15 & ~mine);
    snprintf(f, sizeof f, "%d", fd);
    execl(self_path, "stress-exec", "after", tree_path, locks_path, counters_path, w, seed, s, n, m, f, (char *)0);
    fail("exec", set);
}

void finish_after_exec(struct me *me, int set, uint64_t number, int rest, int fd)
{
    write_files(me, set, number, rest);
    end(me, set);
    close(fd);
}

void finish_as_helper(struct me *me, int set, uint64_t number, int mask)
{
    write_files(me, set, number, mask);
}

/* A section that needs a second lock on its way, whose holder may itself be held. */
static void with_another(struct me *me, int set, int other)
{
    int low = set < other ? set : other, high = set < other ? other : set;
    int first = take(me, FCNTL, low);
    uint64_t a = begin(me, low);
    write_files(me, low, a, 1);
    int second = take(me, FCNTL, high);
    uint64_t b = begin(me, high);
    atomic_store(&me->w->set, low);
    write_files(me, high, b, 15);
    if (random_below(me, 2)) {
        end(me, high);
        release(me, FCNTL, high, second);
        second = -1;
    }
    write_files(me, low, a, 14);
    end(me, low);
    release(me, FCNTL, low, first);
    if (second >= 0) {
        end(me, high);
        release(me, FCNTL, high, second);
    }
}

void one_section(struct me *me, int set, int other)
{
    switch (me->role) {
    case CHILD: with_child(me, set); return;
    case GRANDCHILD: with_grandchild(me, set); return;
    case EXEC: with_exec(me, set); return;
    case PAIR:
        if (set != other) {
            with_another(me, set, other);
            return;
        }
        break;
    }
    int kind = me->role == PAIR ? FCNTL : me->role == MIXED ? OFD : me->role;
    int fd = take(me, kind, set);
    uint64_t number = begin(me, set);
    write_files(me, set, number, 15);
    end(me, set);
    release(me, kind, set, fd);
}
