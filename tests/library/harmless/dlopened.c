/* The library opened late: its calls are found by dlsym, and libc lies before it in the order of loading. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    void *h = dlopen(argv[1], RTLD_NOW);
    if (!h) return puts(dlerror()), 64;
    long (*w)(int, const void *, unsigned long) = dlsym(h, "write");
    int (*r)(const char *, const char *) = dlsym(h, "rename");
    FILE *f = tmpfile();
    long wrote = w(fileno(f), "ab", 2);
    errno = 0;
    int renamed = r("/nonexistent/a", "/nonexistent/b");
    printf("write=%ld rename=%d %d\n", wrote, renamed, errno);
    return 0;
}
