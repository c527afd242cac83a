/* Runs a program, and makes one system call of it, or of a process that it has forked, fail, or sends a signal there, or
 * lets it read something else than the file says.
 *
 *   inject LOG ROLE N (errno NUMBER | signal NUMBER MS | content HOW) -- PROGRAM [ARGUMENT ...]
 *
 * ROLE: `0` is the program's first thread; `1`, `2`, ... are the tasks that it starts, in that order: threads and
 * children, until one becomes another program, which is let go. N counts that task's system calls from 1; 0: none is
 * touched. MS: after SIGSTOP so long until SIGCONT. HOW, of the first piece that is read of a file from there on: 1 it is
 * empty, 2 half of it is there, 3 it is no text; 4 more: whoever reads of that file from then on. At the end LOG has lines:
 *
 *   task ROLE TGID-ROLE COMM CALLS        for each task
 *   calls ROLE NUMBER NUMBER ...          for each task, if N is 0: what they were, in their order
 *   hit ROLE SYSCALL-NUMBER [FILE]        if the call was reached; the file, of content
 *   exit WAIT-STATUS                      of the program
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <linux/ptrace.h>
#include <unistd.h>

enum { TASKS = 4096, SEEN = 1 << 16, OPTIONS = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
       PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL };

struct task {
    pid_t tid, tgid;
    int role, failing, alive, counts;
    long calls;
    short *seen;
    unsigned long long asked;
    char comm[32];
};
static struct task tasks[TASKS];
static int count, hit_role = -1;
static long hit_call;
static char hit_file[256];

enum { EMPTY = 1, HALF, NO_TEXT, ALWAYS = 4, READS = 2, BREAKS = 3 };

/* Is this a call that reads from a file? Its name then. */
static int reads_a_file(pid_t tid, const struct ptrace_syscall_info *info, char *file, size_t room) {
    char link[64];
    if (info->entry.nr != SYS_read && info->entry.nr != SYS_pread64)
        return 0;
    snprintf(link, sizeof link, "/proc/%d/fd/%d", tid, (int)info->entry.args[0]);
    ssize_t got = readlink(link, file, room - 1);
    file[got > 0 ? got : 0] = 0;
    return file[0] == '/' && strncmp(file, "/dev/", 5) != 0;
}

/* What it has read becomes something else; 0: it has read nothing. */
static int spoil(pid_t tid, struct user_regs_struct *regs, int how) {
    char room[65536];
    size_t got = (long long)regs->rax > 0 ? (size_t)regs->rax : 0;
    if (got == 0)
        return 0;
    if (how == NO_TEXT) {
        memset(room, 0xff, sizeof room);
        struct iovec from = {room, got < sizeof room ? got : sizeof room}, to = {(void *)regs->rsi, from.iov_len};
        return process_vm_writev(tid, &from, 1, &to, 1, 0) > 0;
    }
    regs->rax = how == EMPTY ? 0 : (got + 1) / 2;
    return ptrace(PTRACE_SETREGS, tid, 0, regs) == 0;
}

static pid_t tgid_of(pid_t tid, char *comm, size_t room) {
    char path[64], line[256];
    pid_t tgid = tid;
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "Tgid: %d", &tgid) == 1)
            break;
        if (strncmp(line, "Name:\t", 6) == 0) {
            line[6 + strcspn(line + 6, "\n ")] = 0;
            snprintf(comm, room, "%.*s", (int)room - 1, line + 6);
        }
    }
    if (file)
        fclose(file);
    return tgid;
}

static struct task *find(pid_t tid) {
    for (int i = count - 1; i >= 0; i--)
        if (tasks[i].alive && tasks[i].tid == tid)
            return &tasks[i];
    return NULL;
}

static struct task *add(pid_t tid) {
    if (count == TASKS)
        exit(70);
    struct task *task = &tasks[count];
    *task = (struct task){.tid = tid, .role = count, .alive = 1, .counts = count > 0};
    count++;
    task->tgid = tgid_of(tid, task->comm, sizeof task->comm);
    return task;
}

/* A call whose failure means nothing, or that does not come back. */
static int has_no_failure(long call) {
    return call == SYS_exit || call == SYS_exit_group || call == SYS_rt_sigreturn || call == SYS_restart_syscall;
}

