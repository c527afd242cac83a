/* How much stack do the hooks need? Each call is made on a thread whose stack was filled with a pattern; what has
 * been overwritten below the caller is what the call needed.   stack DIRECTORY
 * Prints a line for each call: its name and the bytes. The driver closes the barrier, runs it bare, and compares. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 65536
static char stack[SIZE] __attribute__((aligned(4096)));
static int fd, locked;
static FILE *stream;
static char long_name[1500];

static void do_write(void) { write(fd, "x", 1); }
static void do_rename(void) { rename("stack-a", "stack-b"); }
static void do_long_rename(void) { rename(long_name, long_name); }
static void do_open(void) { close(open("stack-a", O_CREAT | O_WRONLY, 0600)); }
static void do_unlink(void) { unlink("stack-b"); }
static void do_unlink_lock(void) { unlink("x.lock"); }
static void do_chmod(void) { fchmodat(AT_FDCWD, "stack-a", 0600, 0); }
static void do_mkdir(void) { mkdir("stack-d", 0700); rmdir("stack-d"); }
static void do_fputc(void) { fputc('x', stream); fflush_unlocked(stream); }
static void do_lock(void) { struct flock l = {.l_type = F_WRLCK}; fcntl(locked, F_SETLK, &l); l.l_type = F_UNLCK; fcntl(locked, F_SETLK, &l); }
static void do_locked_write(void) { flock(locked, LOCK_EX); write(fd, "x", 1); flock(locked, LOCK_UN); }
static void do_link_lock(void) { link("stack-a", "x.lock"); }
static void do_locked_rename(void) { flock(locked, LOCK_EX); rename("stack-a", "stack-b"); flock(locked, LOCK_UN); }
static void do_syscall(void) { syscall(SYS_renameat, AT_FDCWD, "stack-a", AT_FDCWD, "stack-b"); }
static void do_printf(void) { fprintf(stream, "x"); fflush_unlocked(stream); }
static void do_dup2(void) { dup2(fd, 40); }
static void do_reap(void) { pid_t c = fork(); if (!c) _exit(0); waitpid(c, 0, 0); }
static void do_child_write(void) { pid_t c = fork(); if (!c) { write(fd, "x", 1); _exit(0); } waitpid(c, 0, 0); }

static struct { const char *name; void (*call)(void); } calls[] = {
    {"write", do_write}, {"open", do_open}, {"rename", do_rename}, {"long-rename", do_long_rename}, {"unlink", do_unlink}, {"chmod", do_chmod},
    {"mkdir", do_mkdir}, {"fputc", do_fputc}, {"lock", do_lock}, {"locked-write", do_locked_write}, {"link-lock", do_link_lock},
    {"unlink-lock", do_unlink_lock}, {"dup2", do_dup2}, {"locked-rename", do_locked_rename}, {"syscall", do_syscall}, {"fprintf", do_printf}, {"reap", do_reap}, {"child-write", do_child_write},
};

static char *called_at;
static void *thread(void *call)
{
    char here;
    called_at = &here;
    memset(stack, 0xa5, (called_at - 256) - stack);
    ((void (*)(void))call)();
    return 0;
}

/* Files that the library has not looked at: the first look needs most. */
static void fresh(int number)
{
    char name[40];
    static FILE *last[2];
    snprintf(name, sizeof name, "stack-fresh-%d", number);
    dup2(open(name, O_CREAT | O_WRONLY | O_TRUNC, 0600), fd);
    if (last[0]) fclose(last[0]);
    last[0] = last[1];
    last[1] = stream = fopen(name, "r+");
}

int main(int argc, char **argv)
{
    if (argc < 2 || chdir(argv[1])) return 64;
    int data = open("stack-data", O_CREAT | O_WRONLY | O_APPEND, 0600);
    fd = dup(data);
    locked = open("stack-lock", O_CREAT | O_RDWR, 0600);
    stream = fopen("stack-stream", "w");
    memset(long_name, 'y', sizeof long_name - 1);
    for (int i = 100; i < sizeof long_name - 1; i += 100) long_name[i] = '/';
    puts("ready");
    fflush(stdout);
    getchar();
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < sizeof calls / sizeof *calls; i++) {
            fresh(round * 100 + i);
            pthread_attr_t a;
            pthread_t t;
            pthread_attr_init(&a);
            pthread_attr_setstack(&a, stack, SIZE);
            pthread_create(&t, &a, thread, calls[i].call);
            pthread_join(t, 0);
            char *low = stack;
            while (*low == (char)0xa5) low++;
            if (round) dprintf(data, "%s %ld\n", calls[i].name, (long)(called_at - low));
            else usleep(1000);
        }
    return 0;
}
