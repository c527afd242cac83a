/* A barrier that goes up between any two instructions of a call: who was not seen in flight then is held.
 *
 *   steps PAGE FILE BARRIERS... -- ENVIRONMENT...      BARRIERS: where in PAGE they lie
 *
 * The program steps a child of its, that has the library, to each instruction of a call that changes FILE in turn, raises
 * the barrier there, and reads what the child shows, as a freezer does. A child that shows no call, and makes this one
 * while the barrier is up, would change a file in the middle of a snapshot.
 * It tells, for each kind of call: its name, how many places, at how many it showed nothing, at how many of these it went on.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS_AT = 4096, DOING_SHIFT = 29, IDLE = 0, HELD = 2 };    /* gate/src/region.rs, gate/src/word/ */
static const struct { const char *name; long number; } KINDS[] = {{"write", SYS_write}, {"pwrite", SYS_pwrite64}, {"fchmod", SYS_fchmod}, {0, 0}};

static void die(const char *what) { perror(what); exit(70); }

static void traced(const char *file)
{
    int fd = open(file, O_RDWR | O_CREAT, 0644);
    /* It has its region, and has asked all that is asked once. */
    if (fd != 3 || write(fd, "x", 1) != 1 || pwrite(fd, "x", 1, 0) != 1 || fchmod(fd, 0600)) die("child");
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    for (int kind = 0;; kind++)
        /* The tracer says when it has seen enough of this kind: in rax, at the second trap. */
        for (long more = 1; more;) {
            asm volatile("int3" ::: "memory");
            if (kind == 0) write(fd, "x", 1);
            if (kind == 1) pwrite(fd, "x", 1, 0);
            if (kind == 2) fchmod(fd, 0600);
            if (kind == 3) _exit(0);
            asm volatile("int3" : "+a"(more)::"memory");
        }
}

static pid_t child;
static int go(int how)
{
    int status;
    if (ptrace(how, child, 0, 0) < 0 || waitpid(child, &status, 0) != child) die("ptrace");
    return status;
}
static void to_trap(void)
{
    int status = go(PTRACE_CONT);
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) { fprintf(stderr, "no trap: %x\n", status); exit(70); }
}

/* Where the child's region lies. */
static uint64_t region(void)
{
    char name[64], line[512];
    snprintf(name, sizeof name, "/proc/%d/maps", child);
    FILE *maps = fopen(name, "r");
    uint64_t from, to;
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "/dev/zero (deleted)") && sscanf(line, "%lx-%lx", &from, &to) == 2 && to - from > SLOTS_AT + 2048 * 16) return fclose(maps), from;
    die("no region");
    return 0;
}

static int shows_nothing(uint64_t at)
{
    for (int slot = 0; slot < 4; slot++) {
        uint64_t doing = (uint64_t)ptrace(PTRACE_PEEKDATA, child, at + SLOTS_AT + 16 * slot, 0) >> DOING_SHIFT & 7;
        if (doing != IDLE && doing != HELD) return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "traced")) traced(argv[2]);
    int page = open(argv[1], O_RDWR | O_CLOEXEC), barriers = 0, at[8], n = 3;
    for (; n < argc && strcmp(argv[n], "--"); n++) at[barriers++] = atoi(argv[n]);
    char *mapped = mmap(0, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
    if (mapped == MAP_FAILED) die("page");
    if (!(child = fork())) {
        for (n++; n < argc; n++) putenv(argv[n]);
        execl("/proc/self/exe", argv[0], "traced", argv[2], NULL);
        die("exec");
    }
    int status;
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) die("start");
    uint64_t its = region();
    for (int kind = 0; KINDS[kind].name; kind++) {
        int places = 0, nothing = 0, passed = 0, made = 0;
        for (int steps = 0; !made; steps++) {
            struct user_regs_struct regs;
            for (int n = 0; n < steps && !made; n++) {
                ptrace(PTRACE_GETREGS, child, 0, &regs);
                uint16_t next = ptrace(PTRACE_PEEKTEXT, child, regs.rip, 0);
                /* The instruction that makes the call: beyond it there is nothing to hold. */
                made = next == 0x050f && regs.rax == KINDS[kind].number && regs.rdi == 3;
                if (!made) go(PTRACE_SINGLESTEP);
            }
            struct timespec now;
            clock_gettime(CLOCK_MONOTONIC, &now);
            uint64_t ns = now.tv_sec * 1000000000ull + now.tv_nsec;
            *(volatile uint64_t *)(mapped + 40) = ns;
            for (int n = 0; n < barriers; n++) *(volatile uint64_t *)(mapped + at[n]) = ns + 20000000000ull;
            int nothing_here = shows_nothing(its), goes_on = 0, trap = 0;
            for (;;) {
                status = go(PTRACE_SYSCALL);
                if (WSTOPSIG(status) != SIGTRAP) die("a signal");
                ptrace(PTRACE_GETREGS, child, 0, &regs);
                if ((uint16_t)(ptrace(PTRACE_PEEKTEXT, child, regs.rip - 2, 0)) != 0x050f) { trap = 1; break; }
                if (regs.orig_rax == KINDS[kind].number && regs.rdi == 3) goes_on = 1;
                if (regs.orig_rax == SYS_futex) break;
            }
            places++;
            nothing += nothing_here;
            passed += nothing_here && goes_on;
            for (int n = 0; n < barriers; n++) {
                *(volatile uint64_t *)(mapped + at[n]) = 0;
                syscall(SYS_futex, mapped + at[n], FUTEX_WAKE, INT_MAX, 0, 0, 0);
            }
            if (!trap) to_trap();
            ptrace(PTRACE_GETREGS, child, 0, &regs);
            regs.rax = !made;
            ptrace(PTRACE_SETREGS, child, 0, &regs);
            to_trap();
        }
        printf("%s %d %d %d\n", KINDS[kind].name, places, nothing, passed);
        fflush(stdout);
    }
    kill(child, SIGKILL);
}