int main(int argc, char **argv) {
    int program = 1;
    while (program < argc && strcmp(argv[program], "--") != 0)
        program++;
    if (argc < 6 || program + 1 >= argc)
        return 64;
    int role = atoi(argv[2]), by_signal = strcmp(argv[4], "signal") == 0, number = atoi(argv[5]);
    int content = strcmp(argv[4], "content") == 0, always = content && number & ALWAYS;
    number &= content ? ~ALWAYS : -1;
    long at = atol(argv[3]), pause_ms = by_signal ? atol(argv[6]) : 0;
    int go[2];
    if (pipe(go) != 0)
        return 70;
    pid_t first = fork();
    if (first == 0) {
        char c;
        close(go[1]);
        if (read(go[0], &c, 1) != 1)
            _exit(70);
        close(go[0]);
        execv(argv[program + 1], argv + program + 1);
        _exit(127);
    }
    close(go[0]);
    if (ptrace(PTRACE_SEIZE, first, 0, OPTIONS) != 0) {
        perror("PTRACE_SEIZE");
        return 70;
    }
    add(first);
    if (write(go[1], "g", 1) != 1)
        return 70;
    close(go[1]);
    /* The program's output ends with the program. */
    close(0), close(1), close(2);
    int status, ended = -1;
    pid_t tid;
    ptrace(PTRACE_INTERRUPT, first, 0, 0);
    while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
        if (tid <= 0)
            continue;
        struct task *task = find(tid);
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (task)
                task->alive = 0;
            if (tid == first) {
                ended = status;
                FILE *log = fopen(argv[1], "a");
                if (log)
                    fprintf(log, "exit %d\n", status), fclose(log);
            }
            continue;
        }
        if (!task)
            task = add(tid);
        int sig = WSTOPSIG(status), event = status >> 16, deliver = 0;
        if (sig == (SIGTRAP | 0x80)) {
            struct ptrace_syscall_info info;
            struct user_regs_struct regs;
            if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) > 0) {
                if (info.op == PTRACE_SYSCALL_INFO_ENTRY && task->counts) {
                    long call = (long)info.entry.nr;
                    if (at == 0 && task->calls < SEEN) {
                        if (!task->seen && !(task->seen = malloc(SEEN * sizeof(short))))
                            return 70;
                        task->seen[task->calls] = (short)call;
                    }
                    task->calls++;
                    if (content) {
                        char file[sizeof hit_file];
                        int is_next = at && task->calls >= at && task->role == role && hit_role < 0;
                        if ((is_next || (always && hit_role >= 0)) && reads_a_file(tid, &info, file, sizeof file) &&
                            (is_next || strcmp(file, hit_file) == 0)) {
                            task->failing = READS;
                            strcpy(hit_file, file);
                        }
                    } else if (task->calls == at && task->role == role && !has_no_failure(call)) {
                        hit_role = role, hit_call = call;
                        if (by_signal) {
                            kill(task->tgid, number);
                            if (pause_ms && fork() == 0) {
                                usleep((useconds_t)pause_ms * 1000);
                                kill(task->tgid, SIGCONT);
                                _exit(0);
                            }
                        } else if (ptrace(PTRACE_GETREGS, tid, 0, &regs) == 0 && call == SYS_brk) {
                            /* It has no error: where memory is short it tells where the break is, and that has not moved. */
                            task->asked = regs.rdi, regs.rdi = 0;
                            ptrace(PTRACE_SETREGS, tid, 0, &regs);
                            task->failing = BREAKS;
                        } else if (ptrace(PTRACE_GETREGS, tid, 0, &regs) == 0) {
                            regs.orig_rax = (unsigned long long)-1;
                            ptrace(PTRACE_SETREGS, tid, 0, &regs);
                            task->failing = 1;
                        }
                    }
                } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && task->failing == READS) {
                    task->failing = 0;
                    if (ptrace(PTRACE_GETREGS, tid, 0, &regs) == 0 && spoil(tid, &regs, number))
                        hit_role = role, hit_call = (long)regs.orig_rax;
                } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && task->failing == BREAKS) {
                    task->failing = 0;
                    if (ptrace(PTRACE_GETREGS, tid, 0, &regs) == 0) {
                        regs.rdi = task->asked;
                        ptrace(PTRACE_SETREGS, tid, 0, &regs);
                    }
                } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && task->failing) {
                    task->failing = 0;
                    if (ptrace(PTRACE_GETREGS, tid, 0, &regs) == 0) {
                        regs.rax = (unsigned long long)-(long long)number;
                        ptrace(PTRACE_SETREGS, tid, 0, &regs);
                    }
                }
            }
        } else if (event == PTRACE_EVENT_EXEC) {
            if (task->role == 0)
                task->counts = 1;
            else {
                task->alive = 0;
                ptrace(PTRACE_DETACH, tid, 0, 0);
                continue;
            }
        } else if (event == PTRACE_EVENT_STOP) {
            if (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU) {
                ptrace(PTRACE_LISTEN, tid, 0, 0);
                continue;
            }
        } else if (event == 0) {
            deliver = sig;
        }
        /* Its name, while it can be had. */
        if (task->calls < 2)
            tgid_of(tid, task->comm, sizeof task->comm);
        ptrace(PTRACE_SYSCALL, tid, 0, deliver);
    }
    FILE *log = fopen(argv[1], "a");
    if (!log)
        return 70;
    for (int i = 0; i < count; i++) {
        int of = i;
        for (int j = 0; j < i; j++)
            if (tasks[j].tid == tasks[i].tgid)
                of = j;
        fprintf(log, "task %d %d %s %ld\n", i, of, tasks[i].comm, tasks[i].calls);
        if (tasks[i].seen) {
            fprintf(log, "calls %d", i);
            for (long n = 0; n < tasks[i].calls && n < SEEN; n++)
                fprintf(log, " %d", tasks[i].seen[n]);
            fprintf(log, "\n");
        }
    }
    if (hit_role >= 0)
        fprintf(log, "hit %d %ld %s\n", hit_role, hit_call, content ? hit_file : "");
    fclose(log);
    return ended >= 0 ? 0 : 70;
}
