/* Between an exec and the library's start, a process that holds a lock is still in its section.
 *
 *   gap A B LOCK SLOW HOW   locks LOCK, writes A, becomes itself with SLOW loaded too, writes B
 *
 * SLOW is this file built with -DSLOW. It takes two seconds, and so draws that moment out: as a preload
 * (HOW LD_PRELOAD) when all libraries are mapped and none has started; as an auditor (LD_AUDIT) before the gate's
 * library is even mapped.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef SLOW
static int slow(void) { return getenv("SLOW_AT_START") ? usleep(2000000) : 0; }
__attribute__((constructor)) static void starts(void) { slow(); }
unsigned la_version(unsigned version) { slow(); return version; }
#else
static void put(const char *name)
{
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || pwrite(fd, "2", 1, 0) != 1 || close(fd))
        err(1, "%s", name);
}

int main(int argc, char **argv)
{
    if (argc == 3) {                                   /* after the exec */
        put(argv[1]);
        close(atoi(argv[2]));                          /* the lock's descriptor: the section is over */
        puts("done");
        fflush(stdout);
        return getchar() == EOF;
    }
    struct flock l = { .l_type = F_WRLCK };
    int fd = open(argv[3], O_RDWR | O_CREAT, 0600);
    if (argc != 6 || fd < 0 || fcntl(fd, F_SETLKW, &l))
        err(1, "lock");
    put(argv[1]);
    char both[4096], number[16], *gate = getenv(argv[5]);
    snprintf(both, sizeof both, "%s%s%s", gate ? gate : "", gate ? ":" : "", argv[4]);
    setenv(argv[5], both, 1);
    setenv("SLOW_AT_START", "1", 1);
    snprintf(number, sizeof number, "%d", fd);
    puts("exec");
    fflush(stdout);
    execl("/proc/self/exe", "gap", argv[2], number, (char *)0);
    err(1, "exec");
}
#endif
