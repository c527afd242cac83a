/* Code that runs before and after everybody else: a library's constructor and destructor, .preinit_array,
 * exit handlers, thread-specific destructors; all of them change files. libearly.so comes from this source too.
 */
#ifdef EARLY_LIBRARY
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void note(const char *who)
{
    const char *d = getenv("EARLY_DIR"); char p[300]; if (!d) return;
    snprintf(p, sizeof p, "%s/%s", d, who); int fd = open(p, O_WRONLY | O_CREAT | O_TRUNC, 0600); if (fd < 0 || write(fd, "early", 5) != 5 || close(fd)) _exit(95);
}
__attribute__((constructor(101))) static void first(void) { note("library-constructor"); }
__attribute__((destructor(101))) static void last(void) { note("library-destructor"); }
int early_is_linked(void) { return 1; }
#else
#include "robust.h"
/* libc has not set environ yet when this runs. */
int early_is_linked(void);
static void note(const char *who) { int fd = open(who, O_WRONLY | O_CREAT | O_TRUNC, 0600); NEED(fd >= 0); NEED(write(fd, "x", 1) == 1); NEED(close(fd) == 0); }
static void preinit(int c, char **v, char **e) { const char *d = 0; char p[300]; for (; *e; e++) if (!strncmp(*e, "EARLY_DIR=", 10)) d = *e + 10; if (!d) return; snprintf(p, sizeof p, "%s/preinit", d); int fd = open(p, O_WRONLY | O_CREAT, 0600); if (fd < 0 || write(fd, "p", 1) != 1) _exit(94); close(fd); }
__attribute__((section(".preinit_array"), used)) static void (*const pre)(int, char **, char **) = preinit;
static void at_exit(void) { note("at-exit"); }
static void key_gone(void *p) { note("key-destructor"); }
static void *thread(void *k) { pthread_setspecific(*(pthread_key_t *)k, "v"); return 0; }
static long early(long end)
{
    NEED(early_is_linked()); NEED(access("library-constructor", F_OK) == 0); NEED(access("preinit", F_OK) == 0);
    pthread_key_t k; pthread_t t; pthread_key_create(&k, key_gone); pthread_create(&t, 0, thread, &k); pthread_join(t, 0); NEED(access("key-destructor", F_OK) == 0);
    atexit(at_exit); changes(8); return 1;
}
struct robust cases[] = { { "early-and-late", early }, { 0, 0 } };
#endif
