/* Executes a program without a vDSO, as some virtual machines do: it has no clock but the system call.
 *   blind PROGRAM ARGUMENTS... */
#include <elf.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    pid_t child = fork();
    if (!child) { ptrace(PTRACE_TRACEME, 0, 0, 0); execv(argv[1], argv + 1); _exit(127); }
    int status;
    struct user_regs_struct r;
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, child, 0, &r)) return 64;
    unsigned long at = r.rsp, nulls = 0;
    for (at += 8; nulls < 2; at += 8)
        if (!ptrace(PTRACE_PEEKDATA, child, at, 0)) nulls++;
    for (;; at += 16) {
        unsigned long kind = ptrace(PTRACE_PEEKDATA, child, at, 0);
        if (kind == AT_NULL) return 65;
        if (kind == AT_SYSINFO_EHDR) { ptrace(PTRACE_POKEDATA, child, at, AT_IGNORE); break; }
    }
    ptrace(PTRACE_DETACH, child, 0, 0);
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
