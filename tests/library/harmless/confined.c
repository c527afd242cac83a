/* A program under a system call filter meets a closed barrier: how long does its write take, and does it live?
 *
 *   confined OWN|BEFORE|NEITHER ACTION SYSCALLS FILE [exec'd program and arguments]
 *
 * OWN: it lays the filter on itself, by prctl; CALL: by syscall(seccomp); STRICT: SECCOMP_MODE_STRICT.
 * BEFORE: the filter is laid on, then the rest of the arguments is executed under it.
 * ACTION: kill, or an errno's number. SYSCALLS: comma-separated numbers; +n: only these are allowed.
 * Without BEFORE: tells on FILE, by write(2) alone, "waited" once it is through.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int filter(const char *action, const char *list, int by_call)
{
    static struct sock_filter code[520];
    int n = 0, only = *list == '+';
    unsigned act = !strcmp(action, "kill") ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | atoi(action);
    unsigned hit = only ? SECCOMP_RET_ALLOW : act, miss = only ? act : SECCOMP_RET_ALLOW;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    char *copy = strdup(list + only);
    for (char *s = strtok(copy, ","); s && n < 500; s = strtok(0, ",")) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, atoi(s), 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, hit);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, miss);
    struct sock_fprog program = {n, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -1;
    return by_call ? syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
    if (argc < 5) return 64;
    if (!strcmp(argv[1], "BEFORE")) {
        if (filter(argv[2], argv[3], 0)) return 65;
        execv(argv[4], argv + 4);
        return 66;
    }
    int fd = open(argv[4], O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0 || write(fd, "ready\n", 6) != 6) return 67;
    /* The barrier goes up now. */
    poll(0, 0, 300);
    int bad = !strcmp(argv[1], "STRICT") ? prctl(PR_SET_SECCOMP, 1) : !strcmp(argv[1], "NEITHER") ? 0 : filter(argv[2], argv[3], !strcmp(argv[1], "CALL"));
    if (bad) return 68;
    for (int i = 0; i < 3; i++)
        if (write(fd, "waited\n", 7) != 7) syscall(SYS_exit, 69);
    syscall(SYS_exit, 0);
}
