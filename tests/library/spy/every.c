/* One hook, once, with a libc behind it that only counts, keeps the arguments, and answers: calls/spy.py's library behind ours.
 *
 *   every NAME ANSWER ARGUMENT...     six of: fd, path, cwd, mode, stream, null, page
 *
 * Prints how often it went out, by which number of the spy, what came back, and for each argument whether it went out as it came in.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *of_the_spy(const char *name)
{
    void *found = dlsym(RTLD_DEFAULT, name);
    if (!found) { fprintf(stderr, "no %s: the spy is not behind\n", name); exit(2); }
    return found;
}

int main(int argc, char **argv)
{
    if (argc != 9) return 64;
    long (*hook)(long, ...) = dlsym(RTLD_DEFAULT, argv[1]);
    if (!hook) return 65;
    unsigned long *counts = of_the_spy("spy_answered"), *seen = of_the_spy("spy_arguments");
    volatile int *answering = of_the_spy("spy_answering");
    *(long *)of_the_spy("spy_answer") = atol(argv[2]);
    char *page = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *stream = fopen("/dev/null", "r+");
    int fd = open("/dev/null", O_RDWR);
    long given[6];
    for (int n = 0; n < 6; n++) {
        const char *kind = argv[3 + n];
        given[n] = !strcmp(kind, "fd") ? fd
            : !strcmp(kind, "path") ? (long)"/nonexistent/file"
            : !strcmp(kind, "cwd") ? AT_FDCWD
            : !strcmp(kind, "mode") ? (long)"r"
            : !strcmp(kind, "stream") ? (long)stream
            : !strcmp(kind, "null") ? 0
            : (long)page + 4096 * (n + 1);
    }
    *answering = 1;
    long answer = hook(given[0], given[1], given[2], given[3], given[4], given[5]);
    *answering = 0;
    dprintf(1, "%lu %ld", *counts, answer);
    for (int n = 0; n < 6; n++) dprintf(1, " %d", seen[n] == (unsigned long)given[n]);
    dprintf(1, "\n");
    _exit(0);
}
