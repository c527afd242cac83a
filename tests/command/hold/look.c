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

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    int pairs = atoi(argv[2]), torn = 0, moved = 0;
    long *before = calloc(2 * pairs, sizeof *before), all = 0;
    for (int i = 0; i < 2 * pairs; i++) all += before[i] = length(argv[1], i / 2, "ab"[i % 2]);
    usleep(4000);
    for (int i = 0; i < 2 * pairs; i++) moved += before[i] != length(argv[1], i / 2, "ab"[i % 2]);
    for (int i = 0; i < pairs; i++) torn += before[2 * i] != before[2 * i + 1];
    printf("LOOK %d %d %ld\n", torn, moved, all);
    return 0;
}
