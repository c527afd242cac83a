/* The stress workload: processes of several roles that change files under a protected tree until told to stop.
 *
 *   worker run TREE LOCKS COUNTERS ROLE:PROCESSES:FIRST-SET:SETS ...
 *
 * The parent forks them, lives on, and replaces those that a SIGKILL ends; any other end is an error. It prints
 * "ready" once every set is there. `worker help ...` and `worker after ...` are what the roles exec.
 */
#include "stress.h"
#include <spawn.h>

struct counters *counters;
const char *self_path, *tree_path, *locks_path, *counters_path;

/* One process to keep alive: what it is, and the places of its threads. */
struct place { int role, first, sets, worker, pid; };
static struct place places[WORKERS];
static int place_count;

enum { THREADS_OF_MIXED = 3, THREADS_OF_SINGLE = 2, SLEEPERS = 4 };

static int threads_of(int role) { return role == MIXED ? THREADS_OF_MIXED : role == SINGLE ? THREADS_OF_SINGLE : 1; }

static void open_places(struct me *me)
{
    me->tree = open(tree_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    me->locks = open(locks_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (me->tree < 0 || me->locks < 0)
        fail("tree", 0);
}

static int going_on(void) { return !atomic_load_explicit(&counters->stop, memory_order_relaxed); }

/* Children without locks: some write and exit, some become something else, some are killed on their way. */
static void churn(struct me *me, int file)
{
    extern char **environ;
    char *to_true[] = { "true", NULL };
    pid_t child;
    volatile int killed = 0;
    int status;
    switch (random_below(me, 5)) {
    case 0:
        if (posix_spawn(&child, "/bin/true", NULL, NULL, to_true, environ))
            fail("spawn", 0);
        break;
    case 1:
        if ((child = vfork()) == 0) {
            execv("/bin/true", to_true);
            _exit(127);
        }
        break;
    case 2:
        killed = 1; /* fall through */
    default:
        if ((child = fork()) == 0) {
            /* A kill inside a write of several pages leaves half of it, gate or none. */
            while (killed)
                pause();
            for (unsigned i = 0; i < 20; i++)
                write_once(me, file);
            if (random_below(me, 2))
                execv("/bin/true", to_true);
            _exit(0);
        }
    }
    if (child < 0)
        fail("fork", 0);
    if (killed) {
        usleep(random_below(me, 3000));
        kill(child, SIGKILL);
    }
    if (waitpid(child, &status, 0) != child || (status && !(killed && WIFSIGNALED(status))))
        fail("child of churn", status);
}

/* At full speed; where sections are drawn out, with pauses, so that they too are given a processor. */
static void write_often(struct me *me, int file)
{
    for (int i = 0; i < 50; i++)
        write_once(me, file);
    if (atomic_load(&counters->pause_us) > 1000)
        pause_somewhere(me);
}

/* One thread's life. */
static void live(struct me *me, const struct place *p, int thread)
{
    int worker = (int)(me->w - counters->workers);
    while (going_on()) {
        int set = p->first + (int)random_below(me, (unsigned)(p->sets ? p->sets : 1));
        int other = p->first + (int)random_below(me, (unsigned)(p->sets ? p->sets : 1));
        if (p->role == SINGLE || (p->role == MIXED && thread > 0))
            write_often(me, worker);
        else if (p->role == CHURN)
            churn(me, worker);
        else {
            one_section(me, set, other);
            pause_somewhere(me);
        }
    }
}

struct start { struct place place; int thread; };

static struct me who(int worker, int role, unsigned seed)
{
    struct me me = { .w = &counters->workers[worker], .seed = seed, .role = role };
    open_places(&me);
    atomic_store(&me.w->pid, getpid());
    return me;
}

static void *thread_main(void *argument)
{
    struct start *s = argument;
    struct me me = who(s->place.worker + s->thread, s->place.role, (unsigned)now_ns() ^ (unsigned)s->thread << 20);
    atomic_store(&me.w->set, -1);
    live(&me, &s->place, s->thread);
    return NULL;
}

static _Noreturn void process_main(const struct place *p)
{
    static struct start starts[8];
    pthread_t ids[8];
    int threads = threads_of(p->role);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int t = 1; t < threads; t++) {
        starts[t] = (struct start){ *p, t };
        if (pthread_create(&ids[t], NULL, thread_main, &starts[t]))
            fail("thread", t);
    }
    starts[0] = (struct start){ *p, 0 };
    thread_main(&starts[0]);
    for (int t = 1; t < threads; t++)
        pthread_join(ids[t], NULL);
    _exit(0);
}

/* Sleeps as long as a writer may be held, and says by how much the machine oversleeps. */
static _Noreturn void sleeper(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (going_on()) {
        uint64_t length = atomic_load(&counters->sleep_ns), begun = now_ns();
        struct timespec t = { (time_t)(length / 1000000000u), (long)(length % 1000000000u) };
        if (!length)
            t.tv_nsec = 1000000;
        nanosleep(&t, NULL);
        uint64_t over = now_ns() - begun - length;
        if (length && over > atomic_load(&counters->overslept_ns))
            atomic_store(&counters->overslept_ns, over);
    }
    _exit(0);
}

static void start(struct place *p)
{
    if ((p->pid = fork()) < 0)
        err(71, "fork");
    if (p->pid == 0)
        process_main(p);
}

static int parse(char *text, struct place *p, int *processes)
{
    char *name = strtok(text, ":");
    char *part[3] = { strtok(NULL, ":"), strtok(NULL, ":"), strtok(NULL, ":") };
    for (p->role = 0; name && p->role < ROLES && strcmp(name, role_names[p->role]); p->role++) {}
    if (p->role == ROLES || !part[2])
        return 0;
    *processes = atoi(part[0]);
    p->first = atoi(part[1]);
    p->sets = atoi(part[2]);
    return *processes > 0 && p->first >= 0 && p->sets >= 0 && p->first + p->sets <= SETS;
}

/* Makes the sets of one place, so that no checker ever finds one that is only being made. */
static void make_sets(struct place *p)
{
    char name[40];
    struct me me = who(p->worker, p->role == PAIR || p->role == MIXED ? p->role : FCNTL, 1);
    for (int set = p->first; set < p->first + p->sets; set++) {
        snprintf(name, sizeof name, "set.%d", set);
        if (mkdirat(me.tree, name, 0700) && errno != EEXIST)
            fail(name, 0);
        one_section(&me, set, set);
    }
    close(me.tree);
    close(me.locks);
    atomic_store(&me.w->pid, 0);                       /* nobody's yet: this is the parent, which is never killed */
}

static int run(int argc, char **argv)
{
    int next = 0, living = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < argc; i++) {
        struct place p = { 0 };
        int processes;
        if (!parse(argv[i], &p, &processes))
            errx(64, "not ROLE:PROCESSES:FIRST-SET:SETS: argument %d", i);
        for (int n = 0; n < processes; n++) {
            if (next + threads_of(p.role) > WORKERS)
                errx(64, "too many workers");
            p.worker = next;
            for (int t = 0; t < threads_of(p.role); t++)
                snprintf(counters->workers[next + t].role, sizeof counters->workers[0].role, "%s", role_names[p.role]);
            next += threads_of(p.role);
            if (n == 0)
                make_sets(&p);
            places[place_count++] = p;
        }
    }
    for (int i = 0; i < SLEEPERS; i++)
        if (fork() == 0)
            sleeper();
    for (int i = 0; i < place_count; i++, living++)
        start(&places[i]);
    puts("ready");
    fflush(stdout);
    while (living) {
        int status;
        pid_t dead = waitpid(-1, &status, WNOHANG);
        if (dead <= 0) {
            usleep(1000);
            continue;
        }
        for (int i = 0; i < place_count; i++) {
            if (places[i].pid != dead)
                continue;
            living--;
            if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && going_on()) {
                atomic_fetch_add(&counters->deaths, 1);
                start(&places[i]);
                living++;
            } else if (status && !WIFSIGNALED(status)) {
                int none = 0;
                if (atomic_compare_exchange_strong(&counters->failed, &none, dead))
                    snprintf(counters->failure, sizeof counters->failure, "a %s ended with status %x",
                             role_names[places[i].role], status);
            } else if (status && WTERMSIG(status) != SIGKILL) {
                atomic_store(&counters->failed, dead);
                snprintf(counters->failure, sizeof counters->failure, "a %s died of signal %d",
                         role_names[places[i].role], WTERMSIG(status));
            }
        }
    }
    return atomic_load(&counters->failed) ? 1 : 0;
}

int main(int argc, char **argv)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || argc < 5)
        errx(64, "usage: worker run TREE LOCKS COUNTERS ROLE:PROCESSES:FIRST-SET:SETS ...");
    self_path = path;
    tree_path = argv[2], locks_path = argv[3], counters_path = argv[4];
    counters = map_counters(counters_path);
    if (!strcmp(argv[1], "run"))
        return run(argc - 5, argv + 5);
    if (argc < 10)
        return 64;
    int worker = atoi(argv[5]), set = atoi(argv[7]), mask = atoi(argv[9]);
    uint64_t number = strtoull(argv[8], NULL, 10);
    if (!strcmp(argv[1], "help")) {
        struct me me = { .w = &counters->workers[worker], .seed = (unsigned)atoi(argv[6]), .role = CHILD };
        open_places(&me);
        finish_as_helper(&me, set, number, mask);
        return 0;
    }
    struct me me = who(worker, EXEC, (unsigned)atoi(argv[6]) + 1);
    finish_after_exec(&me, set, number, mask, atoi(argv[10]));
    /* Its sets: those of the role, which it no longer knows; the one it has is enough. */
    struct place p = { .role = EXEC, .first = set, .sets = 1, .worker = worker };
    live(&me, &p, 0);
    return 0;
}
