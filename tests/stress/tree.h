/* Reading one set back, the same way for those who repair it and for the checker. */
#ifndef TREE_H
#define TREE_H
#include "stress.h"

/* The numbers of a set's four files; UINT64_MAX: missing, short, or not what the number says it must be. */
struct numbers { uint64_t of[FILES]; int unfinished; /* c.tmp is there */ };

static inline ssize_t read_file(int tree, const char *name, void *into, size_t size)
{
    int fd = openat(tree, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, into, size);
    close(fd);
    return n;
}

static inline struct numbers read_set(int tree, int set)
{
    struct numbers found = { { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX }, 0 };
    uint64_t records[RECORDS + 1];
    char name[40];
    for (int file = 0; file < 3; file++) {
        uint64_t number;
        snprintf(name, sizeof name, "set.%d/%c", set, 'a' + file);
        if (read_file(tree, name, &number, sizeof number) == sizeof number)
            found.of[file] = number;
    }
    snprintf(name, sizeof name, "set.%d/d", set);
    ssize_t n = read_file(tree, name, records, sizeof records);
    if (n >= 8 && n % 8 == 0) {
        size_t count = (size_t)n / 8, at = 0;
        uint64_t last = records[count - 1];
        /* As many as since the last multiple, and each one more than the one before. */
        while (at + 1 < count && records[at] + 1 == records[at + 1])
            at++;
        if (at + 1 == count && count == last % RECORDS + 1)
            found.of[3] = last;
    }
    snprintf(name, sizeof name, "set.%d/c.tmp", set);
    found.unfinished = faccessat(tree, name, F_OK, 0) == 0;
    return found;
}

static inline int is_whole(const struct numbers *n)
{
    return n->of[0] != UINT64_MAX && n->of[0] == n->of[1] && n->of[0] == n->of[2] && n->of[0] == n->of[3] &&
           !n->unfinished;
}
#endif
