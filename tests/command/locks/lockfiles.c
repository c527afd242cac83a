/* lockfiles CASE DIR: as holders.c, with a lock that is a file. Called `lockfile` it makes the files that it is told,
   and ends. OUTSIDE: a lock file in a place that is not protected. */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/prctl.h>
#include "half.h"

static const char *box = "box.lock";
static void make(const char *name) { int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600); must(fd >= 0, name); close(fd); }
static void set_and_unlink(const char *name) { byte(a); half(); byte(b); must(unlink(name) == 0, name); }
static void in_child(void (*does)(void)) { pid_t child = fork(); if (!child) { does(); _exit(0); } waitpid(child, 0, 0); }
static void run(const char *program, const char *one, const char *two)
{
    pid_t child = vfork();
    if (!child) { execlp(program, program, one, two, (char *)0); _exit(3); }
    int status;
    must(waitpid(child, &status, 0) == child && status == 0, program);
}

static void plain(void) { make(".lock"); set_and_unlink(".lock"); }
static void kernel_too(void)
{
    int fd = open(box, O_CREAT | O_EXCL | O_RDWR, 0600);
    must(fd >= 0 && flock(fd, LOCK_EX) == 0 && write(fd, "1\n", 2) == 2, box);
    close(fd);
    set_and_unlink(box);
}
static void make_box(void) { make(box); }
static void remove_nothing(void) { }
static void remove_box(void) { must(unlink(box) == 0, box); }
static void child_makes(void) { in_child(make_box); set_and_unlink(box); }
static void child_removes(void) { make(box); byte(a); half(); byte(b); in_child(remove_box); }
static void another_removes(void)
{
    /* Not a child that is waited for. */
    make(box); byte(a); half(); byte(b);
    if (!fork()) { if (!fork()) { remove_box(); } _exit(0); }
    while (access(box, F_OK) == 0) usleep(1000);
}
/* More than a few at a time, under long names too; and all are removed by another. */
static void many_removed(void)
{
    enum { MANY = 40 };
    static char name[MANY][700];
    for (int i = 0; i < MANY; i++) {
        /* Each in a directory of its own, ever deeper. */
        int at = sprintf(name[i], "%d", i);
        for (int deep = 0; deep < i / 4; deep++) {
            must(mkdir(name[i], 0700) == 0 || errno == EEXIST, name[i]);
            at += sprintf(name[i] + at, "/%060d", deep);
        }
        strcpy(name[i] + at, ".lock");
        make(name[i]);
    }
    byte(a); half(); byte(b);
    if (!fork()) { if (!fork()) for (int i = 0; i < MANY; i++) must(unlink(name[i]) == 0, name[i]); _exit(0); }
    for (int i = 0; i < MANY; i++) while (access(name[i], F_OK) == 0) usleep(1000);
}
static void shell_makes(void) { must(system("set -C; : > box.lock") == 0, "system"); set_and_unlink(box); }
static void shell_removes(void) { make(box); byte(a); half(); byte(b); must(system("rm box.lock") == 0, "rm"); }
static void helper_makes(void) { run("lockfile", box, 0); set_and_unlink(box); }
static void helper_appends(void) { run("lockfile-create", "box", 0); set_and_unlink(box); }
static void maker_exits(void) { make(box); byte(a); if (fork()) _exit(0); half(); byte(b); remove_box(); }
static void maker_exits_late(void)
{
    make(box); byte(a);
    if (fork()) _exit(0);
    byte(file("c", O_RDWR)); half(); byte(b); remove_box();
}
/* Another child ends while the helper is still at work. */
static void spawned_beside(void)
{
    extern char **environ;
    char *argv[] = {"lockfile", (char *)box, 0};
    pid_t helper, beside;
    int status;
    setenv("HELPER_MS", "300", 1);
    must(posix_spawnp(&helper, "lockfile", 0, 0, argv, environ) == 0, "posix_spawnp");
    if (!(beside = fork())) _exit(0);
    must(waitpid(beside, &status, 0) == beside, "waitpid");
    must(waitpid(helper, &status, 0) == helper && status == 0, "lockfile");
    set_and_unlink(box);
}
static void spawned_unasked(void)
{
    extern char **environ;
    char *argv[] = {"lockfile", (char *)box, 0};
    must(posix_spawnp(0, "lockfile", 0, 0, argv, environ) == 0, "posix_spawnp");
    must(wait(0) > 0, "wait");
    set_and_unlink(box);
}
static void pipe_makes(void)
{
    setenv("HELPER_MS", "300", 1);
    FILE *helper = popen("lockfile box.lock", "r"), *other = popen("lockfile other.lock; exit 3", "r");
    must(helper && other, "popen");
    in_child(remove_nothing);
    must(pclose(other) != 0 && pclose(helper) == 0, "pclose");
    set_and_unlink(box);
}
/* More children than a small mailbox has places hold lock files, and end. */
static void many_children(void)
{
    enum { MANY = 60 };
    int go[2], made[2];
    char name[20], byte_of;
    must(pipe(go) == 0 && pipe(made) == 0, "pipe");
    for (int i = 0; i < MANY; i++)
        if (!fork()) {
            snprintf(name, sizeof name, "%d.lock", i);
            make(name);
            must(write(made[1], "x", 1) == 1 && close(go[1]) == 0, "pipe");
            if (read(go[0], name, 1)) _exit(1);
            snprintf(name, sizeof name, "%d.lock", i);
            must(unlink(name) == 0, name);
            _exit(0);
        }
    for (int i = 0; i < MANY; i++) must(read(made[0], &byte_of, 1) == 1, "read");
    in_child(make_box);
    close(go[1]);
    for (int i = 0; i < MANY; i++) must(wait(0) > 0, "wait");
    set_and_unlink(box);
}
static char *long_command(const char *begin, int len)
{
    char *command = malloc(len + 1);
    memset(command, 'x', len);
    command[len] = 0;
    memcpy(command, begin, strlen(begin));
    return command;
}
static void long_shell(void)
{
    char *command = long_command(": ", 100000);
    memcpy(command + 100000 - 24, "; set -C; : > box.lock", 22);
    memset(command + 100000 - 2, ' ', 2);
    must(system(command) == 0, "system");
    set_and_unlink(box);
}
static void many_arguments(void)
{
    enum { MANY = 3000 };
    char *argv[MANY + 3] = {"lockfile"};
    for (int i = 1; i <= MANY; i++) argv[i] = "-x";
    argv[MANY + 1] = (char *)box;
    pid_t child = vfork();
    if (!child) { execvp("lockfile", argv); _exit(3); }
    int status;
    must(waitpid(child, &status, 0) == child && status == 0, "lockfile");
    set_and_unlink(box);
}
static void name_with_space(void) { run("lockfile", "the box.lock", 0); set_and_unlink("the box.lock"); }
static void quoted_name(void) { must(system("set -C; : > 'the box.lock'") == 0, "system"); set_and_unlink("the box.lock"); }
/* Two command lines fill the mailbox; what a third child leaves does not fit, and is no secret. */
static void mailbox_full(void)
{
    int hold[2];
    pid_t fillers[2], stopped[40];
    must(pipe(hold) == 0, "pipe");
    for (int i = 0; i < 2; i++)
        if (!(fillers[i] = fork())) {
            dup2(hold[0], 0);
            close(hold[1]);
            execlp("sh", "sh", "-c", long_command("set -C; read x; exit 3; : ", 106000), (char *)0);
            _exit(3);
        }
    /* Both are shells when they read. */
    for (int i = 0; i < 2; i++) {
        char path[40], comm[16] = "";
        snprintf(path, sizeof path, "/proc/%d/comm", fillers[i]);
        while (strcmp(comm, "sh\n")) {
            int fd = open(path, O_RDONLY);
            comm[read(fd, comm, 15)] = 0;
            close(fd);
            usleep(1000);
        }
    }
    /* Lock files of others leave no place free. */
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        if (!child) { char name[20]; close(hold[1]); snprintf(name, sizeof name, "%d.lock", i); make(name); raise(SIGSTOP); unlink(name); _exit(0); }
        must(waitpid(child, 0, WUNTRACED) == child, "waitpid");
        stopped[i] = child;
    }
    in_child(make_box);
    close(hold[1]);
    for (int i = 0; i < 2; i++) must(waitpid(fillers[i], 0, 0) == fillers[i], "waitpid");
    for (int i = 0; i < 40; i++) must(kill(stopped[i], SIGCONT) == 0 && waitpid(stopped[i], 0, 0) == stopped[i], "waitpid");
    set_and_unlink(box);
}
/* A filter that kills for each question that the program does not ask itself, laid while a program is at work that makes a
   lock file: it has ended well, and what it has made must not be looked at. */
