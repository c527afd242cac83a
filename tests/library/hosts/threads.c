/* Threads that open, lock, write, rename, fork and unlink: for the thread and address sanitizers. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static char dir[300];
static void *work(void *n)
{
    char a[400], b[400];
    for (int i = 0; i < 200; i++) {
        snprintf(a, sizeof a, "%s/%ld", dir, (long)n); snprintf(b, sizeof b, "%s.x", a);
        int f = open(a, O_RDWR | O_CREAT | O_TRUNC, 0644);
        struct flock l = { .l_type = F_WRLCK };
        if (!(i & 7)) fcntl(f, F_SETLKW, &l);
        if (write(f, "hello", 5) != 5) _exit(9);
        close(f); rename(a, b); FILE *s = fopen(b, "a"); fputs("y", s); fclose(s); unlink(b);
        if (!(i % 50)) { pid_t p = fork(); if (!p) { int g = open(a, O_WRONLY | O_CREAT, 0600); if (write(g, "c", 1) != 1) _exit(1); _exit(0); } waitpid(p, 0, 0); }
    }
    return 0;
}
int main(int c, char **v)
{
    strcpy(dir, v[1]); pthread_t t[6];
    for (long i = 0; i < 6; i++) pthread_create(&t[i], 0, work, (void *)i);
    for (int i = 0; i < 6; i++) pthread_join(t[i], 0);
    puts("ok"); return 0;
}
