/* Ways: opens that create or truncate, temporary files, O_TMPFILE. */
#include "way.h"
#include <mntent.h>
#include <stdint.h>
#include <sys/syscall.h>

static int dir;
static void prep(const char *n) { made("old", "some content that a truncation removes"); dir = must(open(".", O_RDONLY | O_DIRECTORY), "."); }
static void opened(const char *n, int fd) { result("open", fd < 0 ? fd : 0); if (fd >= 0) offset(fd); }

typedef int (*open_fn)(const char *, int, ...);
static void a_create(const char *n) { opened(n, ((open_fn)sym(call(n)))("new", O_RDWR | O_CREAT, 0640)); }
static void a_excl(const char *n) { opened(n, ((open_fn)sym(call(n)))("new", O_RDWR | O_CREAT | O_EXCL, 0600)); }
static void a_trunc(const char *n) { opened(n, ((open_fn)sym(call(n)))("old", O_WRONLY | O_TRUNC)); }
static void a_plain(const char *n) { opened(n, ((open_fn)sym(call(n)))("old", O_RDWR)); }
static void a_exists(const char *n) { opened(n, ((open_fn)sym(call(n)))("old", O_RDWR | O_CREAT | O_EXCL, 0600)); }
static void a_noent(const char *n) { opened(n, ((open_fn)sym(call(n)))("none/new", O_RDWR | O_CREAT, 0600)); }
static void a_2(const char *n) { int (*f)(const char *, int) = sym(call(n)); opened(n, f("old", O_RDWR | O_TRUNC)); }
typedef int (*openat_fn)(int, const char *, int, ...);
static void a_at(const char *n) { opened(n, ((openat_fn)sym(call(n)))(dir, "new", O_RDWR | O_CREAT, 0604)); }
static void a_at_trunc(const char *n) { opened(n, ((openat_fn)sym(call(n)))(AT_FDCWD, "old", O_RDWR | O_TRUNC)); }
static void a_at2(const char *n) { int (*f)(int, const char *, int) = sym(call(n)); opened(n, f(dir, "old", O_RDWR | O_TRUNC)); }
static void a_creat(const char *n) { int (*f)(const char *, mode_t) = sym(call(n)); opened(n, f("new", 0611)); }
static void a_creat_old(const char *n) { int (*f)(const char *, mode_t) = sym(call(n)); opened(n, f("old", 0611)); }
static union { struct file_handle h; char room[sizeof(struct file_handle) + 128]; } handle;
static void prep_handle(const char *n)
{
    int mnt; prep(n); handle.h.handle_bytes = 128;
    if (!dlsym(RTLD_DEFAULT, "open_by_handle_at")) absent("this libc has no open_by_handle_at");
    must(name_to_handle_at(AT_FDCWD, "old", &handle.h, &mnt, 0), "handle");
}
static void a_handle(const char *n) { opened(n, open_by_handle_at(dir, &handle.h, O_RDWR | O_TRUNC)); }
static void a_openat2(const char *n)
{
    struct { uint64_t flags, mode, resolve; } how = { O_RDWR | O_CREAT, 0640, 0 };
    int (*f)(int, const char *, void *, size_t) = sym("openat2"); opened(n, f(dir, "new", &how, sizeof how));
}

static char t[] = "tmp-XXXXXX", ts[] = "tmp-XXXXXX.suf";
static void temp(int fd, char *name)
{
    /* The name differs from run to run: report its form, and give the file a fixed one. */
    result("temp", fd < 0 ? fd : 0);
    if (fd >= 0) { say("form=%d\n", !!strstr(name, "XXXXXX")); must(rename(name, "temp"), "rename"); }
}
static void a_mkstemp(const char *n) { int (*f)(char *) = sym(call(n)); temp(f(t), t); }
static void a_mkostemp(const char *n) { int (*f)(char *, int) = sym(call(n)); temp(f(t, O_APPEND), t); }
static void a_mkstemps(const char *n) { int (*f)(char *, int) = sym(call(n)); temp(f(ts, 4), ts); }
static void a_mkostemps(const char *n) { int (*f)(char *, int, int) = sym(call(n)); temp(f(ts, 4, O_CLOEXEC), ts); }
static void a_mkdtemp(const char *n) { char *(*f)(char *) = sym(call(n)); temp(f(t) ? 0 : -1, t); }
static void a_tmpfile(const char *n)
{
    FILE *(*f)(void) = sym(call(n)); FILE *o = f(); result("tmpfile", o ? 0 : -1);
    if (o) { fputs("text", o); result("fclose", fclose(o)); }
}
static int tmpfd;
static void prep_unnamed(const char *n) { prep(n); tmpfd = must(open(".", O_TMPFILE | O_RDWR, 0600), "O_TMPFILE"); must(write(tmpfd, "unnamed", 7), "write"); }
static void a_unnamed(const char *n) { opened(n, open(".", O_TMPFILE | O_RDWR, 0600)); }
static void a_named(const char *n) { char p[64]; snprintf(p, sizeof p, "/proc/self/fd/%d", tmpfd); result(n, linkat(AT_FDCWD, p, AT_FDCWD, "named", AT_SYMLINK_FOLLOW)); }
static void a_named_empty(const char *n) { result(n, linkat(tmpfd, "", AT_FDCWD, "named", AT_EMPTY_PATH)); }
static void a_unnamed_write(const char *n) { result(n, write(tmpfd, "more", 4)); }