static void killed_for_questions(void)
{
    static const int questions[] = {SYS_newfstatat, SYS_fstat, SYS_statx, SYS_getpid, SYS_gettid, SYS_readlink, SYS_openat, SYS_getcwd, SYS_rt_sigprocmask, SYS_tgkill};
    enum { MANY = sizeof questions / sizeof *questions };
    struct sock_filter lines[2 + 2 * MANY] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    for (int i = 0; i < MANY; i++) {
        lines[1 + 2 * i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, questions[i], 0, 1);
        lines[2 + 2 * i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    }
    lines[1 + 2 * MANY] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {2 + 2 * MANY, lines};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
}
static void confined_meanwhile(void)
{
    setenv("HELPER_MS", "200", 1);
    pid_t child = vfork();
    if (!child) { execlp("lockfile", "lockfile", box, (char *)0); _exit(3); }
    killed_for_questions();
    int status;
    must(waitpid(child, &status, 0) == child && status == 0, "lockfile");
    set_and_unlink(box);
}
static void message(void)
{
    /* A message on a host called mx.lock.example is no hitching post. */
    const char *name = "1732.M1P2.mx.lock.example";
    close(file(name, O_RDWR));
    flock(l, LOCK_EX); must(unlink(name) == 0, name); half(); byte(b); close(l);
}
static void data_file(void) { close(file("composer.lock", O_RDWR)); flock(l, LOCK_EX); must(unlink("composer.lock") == 0, "unlink"); half(); byte(b); close(l); }

static void directory(void) { must(mkdir("box.lck", 0700) == 0, "mkdir"); byte(a); half(); byte(b); must(rmdir("box.lck") == 0, "rmdir"); }
static void symbolic(void) { must(symlink("host:12", "box.lck") == 0, "symlink"); set_and_unlink("box.lck"); }
static void exclusive(void) { make("box.lck"); set_and_unlink("box.lck"); }
static void renamed(void) { make("mine"); must(rename("mine", "box.lck") == 0, "rename"); set_and_unlink("box.lck"); }
static void by_mkdir(void) { run("mkdir", "box.lck", 0); byte(a); half(); byte(b); run("rmdir", "box.lck", 0); }
static void by_ln(void) { run("ln", "l", "box.lck"); byte(a); half(); byte(b); run("rm", "box.lck", 0); }

static void outside(void)
{
    const char *name = getenv("OUTSIDE");
    byte(file("c", O_RDWR));
    say("READY\n"); await();
    make(name);
    say("LOCKED\n");
    byte(a); half(); byte(b); unlink(name);
}
/* A child that fails, or is killed, has locked nothing for its parent. */
static void make_and_fail(void) { make(box); _exit(1); }
static void make_and_die(void) { make("other.lock"); raise(SIGKILL); }
static void stale(void) { in_child(make_and_fail); in_child(make_and_die); byte(a); half(); byte(b); }

#define CASE(name) {#name, name}
static struct { const char *name; void (*run)(void); } cases[] = {
    CASE(plain), CASE(kernel_too), CASE(child_makes), CASE(child_removes), CASE(another_removes), CASE(shell_makes),
    CASE(shell_removes), CASE(helper_makes), CASE(helper_appends), CASE(maker_exits), CASE(maker_exits_late), CASE(message),
    CASE(data_file), CASE(directory), CASE(symbolic), CASE(exclusive), CASE(renamed), CASE(by_mkdir), CASE(by_ln), CASE(outside),
    CASE(stale), CASE(spawned_beside), CASE(spawned_unasked), CASE(pipe_makes), CASE(many_children), CASE(many_removed), CASE(long_shell),
    CASE(many_arguments), CASE(name_with_space), CASE(quoted_name), CASE(mailbox_full), CASE(confined_meanwhile)};

int main(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    if (!strncmp(name, "lockfile", 8) && strcmp(name, "lockfiles")) {
        char path[300];
        if (getenv("HELPER_MS")) usleep(atoi(getenv("HELPER_MS")) * 1000);
        snprintf(path, sizeof path, "%s%s", argv[argc - 1], strcmp(name, "lockfile") ? ".lock" : "");
        make(path);
        return 0;
    }
    prepare(argc, argv);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!strcmp(argv[1], cases[i].name)) {
            cases[i].run();
            say("DONE\n");
            await();
            return 0;
        }
    return 2;
}
