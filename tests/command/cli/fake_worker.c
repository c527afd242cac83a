/* A fake gated process: maps the control page, shows a region, plays a worker.
 *
 * It follows the protocol (announce, look, wait, go on) without any hook, so that
 * the command can be tested apart from the library, and in states that a real
 * program seldom shows for long.
 *
 *   fake_worker CONTROL MODE [ARGUMENT]
 *
 * Prints "ready" when its region stands; "wrote N held MS" lines go to stdout where
 * a mode says so. Layout: gate/src/{control.rs,region.rs,word/,locks/}.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* -DLAYOUT=0x...: what `writegate doctor --layout` prints (gate/src/layout.rs). */
#ifndef LAYOUT
#error "the layout is the command's to say: see tests/cli/rig.py"
#endif

#define CONTROL_SIZE (16 * 1024)
#define SLOTS 2048
/* Behind the slots, a name of 1 KiB for each of the 64 places of the lock table. */
#define REGION_SIZE (4096 + SLOTS * 64 + 64 * 1024)
enum { IDLE, CALL, HELD, LOCKWAIT, ASKING };

static volatile char *control;
static char *region;

#define AT(type, base, offset) ((_Atomic type *)((char *)(base) + (offset)))
#define BARRIER AT(uint64_t, control, 32)
#define NONCE AT(uint64_t, region, 16)
#define PARENT_NONCE AT(uint64_t, region, 24)
#define PID AT(int32_t, region, 32)
#define FLAGS AT(uint32_t, region, 36)
#define PROCESS AT(uint64_t, region, 40)
#define LOCK_SEQUENCE AT(uint64_t, region, 48)
#define SECTION_SINCE AT(uint64_t, region, 56)
#define SLOTS_USED AT(uint32_t, region, 96)
#define NAMED_AT AT(uint64_t, region, 160)
#define NAMED_LEN AT(uint64_t, region, 168)
#define WORD(n) AT(uint64_t, region, 4096 + 64 * (n))
#define TID(n) AT(int32_t, region, 4096 + 64 * (n) + 16)
#define WAIT_DEV(n) AT(uint64_t, region, 4096 + 64 * (n) + 24)
#define WAIT_INO(n) AT(uint64_t, region, 4096 + 64 * (n) + 32)

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void pause_ms(double ms) {
    struct timespec t = {(time_t)(ms / 1000), (long)((ms - 1000 * (long)(ms / 1000)) * 1e6)};
    nanosleep(&t, NULL);
}

