/* What takes and gives up locks, under a filter that the program lays on itself and that allows its own calls alone: every
 * other one kills. (No vfork: after one the library asks in whose process it is.)
 *
 *   names       tells on stdout, by write(2) alone, "done" once it is through
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const unsigned own[] = {SYS_write, SYS_openat, SYS_close, SYS_unlink, SYS_link, SYS_symlink, SYS_mkdir, SYS_rmdir, SYS_rename,
    SYS_fcntl, SYS_flock, SYS_dup, SYS_dup2, SYS_wait4, SYS_clone, SYS_set_robust_list, SYS_rseq, SYS_exit, SYS_exit_group,
    SYS_rt_sigreturn};

static void must(int ok, const char *what)
{
    if (ok) return;
    write(1, what, strlen(what));
    syscall(SYS_exit_group, 69);
}

static int make(const char *name)
{
    int fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    must(fd >= 0, name);
    return fd;
}

static void names(void)
{
    struct flock whole = {.l_type = F_WRLCK};
    int status, fd = make("a.lock"), copy;
    must(write(fd, "1", 1) == 1, "write");
    must(flock(fd, LOCK_EX) == 0 && flock(fd, LOCK_UN) == 0, "flock");
    must(close(fd) == 0 && unlink("a.lock") == 0, "unlink");
    fd = make("b.lock.host.1");
    must(close(fd) == 0 && link("b.lock.host.1", "b.lock") == 0 && unlink("b.lock.host.1") == 0 && unlink("b.lock") == 0, "link");
    must(mkdir("c.lck", 0700) == 0 && rmdir("c.lck") == 0, "mkdir");
    must(symlink("x", "d.lck") == 0 && unlink("d.lck") == 0, "symlink");
    fd = make("e");
    must(rename("e", "e.lck") == 0 && rename("e.lck", "e") == 0 && unlink("e") == 0, "rename");
    must(fcntl(fd, F_SETLKW, &whole) == 0 && write(fd, "1", 1) == 1, "fcntl");
    must((copy = dup(fd)) >= 0 && dup2(fd, 30) == 30 && close(copy) == 0 && close(30) == 0, "dup");
    whole.l_type = F_UNLCK;
    must(fcntl(fd, F_SETLK, &whole) == 0 && flock(fd, LOCK_SH) == 0, "unlock");
    pid_t child = fork();
    if (!child) _exit(0);
    must(waitpid(child, &status, 0) == child && status == 0, "waitpid");
    must(waitpid(-1, 0, 0) == -1, "no child");
    must(close(fd) == 0, "close");
}

int main(void)
{
    struct sock_filter code[80] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    int n = 1, old = make("old.lock"), guard = open("guard", O_CREAT | O_RDWR, 0600);
    must(guard >= 0 && flock(guard, LOCK_EX) == 0, "guard");
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, own[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {n, code};
    names();
    must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "filter");
    names();
    /* What it has made before. */
    must(close(old) == 0 && unlink("old.lock") == 0 && close(guard) == 0, "old.lock");
    must(write(1, "done\n", 5) == 5, "stdout");
    syscall(SYS_exit_group, 0);
}