typedef FILE *(*fopen_fn)(const char *, const char *);
static void streamed(FILE *f) { result("stream", f ? 0 : -1); if (f) offset(fileno(f)); }
static void a_fopen_w(const char *n) { streamed(((fopen_fn)sym(call(n)))("old", "w")); }
static void a_fopen_a(const char *n) { streamed(((fopen_fn)sym(call(n)))("new", "a")); }
static void a_fopen_x(const char *n) { streamed(((fopen_fn)sym(call(n)))("new", "wxe")); }
static void a_fopen_wp(const char *n) { streamed(((fopen_fn)sym(call(n)))("new", "w+")); }
static void a_fopen_rp(const char *n) { streamed(((fopen_fn)sym(call(n)))("old", "r+")); }
static void a_fopen_r(const char *n) { streamed(((fopen_fn)sym(call(n)))("old", "r")); }
static FILE *first;
static void prep_re(const char *n) { prep(n); first = fopen("first", "w"); }
static void a_freopen(const char *n) { FILE *(*f)(const char *, const char *, FILE *) = sym(call(n)); streamed(f("old", "w", first)); }

struct way ways[] = {
    W("open", "holds", prep, a_create), W("open64", "holds", prep, a_create), W("__open", "holds", prep, a_create), W("__open64", "holds", prep, a_create),
    W("open:excl", "holds", prep, a_excl), W("open:trunc", "holds", prep, a_trunc), W("open64:trunc", "holds", prep, a_trunc),
    W("open:plain", "passes", prep, a_plain), W("open:exists", "either", prep, a_exists), W("open:noent", "either", prep, a_noent),
    W("__open_2", "holds", prep, a_2), W("__open64_2", "holds", prep, a_2),
    W("openat", "holds", prep, a_at), W("openat64", "holds", prep, a_at), W("openat:trunc", "holds", prep, a_at_trunc), W("openat64:trunc", "holds", prep, a_at_trunc),
    W("__openat_2", "holds", prep, a_at2), W("__openat64_2", "holds", prep, a_at2),
    W("creat", "holds", prep, a_creat), W("creat64", "holds", prep, a_creat), W("creat:old", "holds", prep, a_creat_old),
    W("open_by_handle_at", "holds", prep_handle, a_handle), W("openat2", "holds", prep, a_openat2),
    W("mkstemp", "holds", prep, a_mkstemp), W("mkstemp64", "holds", prep, a_mkstemp),
    W("mkostemp", "holds", prep, a_mkostemp), W("mkostemp64", "holds", prep, a_mkostemp),
    W("mkstemps", "holds", prep, a_mkstemps), W("mkstemps64", "holds", prep, a_mkstemps),
    W("mkostemps", "holds", prep, a_mkostemps), W("mkostemps64", "holds", prep, a_mkostemps),
    W("mkdtemp", "holds", prep, a_mkdtemp), W("tmpfile", "either", prep, a_tmpfile), W("tmpfile64", "either", prep, a_tmpfile),
    W("open:O_TMPFILE", "either", prep, a_unnamed), W("linkat:O_TMPFILE", "holds", prep_unnamed, a_named),
    W("linkat:empty-path", "holds", prep_unnamed, a_named_empty), W("write:O_TMPFILE", "either", prep_unnamed, a_unnamed_write),
    W("fopen:w", "holds", prep, a_fopen_w), W("fopen:a", "holds", prep, a_fopen_a), W("fopen:wx", "holds", prep, a_fopen_x), W("fopen:w+", "holds", prep, a_fopen_wp),
    W("fopen64:w", "holds", prep, a_fopen_w), W("_IO_fopen:w", "holds", prep, a_fopen_w),
    W("fopen:r+", "passes", prep, a_fopen_rp), W("fopen:r", "passes", prep, a_fopen_r),
    W("freopen", "holds", prep_re, a_freopen), W("freopen64", "holds", prep_re, a_freopen),
    W("setmntent", "holds", prep, a_fopen_w), W("__setmntent", "holds", prep, a_fopen_w),
    END
};