static void new_region(uint64_t parent) {
    region = mmap(NULL, REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (region == MAP_FAILED)
        exit(3);
    *AT(uint32_t, region, 8) = LAYOUT;
    *AT(uint32_t, region, 12) = SLOTS;
    uint64_t nonce = now() ^ ((uint64_t)getpid() << 40);
    *NONCE = nonce ? nonce : 1;
    *PARENT_NONCE = parent;
    *PID = getpid();
    const char *paths = getenv("WRITEGATE_PATHS"), *exclude = getenv("WRITEGATE_EXCLUDE");
    static char named[1 << 18];
    strcpy(named, paths ? paths : "");
    size_t len = strlen(named) + 1;
    strcpy(named + len, exclude ? exclude : "");
    *NAMED_AT = (uint64_t)named;
    *NAMED_LEN = len + strlen(named + len);
    *SLOTS_USED = 1;
    *TID(0) = (int)syscall(SYS_gettid);
    uint64_t magic;
    memcpy(&magic, "wgregion", 8);
    *AT(uint64_t, region, 0) = magic;
    syscall(SYS_membarrier, 4 /* REGISTER_GLOBAL_EXPEDITED */, 0, 0);
}

static uint64_t word(uint64_t old, int doing, int call, int fd) {
    /* Only what acts is counted. */
    uint64_t acts = doing == CALL || doing == ASKING;
    return ((old >> 32) + acts) << 32 | (uint64_t)doing << 29 | (uint64_t)call << 20 |
           (uint64_t)(fd + 1);
}

static int admitted(void) {
    for (int i = 0; i < 64; i++) {
        uint64_t nonce = *AT(uint64_t, control, 256 + 16 * i);
        uint64_t sequence = *AT(uint64_t, control, 256 + 16 * i + 8);
        if (nonce == *NONCE && (sequence == UINT64_MAX || sequence == *LOCK_SEQUENCE))
            return 1;
    }
    return 0;
}

/* How much of the last wait was the machine's: slices that ended late, ns. */
static uint64_t late;

/* Enters a call; how long it was held, in ns. */
static uint64_t enter(int call, int fd) {
    uint64_t begun = 0, until = 0;
    late = 0;
    for (;;) {
        uint64_t mine = word(*WORD(0), ASKING, call, fd);
        atomic_store_explicit(WORD(0), mine, memory_order_release);
        uint64_t barrier = *BARRIER;
        if (barrier == 0 || now() >= barrier)
            break;
        if (!begun) {
            begun = now();
            until = barrier;
        }
        atomic_store(WORD(0), mine); /* locked */
        if (now() >= until || (*PROCESS >> 16 & 1) || admitted())
            break;
        /* Not let pass: the number is taken back. */
        atomic_store(WORD(0), ((mine & ~(7ull << 29)) | (uint64_t)HELD << 29) - (1ull << 32));
        uint64_t slice_ends = now() + 50000000ull;
        struct timespec slice = {(time_t)(slice_ends / 1000000000ull),
                                 (long)(slice_ends % 1000000000ull)};
        uint32_t bits = 1u << (*NONCE % 31) | 1u << 31;
        syscall(SYS_futex, (uint32_t *)BARRIER, FUTEX_WAIT_BITSET, (uint32_t)barrier, &slice,
                NULL, bits);
        uint64_t woke = now();
        if (woke > slice_ends)
            late += woke - slice_ends;
    }
    atomic_store(WORD(0), (*WORD(0) & ~(7ull << 29)) | (uint64_t)CALL << 29);
    return begun ? now() - begun : 0;
}

static void leave(void) {
    atomic_store_explicit(WORD(0), *WORD(0) >> 32 << 32, memory_order_release);
}

/* Takes a lock: entry in the table (place 0), count and sequence in the word. */
static void lock(int fd_file, uint64_t dev, uint64_t ino) {
    char *place = region + 512;
    *AT(int32_t, place, 4) = fd_file;
    *AT(uint64_t, place, 16) = dev;
    *AT(uint64_t, place, 24) = ino;
    *AT(uint64_t, place, 40) = UINT64_MAX;
    *AT(uint32_t, place, 0) = 2 | 1 << 8 | 4u << 24; /* a dotlock: no kernel lock confirms it */
    uint64_t p = *PROCESS;
    *PROCESS = ((p >> 32) + 1) << 32 | ((p & 0xffffffff & ~0xffffull) | 1);
}

static void section(int open) {
    uint64_t p = *PROCESS;
    uint64_t low = open ? (p & 0xffffffff) | 1 << 16 : (p & 0xffffffff) & ~(1ull << 16);
    *SECTION_SINCE = open ? now() : 0;
    *PROCESS = ((p >> 32) + 1) << 32 | low;
}

static void unlock(void) {
    *AT(uint32_t, region, 512) = 0;
    *LOCK_SEQUENCE += 1;
    uint64_t p = *PROCESS;
    *PROCESS = ((p >> 32) + 1) << 32;
}

static void ready(void) {
    printf("ready\n");
    fflush(stdout);
}

/* Writes numbers to a file, one entry each, and says how long it was held. */
static void work(const char *path, double every_ms) {
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    uint64_t number = 0;
    for (;;) {
        uint64_t held = enter(1, fd);
        number++;
        if (pwrite(fd, &number, 8, 0) != 8)
            exit(4);
        leave();
        if (held > 1000000) {
            printf("held %.1f late %.1f\n", held / 1e6, late / 1e6);
            fflush(stdout);
        }
        pause_ms(every_ms);
    }
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    int fd = open(argv[1], O_RDONLY);
    control = mmap(NULL, CONTROL_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED)
        return 3;
    close(fd);
    const char *mode = argv[2], *argument = argc > 3 ? argv[3] : "";
    if (strcmp(mode, "requeue") == 0) { /* moves all waiters to a word of its own */
        void *other = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        return syscall(SYS_futex, (uint32_t *)BARRIER, FUTEX_REQUEUE, 0, 1000000, other, 0) < 0;
    }
    if (strcmp(mode, "no-region") == 0) {
        ready();
        pause();
    }
    new_region(0);
    if (strcmp(mode, "idle") == 0) {
        ready();
        for (;;)
            pause();
    } else if (strcmp(mode, "work") == 0) {
        ready();
        work(argument, argc > 4 ? atof(argv[4]) : 1);
    } else if (strcmp(mode, "stuck") == 0) { /* a call that never ends */
        enter(1, open(argument, O_CREAT | O_RDWR, 0644));
        ready();
        for (;;)
            pause();
    } else if (strcmp(mode, "slow-to-ask") == 0) {
        /* Finds the barrier closed, and is given no processor between announcing and
         * taking that back. */
        ready();
        while (*BARRIER == 0)
            pause_ms(0.2);
        pause_ms(atof(argument));
        uint64_t asks = word(*WORD(0), ASKING, 1, -1);
        atomic_store(WORD(0), asks);
        for (;;)
            pause();
    } else if (strcmp(mode, "asks-on-a-socket") == 0) {
        /* Has announced a call on a socket when the barrier goes up, is given no processor for so many ms, and
         * takes its number back: that call is not held. */
        int pair[2];
        socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
        uint64_t before = *WORD(0);
        atomic_store(WORD(0), word(before, ASKING, 1, pair[0]));
        ready();
        while (*BARRIER == 0)
            pause_ms(0.2);
        pause_ms(atof(argument));
        atomic_store(WORD(0), before);
        for (;;)
            pause();
    } else if (strcmp(mode, "stuck-thread-gone") == 0) {
        enter(1, open(argument, O_CREAT | O_RDWR, 0644));
        *TID(0) = 1 << 22;
        ready();
        for (;;)
            pause();
    } else if (strcmp(mode, "socket") == 0) {
        int pair[2];
        socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
        enter(1, pair[0]);
        ready();
        for (;;)
            pause();
    } else if (strcmp(mode, "section") == 0) { /* a section of so many ms, again and again */
        double ms = atof(argument);
        lock(-1, 1, 77);
        ready();
        for (;;) {
            lock(-1, 1, 77);
            enter(1, -1);
            section(1);
            leave();
            pause_ms(ms);
            section(0);
            unlock();
            pause_ms(1);
        }
    } else if (strcmp(mode, "lock-chain") == 0) {
        /* A child holds lock 77 without a section and is held at the barrier; the
         * parent, in its section, waits for that lock through a pipe. */
        int pipes[2];
        if (pipe(pipes) != 0)
            return 3;
        uint64_t parent = *NONCE;
        if (fork() == 0) {
            new_region(parent);
            lock(-1, 1, 77);
            while (*BARRIER == 0)
                pause_ms(0.2);
            enter(1, -1);
            leave();
            unlock();
            if (write(pipes[1], "x", 1) != 1)
                _exit(1);
            for (;;)
                pause();
        }
        lock(-1, 1, 78);
        section(1);
        *WAIT_DEV(0) = 1;
        *WAIT_INO(0) = 77;
        atomic_store(WORD(0), word(*WORD(0), LOCKWAIT, 1, -1));
        ready();
        char byte;
        if (read(pipes[0], &byte, 1) != 1)
            return 3;
        leave();
        section(0);
        unlock();
        for (;;)
            pause();
    } else if (strcmp(mode, "child-works") == 0) {
        /* The parent's section lasts until its child has written. */
        int pipes[2];
        if (pipe(pipes) != 0)
            return 3;
        lock(-1, 1, 78);
        section(1);
        uint64_t parent = *NONCE;
        if (fork() == 0) {
            new_region(parent);
            *FLAGS = 2;
            while (*BARRIER == 0)
                pause_ms(0.2);
            enter(1, -1);
            leave();
            if (write(pipes[1], "x", 1) != 1)
                _exit(1);
            _exit(0);
        }
        ready();
        char byte;
        if (read(pipes[0], &byte, 1) != 1)
            return 3;
        wait(NULL);
        section(0);
        unlock();
        for (;;)
            pause();
    } else if (strcmp(mode, "invisible-wait") == 0) {
        /* In its section it waits, in a way nobody can see, for one that is held and
         * is no child of it. */
        int pipes[2];
        if (pipe(pipes) != 0)
            return 3;
        pid_t between = fork();
        if (between > 0)
            waitpid(between, NULL, 0);
        else {
            pid_t middle = getpid();
            if (fork() != 0)
                _exit(0);
            while (getppid() == middle)
                pause_ms(0.2);
            new_region(0);
            while (*BARRIER == 0)
                pause_ms(0.2);
            enter(1, -1);
            leave();
            if (write(pipes[1], "x", 1) != 1)
                _exit(1);
            for (;;)
                pause();
        }
        lock(-1, 1, 78);
        section(1);
        ready();
        char byte;
        if (read(pipes[0], &byte, 1) != 1)
            return 3;
        section(0);
        unlock();
        for (;;)
            pause();
    } else if (strcmp(mode, "passes") == 0) { /* goes past a closed barrier, late */
        ready();
        for (;;) {
            while (*BARRIER == 0)
                pause_ms(0.2);
            pause_ms(atof(argument));
            atomic_store(WORD(0), word(*WORD(0), CALL, 1, -1));
            leave();
            while (*BARRIER != 0)
                pause_ms(0.2);
        }
    } else if (strcmp(mode, "overflow") == 0) { /* more threads than slots, for so many ms */
        *AT(uint32_t, region, 100) = 1;
        *AT(uint64_t, region, 104) += 1;
        ready();
        while (*BARRIER == 0)
            pause_ms(0.2);
        pause_ms(atof(argument));
        *AT(uint32_t, region, 100) = 0;
        for (;;)
            pause();
    } else if (strcmp(mode, "ungated-child") == 0) { /* as a set-id or static program would be */
        if (fork() == 0) {
            execlp("sleep", "sleep", "60", NULL);
            _exit(127);
        }
        pause_ms(200);
        ready();
        for (;;)
            pause();
    } else if (strcmp(mode, "secret-lock") == 0) { /* a lock that the region does not show */
        int file = open(argument, O_CREAT | O_RDWR, 0644);
        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(file, F_SETLK, &whole) != 0)
            return 3;
        ready();
        for (;;)
            pause();
    } else if (strcmp(mode, "maps-shared") == 0) { /* the flag alone is no mapping: the freezer looks */
        int file = open(argument, O_CREAT | O_RDWR, 0644);
        if (ftruncate(file, 4096) != 0
            || mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) == MAP_FAILED)
            return 3;
        *FLAGS = 8;
        ready();
        for (;;)
            pause();
    } else if (strcmp(mode, "locked-writer") == 0) { /* waits at the barrier while it owns a lock */
        lock(-1, 1, 99);
        ready();
        while (*BARRIER == 0)
            pause_ms(0.2);
        enter(1, -1);
        leave();
        for (;;)
            pause();
    } else if (strcmp(mode, "lies") == 0) { /* a region with numbers that cannot be */
        *SLOTS_USED = UINT32_MAX;
        ready();
        for (;;)
            pause();
    }
    return 2;
}
