/* Ways: the records that libc keeps by itself, opening, locking and writing inside one call.
 * They lie at fixed places: each way gets a mount namespace of its own with DIR mounted over the place,
 * so that nothing of the host is touched.
 */
#include "way.h"
#include <sched.h>
#include <shadow.h>
#include <sys/mount.h>
#include <utmp.h>

static struct utmp u = { .ut_type = USER_PROCESS, .ut_pid = 1, .ut_line = "way", .ut_id = "w", .ut_user = "nobody" };
static void prep(const char *n) { close(file("utmp", "")); close(file("wtmp", "")); void (*f)(const char *) = sym("utmpname"); f("utmp"); }
static void over(const char *where)
{
    char here[512]; must(getcwd(here, sizeof here) ? 0 : -1, "cwd");
    if (access(where, F_OK)) absent("the place is not there on this host");
    if (unshare(CLONE_NEWNS)) absent("a mount namespace needs root");
    if (mount("none", "/", 0, MS_REC | MS_PRIVATE, 0)) {
        if (errno == EINVAL) absent("the root directory is no mount (a plain chroot)");
        must(-1, "private");
    }
    must(mount(here, where, 0, MS_BIND, 0), "bind");
}
static void prep_etc(const char *n) { over("/etc"); }
static void prep_tmp(const char *n) { must(chmod(".", 01777), "sticky"); over("/tmp"); }
static void prep_log(const char *n) { close(file("wtmp", "")); over("/var/log"); }
static void prep_run(const char *n) { close(file("utmp", "")); over("/var/run"); if (chdir("/var/run")) absent("no /var/run"); }
static void a_updwtmp(const char *n) { void (*f)(const char *, const struct utmp *) = sym(call(n)); f("wtmp", &u); say("called\n"); }
static void a_pututline(const char *n) { void *(*f)(const void *) = sym(call(n)); void (*s)(void) = sym("setutent"); s(); result(n, f(&u) ? 0 : -1); void (*e)(void) = sym("endutent"); e(); }
static void a_logwtmp(const char *n) { void (*f)(const char *, const char *, const char *) = sym(call(n)); f("way", "nobody", "host"); struct stat s; stat("wtmp", &s); say("size=%ld\n", (long)s.st_size); truncate("wtmp", 0); /* pid and time differ */ }
static void a_sethostid(const char *n) { int (*f)(long) = sym(call(n)); result(n, f(0x1234)); }
static void a_lckpwdf(const char *n) { int (*f)(void) = sym("lckpwdf"), (*g)(void) = sym("ulckpwdf"); result("lckpwdf", f()); result("ulckpwdf", g()); }
static void a_tmpfile(const char *n) { FILE *(*f)(void) = sym(call(n)); FILE *t = f(); result(n, t ? 0 : -1); fputs("x", t); result("close", fclose(t)); }

/* musl has the names and does nothing behind them. */
#ifdef __GLIBC__
#define REC "holds"
#else
#define REC "either"
#endif
struct way ways[] = {
    W("updwtmp", REC, prep, a_updwtmp), W("updwtmpx", REC, prep, a_updwtmp), W("pututline", REC, prep, a_pututline), W("pututxline", REC, prep, a_pututline),
    W("logwtmp", "holds", prep_log, a_logwtmp), W("sethostid", "holds", prep_etc, a_sethostid), W("lckpwdf", REC, prep_etc, a_lckpwdf),
    W("tmpfile:own", "either", prep_tmp, a_tmpfile),
    END
};
