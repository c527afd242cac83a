/* What a local user may do to root's freezer: one attack a mode, without the library.
 *
 *   attacker CONTROL MODE [ARGUMENT ...]
 *
 * Prints "ready" when it stands, and goes on until it is killed. Layout of what is forged here:
 * gate/src/{control,region,word,locks}.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* -DLAYOUT=0x...: what `writegate doctor --layout` prints: of another one nothing is believed. */
#ifndef LAYOUT
#error "LAYOUT must be given"
#endif

#define CONTROL_SIZE (16 * 1024)
#define SLOTS 2048
/* Behind the slots, a name of 1 KiB for each of the 64 places of the lock table. */
#define REGION_SIZE (4096 + SLOTS * 64 + 64 * 1024)
enum { CALL = 1, HELD = 2, LOCKWAIT = 3 };

#define AT(type, base, offset) ((_Atomic type *)((char *)(base) + (offset)))
#define BARRIER AT(uint64_t, control, 32)
#define PROCESS(region) AT(uint64_t, region, 40)
#define SECTION (1 << 16)

static volatile char *control;

static void pause_ms(double ms) {
    struct timespec t = {(time_t)(ms / 1000), (long)((ms - 1000 * (long)(ms / 1000)) * 1e6)};
    nanosleep(&t, NULL);
}

static void must(int fine, const char *what) {
    if (!fine) {
        perror(what);
        exit(3);
    }
}

static void ready(void) {
    printf("ready\n");
    fflush(stdout);
}

static void for_ever(void) {
    for (;;)
        pause();
}

