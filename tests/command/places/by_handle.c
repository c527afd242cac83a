/* Writes to a file that is opened by its handle, once the kernel has forgotten its directory (as an NFS server does):
 * by_handle FILE. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)argc;
    struct { struct file_handle h; unsigned char room[MAX_HANDLE_SZ]; } at = { .h.handle_bytes = MAX_HANDLE_SZ };
    int mount_id;
    char top[4096], name[64], link[4096];
    if (name_to_handle_at(AT_FDCWD, argv[1], &at.h, &mount_id, 0)) { perror("name_to_handle_at"); return 1; }
    strcpy(top, argv[1]);
    *strrchr(top, '/') = 0;
    *strrchr(top, '/') = 0;
    for (int round = 0; round < 20; round++) {
        int forget = open("/proc/sys/vm/drop_caches", O_WRONLY);
        if (forget < 0 || write(forget, "2", 1) != 1) { perror("drop_caches"); return 1; }
        close(forget);
        int dir = open(top, O_RDONLY | O_DIRECTORY), fd = dir < 0 ? -1 : open_by_handle_at(dir, &at.h, O_WRONLY | O_APPEND);
        if (fd < 0) { perror("open_by_handle_at"); return 1; }
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(name, link, sizeof link);
        if (n == 1) return write(fd, "x", 1) != 1;      /* "/": it has no directory */
        close(fd);
        close(dir);
        usleep(100000);
    }
    fprintf(stderr, "the kernel does not forget where it lies\n");
    return 77;
}
