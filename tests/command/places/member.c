/* A process that does what it is told, a line each, and says "done": gated, or not.
 * blank: writes over its environment, as setproctitle does. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static void *map(const char *path, int protection) {
    int fd = open(path, O_RDWR);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, protection, MAP_SHARED, fd, 0);
    close(fd);
    return at;
}

/* As in linux/aio_abi.h, which musl-gcc does not have (little-endian). */
struct iocb {
    uint64_t aio_data;
    uint32_t aio_key, aio_rw_flags;
    uint16_t aio_lio_opcode;
    int16_t aio_reqprio;
    uint32_t aio_fildes;
    uint64_t aio_buf, aio_nbytes;
    int64_t aio_offset;
    uint64_t aio_reserved;
    uint32_t aio_flags, aio_resfd;
};
struct io_event {
    uint64_t data, obj;
    int64_t res, res2;
};
enum { IOCB_CMD_PWRITE = 1 };

static int native_aio(const char *path) {
    unsigned long context = 0;
    struct iocb one = {.aio_fildes = open(path, O_RDWR), .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_buf = (uintptr_t)"z", .aio_nbytes = 1};
    struct iocb *all = &one;
    struct io_event event;
    if (syscall(SYS_io_setup, 1, &context) || syscall(SYS_io_submit, context, 1, &all) != 1 ||
        syscall(SYS_io_getevents, context, 1, 1, &event, NULL) != 1)
        return -1;
    close(one.aio_fildes);
    return event.res == 1 ? 0 : -1;
}

int main(void) {
    char line[8192], *word, *a, *b;
    void *mapped = MAP_FAILED;
    int lock = -1;
    while (printf("done\n"), fflush(stdout), fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        word = strtok(line, " "), a = strtok(NULL, " "), b = strtok(NULL, " ");
        if (!strcmp(word, "blank")) {
            for (char **entry = environ; *entry; entry++)
                memset(*entry, 0, strlen(*entry));
        } else if (!strcmp(word, "write")) {
            int fd = open(a, O_WRONLY | O_CREAT | O_APPEND, 0600);
            if (fd < 0 || write(fd, "x", 1) != 1)
                return 3;
            close(fd);
        } else if (!strcmp(word, "rename")) {
            if (rename(a, b))
                return 3;
        } else if (!strcmp(word, "cd")) {
            if (chdir(a))
                return 3;
        } else if (!strcmp(word, "lock")) {
            lock = open(a, O_RDWR | O_CREAT, 0600);
            flock(lock, LOCK_EX);
        } else if (!strcmp(word, "unlock")) {
            flock(lock, LOCK_UN);
        } else if (!strcmp(word, "map")) {
            mapped = map(a, PROT_READ | PROT_WRITE);
        } else if (!strcmp(word, "map-first-to-read")) {
            mapped = map(a, PROT_READ);
            if (mprotect(mapped, 4096, PROT_READ | PROT_WRITE))
                return 3;
        } else if (!strcmp(word, "map-store-unmap")) {
            char *at = map(a, PROT_READ | PROT_WRITE);
            if (at == MAP_FAILED)
                return 3;
            *at = 'y';
            munmap(at, 4096);
        } else if (!strcmp(word, "native-aio")) {
            if (native_aio(a))
                return 3;
        } else if (!strcmp(word, "open-close")) {
            close(open(a, O_RDWR));
        } else if (!strcmp(word, "jail")) {
            if (unshare(CLONE_NEWNS) || chroot(a) || chdir("/"))
                return 3;
        } else if (!strcmp(word, "daemon")) {
            if (fork())
                _exit(0);
        }
    }
    return mapped == MAP_FAILED;
}