static void map_control(const char *path) {
    int fd = open(path, O_RDONLY);
    control = mmap(NULL, CONTROL_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    must(fd >= 0 && control != MAP_FAILED, path);
    close(fd);
}

static void *anonymous(void) {
    void *at = mmap(NULL, REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(at != MAP_FAILED, "mmap");
    return at;
}

/* A region of the caller's own, with so many threads. */
static void forge(void *region, unsigned threads) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    *AT(uint32_t, region, 8) = LAYOUT;
    *AT(uint32_t, region, 12) = SLOTS;
    *AT(uint64_t, region, 16) = (t.tv_sec * 1000000000ull + t.tv_nsec) ^ (uint64_t)getpid() << 40;
    *AT(int32_t, region, 32) = getpid();
    *AT(uint32_t, region, 96) = threads;
    uint64_t magic;
    memcpy(&magic, "wgregion", 8);
    *AT(uint64_t, region, 0) = magic;
}

static void hold(void *region, int place, uint64_t ino) {
    char *at = (char *)region + 512 + 56 * place;
    *AT(int32_t, at, 4) = -1;
    *AT(uint64_t, at, 16) = 1;
    *AT(uint64_t, at, 24) = ino;
    *AT(uint64_t, at, 40) = UINT64_MAX;
    *AT(uint32_t, at, 0) = 2 | 1 << 8 | 4u << 24;
}

static void slot(void *region, int number, int doing, uint64_t waits_for) {
    char *at = (char *)region + 4096 + 64 * number;
    *AT(int32_t, at, 16) = getpid();
    *AT(uint64_t, at, 24) = 1;
    *AT(uint64_t, at, 32) = waits_for;
    *AT(uint64_t, at, 0) = 1ull << 32 | (uint64_t)doing << 29 | 1 << 20;
}

/* Processes whose threads all wait for locks that the other ones hold. */
static void web(int processes, int threads) {
    for (int p = 1; p < processes; p++)
        if (fork() == 0)
            break;
    void *region = anonymous();
    forge(region, threads);
    for (int i = 0; i < threads && i < 64; i++)
        hold(region, i, 1000 + i);
    for (int i = 0; i < threads; i++)
        slot(region, i, LOCKWAIT, 1000 + i % 64);
    *PROCESS(region) = 1ull << 32 | SECTION | 1;
}

/* In a section for good, with words that always move. */
static void restless(void) {
    void *region = anonymous();
    forge(region, 1);
    hold(region, 0, 1000);
    ready();
    for (uint64_t n = 1;; n++) {
        *PROCESS(region) = n << 32 | SECTION | 1;
        slot(region, 0, n % 2 ? CALL : HELD, 0);
        pause_ms(0.5);
    }
}

/* Newcomers without end, each with a region. */
static void births(void) {
    ready();
    for (;;) {
        pid_t child = fork();
        if (child == 0) {
            void *region = anonymous();
            forge(region, 1);
            *PROCESS(region) = 1ull << 32 | SECTION | 1;
            pause_ms(30);
            _exit(0);
        }
        pause_ms(1);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
    close(fd);
}

/* In a user namespace of its own, where a file system of its own is the root: names are what it
 * likes them to be. */
static void own_mounts(const char *where) {
    char map[64];
    uid_t uid = getuid();
    gid_t gid = getgid();
    must(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0, "unshare");
    put("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %d 1", uid);
    put("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %d 1", gid);
    put("/proc/self/gid_map", map);
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "make-private");
    must(mount("none", where, "tmpfs", 0, "") == 0, "mount");
    must(chdir(where) == 0 && mkdir("old", 0755) == 0, where);
    must(syscall(SYS_pivot_root, ".", "old") == 0, "pivot_root");
    must(umount2("/old", MNT_DETACH) == 0 && chdir("/") == 0, "umount");
}

/* A file that is named like anonymous memory, and cut off as soon as the barrier is up. */
static void cut_off(const char *where) {
    const char *path = "/dev/zero";
    own_mounts(where);
    must(mkdir("/dev", 0755) == 0, "/dev");
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    must(fd >= 0 && ftruncate(fd, REGION_SIZE) == 0, path);
    void *region = mmap(NULL, REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(region != MAP_FAILED, path);
    unlink(path);
    forge(region, 1);
    ready();
    while (*BARRIER == 0)
        pause_ms(0.1);
    must(ftruncate(fd, 0) == 0, "ftruncate");
    for_ever();
}

/* A mapping whose name is that of the gate's page, from another file: "restart me". It may have a protected
 * file open for writing. */
static void name_of_the_page(const char *where, const char *page, const char *protected) {
    char path[4096], *cut;
    if (*protected)
        must(open(protected, O_WRONLY | O_APPEND) >= 0, protected);
    own_mounts(where);
    snprintf(path, sizeof path, "%s", page);
    for (cut = strchr(path + 1, '/'); cut; cut = strchr(cut + 1, '/')) {
        *cut = 0;
        mkdir(path, 0755);
        *cut = '/';
    }
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    must(fd >= 0 && ftruncate(fd, CONTROL_SIZE) == 0, path);
    must(mmap(NULL, CONTROL_SIZE, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED, path);
    close(fd);
    ready();
    for_ever();
}

/* So many mappings that look like a region, in so many processes. */
static void look_alikes(int processes, int mappings) {
    for (int p = 1; p < processes; p++)
        if (fork() == 0)
            break;
    for (int i = 0; i < mappings; i++)
        if (mmap(NULL, REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) ==
            MAP_FAILED)
            break;
}

/* So many mappings of a file with a name of some 3,900 bytes, in so many processes: megabytes to read. */
static void long_names(int processes, int mappings, const char *where) {
    char name[244];
    must(chdir(where) == 0, where);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    for (int depth = 0; depth < 15; depth++)
        must(mkdir(name, 0755) == 0 && chdir(name) == 0, "mkdir");
    int fd = open(name, O_RDWR | O_CREAT, 0644);
    must(fd >= 0 && ftruncate(fd, 8192) == 0, "long name");
    for (int i = 0; i < mappings; i++) /* neighbours that differ are not joined */
        must(mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) !=
                 MAP_FAILED,
             "mmap");
    for (int p = 1; p < processes; p++)
        if (fork() == 0)
            break;
}

/* Its region says that it does nothing, and it writes, barrier or not. */
static void two_faced(const char *protected) {
    void *region = anonymous();
    int fd = open(protected, O_WRONLY | O_APPEND);
    must(fd >= 0, protected);
    forge(region, 1);
    slot(region, 0, 0, 0);
    *PROCESS(region) = 1ull << 32;
    ready();
    for (;;) {
        must(write(fd, "y", 1) == 1, protected);
        pause_ms(2);
    }
}

/* A region of which every byte behind its header's first line changes all the time, also while it is read. */
static void scramble(void) {
    void *region = anonymous();
    forge(region, 1);
    ready();
    uint64_t x = 88172645463325252ull;
    for (int n = 0;; n++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        uint64_t at = 36 + x % (n % 4 ? 4096 + 64 * 64 : REGION_SIZE);
        if (at / 8 * 8 + 8 <= REGION_SIZE)
            *AT(uint64_t, region, at / 8 * 8) = n % 3 ? x * 2685821657736338717ull : x % 8;
        *AT(int32_t, region, 32) = getpid();
        if (n % 4096 == 0)
            pause_ms(0.2);
    }
}

static void many_descriptors(int count) {
    struct rlimit most;
    getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
    int fd = open("/dev/null", O_WRONLY);
    for (int i = 0; i < count && dup(fd) >= 0; i++)
        ;
}

/* Regions in which every place shows a call that lasts, each of which asks for many looks. */
static void stuck_slots(int processes, int calls) {
    for (int p = 1; p < processes; p++)
        if (fork() == 0)
            break;
    void *region = anonymous();
    forge(region, calls);
    for (int i = 0; i < calls; i++) {
        slot(region, i, CALL, 0);
        *AT(uint64_t, (char *)region + 4096 + 64 * i, 8) = 4096;
    }
}

/* So many processes that are stuck in the kernel, on a file system that answers no more, with their lists
 * of mappings locked: what has been stored through the old mapping must be written before the new one
 * takes its place. */
static void hung(const char *file, int processes) {
    int fd = open(file, O_RDWR), pipes[2];
    char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), c;
    must(fd >= 0 && at != MAP_FAILED && pipe(pipes) == 0, file);
    for (int p = 0; p < processes; p++)
        if (fork() == 0) {
            *at = 1;
            must(write(pipes[1], "x", 1) == 1, "pipe");
            pause_ms(300);
            mmap(at, 4096, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            for_ever();
        }
    for (int p = 0; p < processes; p++)
        must(read(pipes[0], &c, 1) == 1, "a child");
    pause_ms(600);
}

/* Has a protected file open for writing, and maps something called `control`. */
static void decoy(const char *protected, const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/control", folder);
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    must(fd >= 0 && ftruncate(fd, CONTROL_SIZE) == 0, path);
    must(mmap(NULL, CONTROL_SIZE, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED, path);
    must(open(protected, O_WRONLY | O_APPEND) >= 0, protected);
}

/* Makes directories and files and takes them away again, as fast as it can, in so many processes. */
static void storm(const char *where, int processes) {
    must(chdir(where) == 0, where);
    for (int p = 1; p < processes; p++)
        if (fork() == 0)
            break;
    char top[32], below[64], name[96];
    snprintf(top, sizeof top, "storm%d", getpid());
    snprintf(below, sizeof below, "%s/below", top);
    ready();
    for (;;) {
        must(mkdir(top, 0755) == 0 && mkdir(below, 0755) == 0, below);
        for (int i = 0; i < 3; i++) {
            snprintf(name, sizeof name, "%s/%d", below, i);
            int fd = open(name, O_WRONLY | O_CREAT, 0644);
            must(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0 && unlink(name) == 0, name);
        }
        must(rmdir(below) == 0 && rmdir(top) == 0, top);
    }
}

/* Holds a write lock, and looks like one that is on its way into the gate. */
static void locks(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    must(fd >= 0 && fcntl(fd, F_SETLK, &all) == 0, path);
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    const char *mode = argv[2], *first = argc > 3 ? argv[3] : "", *second = argc > 4 ? argv[4] : "";
    if (strcmp(mode, "decoy") == 0) {
        decoy(first, second);
    } else if (strcmp(mode, "lock") == 0) {
        locks(first);
    } else if (strcmp(mode, "storm") == 0) {
        storm(first, atoi(second));
    } else if (strcmp(mode, "name") == 0) { /* a protected file and a name of its own */
        must(open(first, O_WRONLY | O_APPEND) >= 0, first);
        prctl(PR_SET_NAME, second);
    } else if (strcmp(mode, "hung") == 0) {
        hung(first, atoi(second));
    } else if (strcmp(mode, "long-names") == 0) {
        long_names(atoi(first), atoi(second), argv[5]);
    } else if (strcmp(mode, "page-name") == 0) {
        name_of_the_page(first, argv[1], second);
    } else if (strcmp(mode, "descriptors") == 0) { /* as many as it may have */
        many_descriptors(atoi(first));
    } else {
        map_control(argv[1]);
        if (strcmp(mode, "web") == 0)
            web(atoi(first), atoi(second));
        else if (strcmp(mode, "restless") == 0)
            restless();
        else if (strcmp(mode, "births") == 0)
            births();
        else if (strcmp(mode, "two-faced") == 0)
            two_faced(first);
        else if (strcmp(mode, "scramble") == 0)
            scramble();
        else if (strcmp(mode, "cut-off") == 0)
            cut_off(first);
        else if (strcmp(mode, "look-alikes") == 0)
            look_alikes(atoi(first), atoi(second));
        else if (strcmp(mode, "stuck-slots") == 0)
            stuck_slots(atoi(first), SLOTS);
        else if (strcmp(mode, "stuck-and-many") == 0) {
            many_descriptors(atoi(first));
            stuck_slots(1, 1);
        } else if (strcmp(mode, "no-region") == 0) {
        } else if (strcmp(mode, "named") == 0) /* maps the page under a name of its own */
            prctl(PR_SET_NAME, first);
        else
            return 2;
    }
    ready();
    for_ever();
}
