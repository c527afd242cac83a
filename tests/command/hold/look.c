/* look DIR PAIRS: the snapshot command. Says how many pairs have two lengths, and how many files changed within
   some ms: nothing may while all are held. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static long length(const char *dir, int pair, char which)
{
    char name[4096];
    struct stat info;
    snprintf(name, sizeof name, "%s/p%d.%c", dir, pair, which);
    return stat(name, &info) ? 0 : info.st_size;
}

/* What a store alone changes: the number in pN.m goes with pN.a, that in pN.n with pN.b. */
static long stored(const char *dir, int pair, char which)
{
    char name[4096];
    long number = 0;
    snprintf(name, sizeof name, "%s/p%d.%c", dir, pair, which == 'a' ? 'm' : 'n');
    FILE *file = fopen(name, "r");
    if (!file) return 0;
    if (fread(&number, sizeof number, 1, file) != 1) number = 0;
    fclose(file);
    return number;
}

static long count(const char *dir, int pair, char which) { return length(dir, pair, which) + stored(dir, pair, which); }

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    int pairs = atoi(argv[2]), torn = 0, moved = 0;
    long *before = calloc(2 * pairs, sizeof *before), all = 0;
    for (int i = 0; i < 2 * pairs; i++) all += before[i] = count(argv[1], i / 2, "ab"[i % 2]);
    usleep(4000);
    for (int i = 0; i < 2 * pairs; i++) moved += before[i] != count(argv[1], i / 2, "ab"[i % 2]);
    for (int i = 0; i < pairs; i++) torn += before[2 * i] != before[2 * i + 1];
    printf("LOOK %d %d %ld\n", torn, moved, all);
    return 0;
}
