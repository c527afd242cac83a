/* Reads the whole tree twice while it is frozen, and says into the counters what it saw.
 *
 *   checker TREE COUNTERS MICROSECONDS [ROUNDS]
 *
 * torn     sets whose four files do not carry one number, files that hold half a call
 * cut      such sets whose owner is dead: the server's own recovery
 * changed  files whose name, size, mode, times or content changed between the two readings
 * inside   threads from which two or more calls returned meanwhile (one may have been on its way back)
 * Exit 0: nothing torn, changed or inside. 3: something was.
 */
#include "tree.h"
#include <dirent.h>

struct counters *counters;

enum { MOST = 1024 };
struct file { char name[64]; struct stat st; uint64_t sum; };
struct reading { size_t count; struct file files[MOST]; };

static struct reading readings[2];
static struct seen seen;

static void finding(uint64_t *kind, const char *name, const char *what, uint64_t a, uint64_t b)
{
    if (!(*kind)++ && kind != &seen.cut && !seen.first[0])
        snprintf(seen.first, sizeof seen.first, "%s: %s: %llx, %llx", name, what, (unsigned long long)a,
                 (unsigned long long)b);
}

static uint64_t sum_of(const uint64_t *words, size_t bytes)
{
    uint64_t sum = bytes;
    for (size_t i = 0; i < (bytes + 7) / 8; i++)
        sum = (sum ^ words[i]) * 0x9e3779b97f4a7c15ull;
    return sum;
}

/* A file of one thread: all of its last call, or nothing of it. */
static void check_one(const char *name, const uint64_t *words, ssize_t n)
{
    uint64_t bytes = 16 + 8 * words[1];
    if (n < 16)
        return;                                          /* made, not written yet */
    for (size_t i = 0; i < words[1] && 8 * (i + 3) <= (size_t)n; i++)
        if (words[2 + i] != words[0]) {
            finding(&seen.torn, name, "half of a call", words[0], words[2 + i]);
            return;
        }
    if (words[1] > ONE_BYTES / 8 || bytes > (uint64_t)n)
        finding(&seen.torn, name, "shorter than its call", bytes, (uint64_t)n);
}

static void read_directory(int tree, const char *below, struct reading *r, int check)
{
    static uint64_t words[8192];
    int dir = openat(tree, below[0] ? below : ".", O_RDONLY | O_DIRECTORY);
    DIR *list = dir < 0 ? NULL : fdopendir(dir);
    if (!list)
        err(70, "%s", below);
    for (struct dirent *e; (e = readdir(list));) {
        if (e->d_name[0] == '.')
            continue;
        struct file *f = &r->files[r->count];
        if (r->count == MOST || snprintf(f->name, sizeof f->name, "%.24s%s%.36s", below, below[0] ? "/" : "", e->d_name) < 0)
            errx(70, "too many files");
        if (fstatat(tree, f->name, &f->st, AT_SYMLINK_NOFOLLOW)) {
            memset(&f->st, 0, sizeof f->st);
            f->sum = 0;
        } else if (S_ISDIR(f->st.st_mode)) {
            read_directory(tree, e->d_name, r, check);
            continue;
        } else {
            memset(words, 0, 16 + ONE_BYTES + 16);
            ssize_t n = read_file(tree, f->name, words, sizeof words - 8);
            if (n >= 0)
                memset((char *)words + n, 0, 8);
            f->sum = n < 0 ? 0 : sum_of(words, (size_t)n);
            if (check && !strncmp(f->name, "one.", 4))
                check_one(f->name, words, n);
        }
        r->count++;
    }
    closedir(list);
}

static int by_name(const void *a, const void *b) { return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name); }

static void read_tree(int tree, struct reading *r, int check)
{
    r->count = 0;
    read_directory(tree, "", r, check);
    qsort(r->files, r->count, sizeof *r->files, by_name);
}

static void check_sets(int tree)
{
    char name[40];
    for (int set = 0; set < SETS; set++) {
        if (!atomic_load(&counters->sets[set].done))
            continue;
        struct numbers n = read_set(tree, set);
        if (is_whole(&n))
            continue;
        snprintf(name, sizeof name, "set.%d", set);
        int owner = atomic_load(&counters->sets[set].owner);
        if ((owner && is_dead(owner)) || atomic_load(&counters->sets[set].cut))
            finding(&seen.cut, name, "cut by a death", n.of[0], n.of[3]);
        else {
            char what[100];
            snprintf(what, sizeof what, "owner %d, a-d %lld %lld %lld %lld%s", owner, (long long)n.of[0],
                     (long long)n.of[1], (long long)n.of[2], (long long)n.of[3], n.unfinished ? " c.tmp" : "");
            finding(&seen.torn, name, what, 0, 0);
        }
    }
}

static void compare(void)
{
    struct reading *a = &readings[0], *b = &readings[1];
    size_t i = 0, j = 0;
    while (i < a->count || j < b->count) {
        int order = i == a->count ? 1 : j == b->count ? -1 : by_name(&a->files[i], &b->files[j]);
        struct file *x = &a->files[i], *y = &b->files[j];
        if (order)
            finding(&seen.changed, order < 0 ? x->name : y->name, "came or went", 0, 0);
        else if (x->sum != y->sum)
            finding(&seen.changed, x->name, "content", x->sum, y->sum);
        else if (x->st.st_size != y->st.st_size || x->st.st_mode != y->st.st_mode || x->st.st_ino != y->st.st_ino ||
                 x->st.st_mtim.tv_nsec != y->st.st_mtim.tv_nsec || x->st.st_mtim.tv_sec != y->st.st_mtim.tv_sec ||
                 x->st.st_ctim.tv_nsec != y->st.st_ctim.tv_nsec)
            finding(&seen.changed, x->name, "size, mode or times", (uint64_t)x->st.st_size, (uint64_t)y->st.st_size);
        i += order <= 0;
        j += order >= 0;
    }
}

int main(int argc, char **argv)
{
    if (argc < 4)
        errx(64, "usage: checker TREE COUNTERS MICROSECONDS");
    uint64_t calls[WORKERS], begun = now_ns();
    counters = map_counters(argv[2]);
    int tree = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tree < 0)
        err(70, "%s", argv[1]);
    for (int w = 0; w < WORKERS; w++)
        calls[w] = atomic_load(&counters->workers[w].calls);
    read_tree(tree, &readings[0], 1);
    check_sets(tree);
    usleep((useconds_t)atoi(argv[3]));
    read_tree(tree, &readings[1], 0);
    check_sets(tree);
    compare();
    for (int w = 0; w < WORKERS; w++) {
        uint64_t now = atomic_load(&counters->workers[w].calls);
        if (now - calls[w] > 1)
            finding(&seen.inside, counters->workers[w].role, "calls returned", now - calls[w], (uint64_t)w);
    }
    /* Sets are looked at twice: once is enough to count them. */
    seen.cut = (seen.cut + 1) / 2;
    seen.files = readings[0].count;
    seen.took_ns = now_ns() - begun;
    seen.checks = counters->seen.checks + 1;
    counters->seen = seen;
    return seen.torn || seen.changed || seen.inside ? 3 : 0;
}
