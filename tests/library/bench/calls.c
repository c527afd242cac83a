/* One measurement a run: nanoseconds per operation, printed alone on a line.
 *   calls pwrite FILE N    4 KiB pwrite
 *   calls null N           write of one byte to /dev/null: the entry alone, nearly
 *   calls putc FILE N      fputc
 *   calls read N           read of one byte from /dev/zero
 *   calls write FILE N     write of 64 bytes, appended
 *   calls fsync FILE N     pwrite of 4 KiB, fsync
 *   calls rename FILE N    rename to another name and back
 *   calls dup FILE N       dup, close
 *   calls lock FILE N      fcntl lock, pwrite, unlock
 *   calls flock FILE N     flock, unlock
 *   calls fork N           fork, _exit, waitpid
 *   calls exec N           fork, exec of /bin/true, waitpid
 *   calls waitpid FILE DESCRIPTORS N   waitpid(WNOHANG) for a child that lives
 *   calls reap FILE DESCRIPTORS N      fork, _exit, waitpid
 * The last two with so many open descriptors of FILE, one of which dup2 has put in its place, as a log file's.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static int opened(const char *path, int flags) {
    int fd = open(path, flags, 0600);
    if (fd < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

/* So many descriptors of the file, each opened; number 8 is put there by dup2. */
static int many(const char *path, int count) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int fd = opened(path, O_RDWR | O_CREAT);
    if (dup2(fd, 8) < 0) return -1;
    for (int i = 0; i < count; i++)
        if (open(path, O_RDWR | O_CLOEXEC) < 0) return -1;
    return 0;
}

int main(int argc, char **argv) {
    static char block[4096];
    const char *what = argc > 2 ? argv[1] : "";
    int n = argc > 2 ? atoi(argv[argc - 1]) : 0;
    if (n < 1) {
        fprintf(stderr, "usage: calls WHAT [FILE] N\n");
        return 64;
    }
    double start = 0;
    if (!strcmp(what, "pwrite")) {
        int fd = opened(argv[2], O_RDWR | O_CREAT);
        for (int i = -1000; i < n; i++) {
            if (i == 0) start = now();
            if (pwrite(fd, block, sizeof block, (i & 15) * 4096) < 0) return 1;
        }
    } else if (!strcmp(what, "null")) {
        int fd = opened("/dev/null", O_WRONLY);
        for (int i = -1000; i < n; i++) {
            if (i == 0) start = now();
            if (write(fd, block, 1) < 0) return 1;
        }
    } else if (!strcmp(what, "read")) {
        int fd = opened("/dev/zero", O_RDONLY);
        for (int i = -1000; i < n; i++) {
            if (i == 0) start = now();
            if (read(fd, block, 1) < 0) return 1;
        }
    } else if (!strcmp(what, "putc")) {
        FILE *f = fopen(argv[2], "w");
        if (!f) return 1;
        for (int i = -1000; i < n; i++) {
            if (i == 0) start = now();
            fputc('x', f);
        }
    } else if (!strcmp(what, "lock")) {
        int fd = opened(argv[2], O_RDWR | O_CREAT);
        struct flock lock = {.l_type = F_WRLCK}, unlock = {.l_type = F_UNLCK};
        for (int i = -1000; i < n; i++) {
            if (i == 0) start = now();
            if (fcntl(fd, F_SETLK, &lock) < 0 || pwrite(fd, block, sizeof block, 0) < 0 ||
                fcntl(fd, F_SETLK, &unlock) < 0)
                return 1;
        }
    } else if (!strcmp(what, "write")) {
        int fd = opened(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
        for (int i = -1000; i < n; i++) {
            if (i == 0) start = now();
            if (write(fd, block, 64) < 0) return 1;
        }
    } else if (!strcmp(what, "fsync")) {
        int fd = opened(argv[2], O_RDWR | O_CREAT);
        for (int i = -10; i < n; i++) {
            if (i == 0) start = now();
            if (pwrite(fd, block, sizeof block, (i & 15) * 4096) < 0 || fsync(fd) < 0) return 1;
        }
    } else if (!strcmp(what, "rename")) {
        char other[4096];
        snprintf(other, sizeof other, "%s-2", argv[2]);
        close(opened(argv[2], O_RDWR | O_CREAT));
        for (int i = -1000; i < n; i++) {
            if (i == 0) start = now();
            if (rename(argv[2], other) < 0 || rename(other, argv[2]) < 0) return 1;
        }
    } else if (!strcmp(what, "dup")) {
        int fd = opened(argv[2], O_RDWR | O_CREAT);
        for (int i = -1000; i < n; i++) {
            if (i == 0) start = now();
            if (close(dup(fd)) < 0) return 1;
        }
    } else if (!strcmp(what, "flock")) {
        int fd = opened(argv[2], O_RDWR | O_CREAT);
        for (int i = -1000; i < n; i++) {
            if (i == 0) start = now();
            if (flock(fd, LOCK_EX) < 0 || flock(fd, LOCK_UN) < 0) return 1;
        }
    } else if (!strcmp(what, "waitpid")) {
        if (many(argv[2], atoi(argv[3])) < 0) return 1;
        pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            pause();
            _exit(0);
        }
        for (int i = -10; i < n; i++) {
            if (i == 0) start = now();
            if (waitpid(pid, NULL, WNOHANG) != 0) return 1;
        }
        start -= now();                                 /* the child's end is not measured */
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        start += now();
    } else if (!strcmp(what, "reap")) {
        if (many(argv[2], atoi(argv[3])) < 0) return 1;
        for (int i = -10; i < n; i++) {
            if (i == 0) start = now();
            pid_t pid = fork();
            if (pid == 0) _exit(0);
            if (waitpid(pid, NULL, 0) != pid) return 1;
        }
    } else if (!strcmp(what, "fork") || !strcmp(what, "exec")) {
        char *args[] = {"/bin/true", NULL};
        for (int i = -10; i < n; i++) {
            if (i == 0) start = now();
            pid_t pid = fork();
            if (pid == 0) {
                if (*what == 'e') execv(args[0], args);
                _exit(0);
            }
            waitpid(pid, NULL, 0);
        }
    } else {
        fprintf(stderr, "calls: no measurement %s\n", what);
        return 64;
    }
    printf("%.2f\n", (now() - start) / n);
    return 0;
}
