/* Ways: ending a process with text pending in a stream, and with what runs at the end. */
#include "way.h"
#include <err.h>
#include <pthread.h>
#include <signal.h>

static FILE *f;
static void prep(const char *n) { f = fopen("f", "w"); must(fputs("pending at the end", f), "pending"); }
static void in_handler(void) { int fd = open("handler", O_WRONLY | O_CREAT, 0644); must(write(fd, "from a handler", 14), "handler"); }
static void prep_atexit(const char *n) { prep(n); atexit(in_handler); }
static void prep_quick(const char *n) { int (*r)(void (*)(void)) = dlsym(RTLD_DEFAULT, "at_quick_exit"); prep(n); if (!r) r = (void *)at_quick_exit; r(in_handler); }
static void a_exit(const char *n) { exit(3); }
static void a_return(const char *n) { }
static void a_quick(const char *n) { quick_exit(4); }
static void a__exit(const char *n) { _exit(5); }
static void a__Exit(const char *n) { _Exit(6); }
static void *other(void *p) { usleep(50000); return 0; }
static void a_last_thread(const char *n) { pthread_t t; pthread_create(&t, 0, other, 0); pthread_exit(0); }
static void *exits(void *p) { exit(7); }
static void a_thread_exit(const char *n) { pthread_t t; pthread_create(&t, 0, exits, 0); pthread_join(t, 0); }
static void prep_err(const char *n) { redirect(2, "err"); prep(n); }
static void a_err(const char *n) { errno = EPERM; err(8, "err %s", "x"); }
static void a_errx(const char *n) { errx(9, "errx %d", 3); }
static void v(int x, const char *fmt, ...) { va_list ap; va_start(ap, fmt); errno = EPERM; if (x) verrx(10, fmt, ap); else verr(11, fmt, ap); }
static void a_verr(const char *n) { v(0, "verr %d", 1); }
static void a_verrx(const char *n) { v(1, "verrx %d", 1); }
static void a_error(const char *n) { void (*c)(int, int, const char *, ...) = sym("error"); c(12, 0, "error %d", 5); }
static void a_error_at(const char *n) { void (*c)(int, int, const char *, unsigned, const char *, ...) = sym("error_at_line"); c(13, 0, "x.c", 1, "at %d", 5); }
static void a_abort(const char *n) { signal(6, SIG_DFL); abort(); }
static void a_none(const char *n) { _exit(14); }
static void a_clean(const char *n) { exit(15); }
static void prep_clean(const char *n) { made("f", "closed"); }

struct way ways[] = {
    W("exit", "holds", prep, a_exit), W("return", "holds", prep, a_return), W("exit:handler", "holds", prep_atexit, a_exit), W("return:handler", "holds", prep_atexit, a_return),
    W("quick_exit", "either", prep, a_quick), W("quick_exit:handler", "holds", prep_quick, a_quick),
    W("_exit", "either", prep, a__exit), W("_Exit", "either", prep, a__Exit), W("_exit:handler", "either", prep_atexit, a_none),
    W("pthread_exit:last", "holds", prep, a_last_thread), W("exit:thread", "holds", prep, a_thread_exit),
    W("err", "holds", prep_err, a_err), W("errx", "holds", prep_err, a_errx), W("verr", "holds", prep_err, a_verr), W("verrx", "holds", prep_err, a_verrx),
    W("error:exits", "holds", prep_err, a_error), W("error_at_line:exits", "holds", prep_err, a_error_at),
    W("abort", "either", prep, a_abort), W("exit:clean", "either", prep_clean, a_clean),
    END
};
