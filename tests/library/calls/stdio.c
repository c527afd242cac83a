/* Ways: everything that can make a FILE's buffer reach the kernel.
 *
 * "Output" ways write to an unbuffered stream, so that each call is a write; "flush" ways have text
 * pending in the buffer and make a call that pushes it out. exit.c has the ways a process can end.
 */
#include "way.h"
#include <err.h>
#include <grp.h>
#include <malloc.h>
#include <mntent.h>
#include <pwd.h>
#include <shadow.h>
#include <signal.h>
#include <wchar.h>
#include <netdb.h>

static FILE *f, *g;
static fpos_t pos;
/* An unbuffered stream: each output call reaches the kernel at once. */
static void prep(const char *n) { made("f", "old text, long enough to be seen"); f = fopen("f", "r+"); setvbuf(f, 0, _IONBF, 0); }
/* stdout, stderr unbuffered and in DIR. */
static void prep_out(const char *n) { redirect(1, "out"); setvbuf(stdout, 0, _IONBF, 0); f = stdout; }
static void prep_err(const char *n) { redirect(2, "err"); f = stderr; }
/* Text pending in a buffered stream on r+. */
static void prep_pending(const char *n)
{
    made("f", "old text, long enough to be read past what is pending\nand a second line\n");
    f = fopen("f", "r+"); if (f) fgetpos(f, &pos); must(f && fputs("pending", f) >= 0 ? 0 : -1, "pending");
}
static void prep_line(const char *n) { f = fopen("f", "w"); setvbuf(f, 0, _IOLBF, 4096); must(fputs("no newline yet", f), "pending"); }
static char room[64];
static void prep_small(const char *n) { f = fopen("f", "w"); setvbuf(f, room, _IOFBF, sizeof room); for (int i = 0; i < 60; i++) must(putc('p', f), "pending"); }
static void prep_wide(const char *n) { made("f", "old text, long enough to be seen"); f = fopen("f", "r+"); fwide(f, 1); setvbuf(f, 0, _IONBF, 0); }
static void prep_wout(const char *n) { redirect(1, "out"); fwide(stdout, 1); setvbuf(stdout, 0, _IONBF, 0); f = stdout; }
static void fin(const char *n, long r) { result(call(n), r); say("offset=%ld\n", (long)lseek(fileno(f), 0, SEEK_CUR)); }

static void a_fwrite(const char *n) { size_t (*c)(const void *, size_t, size_t, FILE *) = sym(call(n)); fin(n, c("seven..", 1, 7, f)); }
static void a_fputs(const char *n) { int (*c)(const char *, FILE *) = sym(call(n)); fin(n, c("string", f) >= 0); }
static void a_puts(const char *n) { int (*c)(const char *) = sym(call(n)); fin(n, c("line") >= 0); }
static void a_fputc(const char *n) { int (*c)(int, FILE *) = sym(call(n)); fin(n, c('c', f)); }
static void a_putchar(const char *n) { int (*c)(int) = sym(call(n)); fin(n, c('c')); }
static void a_overflow(const char *n) { int (*c)(FILE *, int) = sym(call(n)); fin(n, c(f, 'o')); }
static void a_woverflow(const char *n) { wint_t (*c)(FILE *, wint_t) = sym(call(n)); fin(n, c(f, L'o')); }
static void a_fputwc(const char *n) { wint_t (*c)(wchar_t, FILE *) = sym(call(n)); fin(n, c(L'w', f)); }
static void a_putwchar(const char *n) { wint_t (*c)(wchar_t) = sym(call(n)); fin(n, c(L'w')); }
static void a_fputws(const char *n) { int (*c)(const wchar_t *, FILE *) = sym(call(n)); fin(n, c(L"wide string", f) >= 0); }
#define ARGS 7, "seven", 7.5, (long double)1e30, 'x', 1L, 2L, 3L
static void a_printf(const char *n) { int (*c)(const char *, ...) = sym(call(n)); fin(n, c("%d %s %.2f %Lg %c %ld %ld %ld", ARGS)); }
static void a_printf_chk(const char *n) { int (*c)(int, const char *, ...) = sym(call(n)); fin(n, c(1, "%d %s %.2f %Lg %c %ld %ld %ld", ARGS)); }
static void a_fprintf(const char *n) { int (*c)(FILE *, const char *, ...) = sym(call(n)); fin(n, c(f, "%d %s %.2f %Lg %c %ld %ld %ld", ARGS)); }
static void a_fprintf_chk(const char *n) { int (*c)(FILE *, int, const char *, ...) = sym(call(n)); fin(n, c(f, 1, "%d %s %.2f %Lg %c %ld %ld %ld", ARGS)); }
static void a_wprintf(const char *n) { int (*c)(const wchar_t *, ...) = sym(call(n)); fin(n, c(L"%d %s %.2f %Lg %c %ld %ld %ld", ARGS)); }
static void a_wprintf_chk(const char *n) { int (*c)(int, const wchar_t *, ...) = sym(call(n)); fin(n, c(1, L"%d %s %.2f %Lg %c %ld %ld %ld", ARGS)); }
static void a_fwprintf(const char *n) { int (*c)(FILE *, const wchar_t *, ...) = sym(call(n)); fin(n, c(f, L"%d %s %.2f %Lg %c %ld %ld %ld", ARGS)); }
static void a_fwprintf_chk(const char *n) { int (*c)(FILE *, int, const wchar_t *, ...) = sym(call(n)); fin(n, c(f, 1, L"%d %s %.2f %Lg %c %ld %ld %ld", ARGS)); }
/* The va_list forms: stdout or FILE, with flag or without, narrow or wide. */
static void va(const char *n, int has_file, int chk, const void *fmt, ...)
{
    va_list ap; int r; va_start(ap, fmt); void *c = sym(call(n));
    if (has_file && chk) r = ((int (*)(FILE *, int, const void *, va_list))c)(f, 1, fmt, ap);
    else if (has_file) r = ((int (*)(FILE *, const void *, va_list))c)(f, fmt, ap);
    else if (chk) r = ((int (*)(int, const void *, va_list))c)(1, fmt, ap);
    else r = ((int (*)(const void *, va_list))c)(fmt, ap);
    va_end(ap); fin(n, r);
}
static void a_vprintf(const char *n) { va(n, 0, 0, "%d %s %.2f %Lg", 7, "seven", 7.5, (long double)2); }
static void a_vprintf_chk(const char *n) { va(n, 0, 1, "%d %s %.2f %Lg", 7, "seven", 7.5, (long double)2); }
static void a_vfprintf(const char *n) { va(n, 1, 0, "%d %s %.2f %Lg", 7, "seven", 7.5, (long double)2); }
static void a_vfprintf_chk(const char *n) { va(n, 1, 1, "%d %s %.2f %Lg", 7, "seven", 7.5, (long double)2); }
static void a_vwprintf(const char *n) { va(n, 0, 0, L"%d %s %.2f %Lg", 7, "seven", 7.5, (long double)2); }
static void a_vwprintf_chk(const char *n) { va(n, 0, 1, L"%d %s %.2f %Lg", 7, "seven", 7.5, (long double)2); }
static void a_vfwprintf(const char *n) { va(n, 1, 0, L"%d %s %.2f %Lg", 7, "seven", 7.5, (long double)2); }
static void a_vfwprintf_chk(const char *n) { va(n, 1, 1, L"%d %s %.2f %Lg", 7, "seven", 7.5, (long double)2); }
static void a_perror(const char *n) { errno = ENOENT; perror("perror"); fin(n, 0); }
static void a_psignal(const char *n) { psignal(SIGTERM, "psignal"); fin(n, 0); }
static void a_psiginfo(const char *n) { void (*c)(const siginfo_t *, const char *) = sym(call(n)); siginfo_t s = { .si_signo = SIGTERM }; c(&s, "psiginfo"); fin(n, 0); }
static void a_herror(const char *n) { void (*c)(const char *) = sym(call(n)); c("herror"); fin(n, 0); }
static void a_warn(const char *n) { errno = ENOENT; warn("warn %d %s", 1, "x"); fin(n, 0); }
static void a_warnx(const char *n) { warnx("warnx %d %.1f", 1, 2.5); fin(n, 0); }
static void vw(int x, const char *fmt, ...) { va_list ap; va_start(ap, fmt); x ? vwarnx(fmt, ap) : vwarn(fmt, ap); va_end(ap); }
static void a_vwarn(const char *n) { errno = ENOENT; vw(0, "vwarn %d", 3); fin(n, 0); }
static void a_vwarnx(const char *n) { vw(1, "vwarnx %d", 3); fin(n, 0); }
static void a_error(const char *n) { void (*c)(int, int, const char *, ...) = sym(call(n)); c(0, ENOENT, "error %d %s", 4, "y"); fin(n, 0); }
static void a_error_at(const char *n) { void (*c)(int, int, const char *, unsigned, const char *, ...) = sym(call(n)); c(0, 0, "file.c", 12, "at line %d %s", 4, "y"); fin(n, 0); }
static void a_fmtmsg(const char *n) { int (*c)(long, const char *, int, const char *, const char *, const char *) = sym(call(n)); fin(n, c(256 /* MM_PRINT */, "lab:el", 1, "text", "act", "tag")); }
static void a_syslog(const char *n) { void (*o)(const char *, int, int) = sym("openlog"); void (*c)(int, const char *, ...) = sym("syslog"); o("way", 0x20 /* LOG_PERROR */, 0); c(3, "to %s", "stderr"); say("called\n"); }
static void a_malloc_info(const char *n) { int (*c)(int, FILE *) = sym(call(n)); result(n, c(0, f)); must(ftruncate(fileno(f), 0), "truncate"); }
static void a_malloc_stats(const char *n) { void (*c)(void) = sym(call(n)); c(); must(ftruncate(2, 0), "truncate"); say("called\n"); }
static void a_putpwent(const char *n) { struct passwd p = { "n", "p", 1, 2, "g", "d", "s" }; fin(n, putpwent(&p, f)); }
static void a_putgrent(const char *n) { char *m[] = { "m1", "m2", 0 }; struct group p = { "n", "p", 1, m }; fin(n, putgrent(&p, f)); }
static void a_putspent(const char *n) { struct spwd p = { "n", "p", 1, 2, 3, 4, 5, 6, 7 }; fin(n, putspent(&p, f)); }
static void a_putsgent(const char *n) { int (*c)(const void *, FILE *) = sym(call(n)); char *m[] = { "m1", 0 }; struct { char *a, *b, **c, **d; } p = { "n", "p", m, m }; fin(n, c(&p, f)); }
static void prep_mnt(const char *n) { made("f", "/dev/a /a x y 0 0\n"); f = setmntent("f", "r+"); }
static void a_addmntent(const char *n) { struct mntent m = { "/dev/b", "/b", "t", "o", 1, 2 }; fin(n, addmntent(f, &m)); }

/* Flush points. */
static void a_f(const char *n) { int (*c)(FILE *) = sym(call(n)); fin(n, c(f)); }
static void a_f_all(const char *n) { int (*c)(FILE *) = sym(call(n)); fin(n, c(0)); }
static void a_void(const char *n) { int (*c)(void) = sym(call(n)); c(); say("called\n"); }
static void a_close(const char *n) { int (*c)(FILE *) = sym(call(n)); result(n, c(f)); }
static void a_fseek(const char *n) { int (*c)(FILE *, long, int) = sym(call(n)); fin(n, c(f, 3, SEEK_SET)); }
static void a_fseek_end(const char *n) { int (*c)(FILE *, long, int) = sym(call(n)); fin(n, c(f, 0, SEEK_END)); }
static void a_ftell(const char *n) { fin(n, ftell(f)); }
static void a_rewind(const char *n) { rewind(f); fin(n, 0); }
static void a_fsetpos(const char *n) { int (*c)(FILE *, const fpos_t *) = sym(call(n)); fin(n, c(f, &pos)); }
static void a_seekoff(const char *n) { long (*c)(FILE *, long, int, int) = sym(call(n)); fin(n, c(f, 2, 0, 3)); }
static void a_seekpos(const char *n) { long (*c)(FILE *, long, int) = sym(call(n)); fin(n, c(f, 2, 3)); }
static char other[8192];
static void a_setvbuf(const char *n) { int (*c)(FILE *, char *, int, size_t) = sym(call(n)); fin(n, c(f, other, _IOFBF, sizeof other)); }
static void a_setvbuf_n(const char *n) { int (*c)(FILE *, char *, int, size_t) = sym(call(n)); fin(n, c(f, 0, _IONBF, 0)); }
static void a_setbuf(const char *n) { void (*c)(FILE *, char *) = sym(call(n)); c(f, other); fin(n, 0); }
static void a_setbuffer(const char *n) { void (*c)(FILE *, char *, size_t) = sym(call(n)); c(f, other, sizeof other); fin(n, 0); }
static void a_setlinebuf(const char *n) { void (*c)(FILE *) = sym(call(n)); c(f); fin(n, 0); }
static void a_freopen(const char *n) { FILE *(*c)(const char *, const char *, FILE *) = sym(call(n)); f = c("/dev/null", "w", f); result(n, f ? 0 : -1); }
static void a_newline(const char *n) { fin(n, fputc('\n', f)); }
static void a_full(const char *n) { int r = 0; for (int i = 0; i < 10; i++) r += putc_unlocked('q', f); fin(n, r); }
static void a_full_fwrite(const char *n) { fin(n, fwrite("0123456789", 1, 10, f)); }
/* Reading a stream that has output pending pushes it out first. */
static char b[64];
static void a_fread(const char *n) { size_t (*c)(void *, size_t, size_t, FILE *) = sym(call(n)); fin(n, c(b, 1, 5, f)); say("%.5s\n", b); }
static void a_fgetc(const char *n) { int (*c)(FILE *) = sym(call(n)); fin(n, c(f)); }
static void a_fgets(const char *n) { char *(*c)(char *, int, FILE *) = sym(call(n)); fin(n, c(b, 20, f) != 0); }
static void a_getline(const char *n) { char *l = 0; size_t z = 0; ssize_t (*c)(char **, size_t *, FILE *) = sym(call(n)); fin(n, c(&l, &z, f)); }
static void a_getdelim(const char *n) { char *l = 0; size_t z = 0; ssize_t (*c)(char **, size_t *, int, FILE *) = sym(call(n)); fin(n, c(&l, &z, '\n', f)); }
static void a_fscanf(const char *n) { int (*c)(FILE *, const char *, ...) = sym(call(n)); fin(n, c(f, "%15s", b)); }
/* A read that refills an unbuffered stream pushes out a line-buffered stdout (glibc). */
static void prep_linked(const char *n) { made("in", "input"); redirect(1, "out"); setvbuf(stdout, 0, _IOLBF, 0); must(fputs("prompt", stdout), "pending"); g = fopen("in", "r"); setvbuf(g, 0, _IONBF, 0); f = stdout; }
static void a_prompt(const char *n) { fin(n, getc(g)); }
/* In memory only: nothing may wait. It has no descriptor: who asks for that sets errno. */
static void a_mem(const char *n)
{
    FILE *m = fmemopen(b, sizeof b, "w");
    errno = 0; int wrote = fprintf(m, "x%d", 1), flushed = fflush(m), closed = fclose(m), e = errno;
    say("%d %d %d, errno %d\n", wrote, flushed, closed, e);
}
static void a_snprintf(const char *n) { result(n, snprintf(b, sizeof b, "%d", 12345)); }
static void prep_nothing(const char *n) { made("f", "text"); f = fopen("f", "r"); }

#define OUT(name) W(name, "holds", prep_out, a_printf)
struct way ways[] = {
    W("fwrite", "holds", prep, a_fwrite), W("fwrite_unlocked", "holds", prep, a_fwrite), W("_IO_fwrite", "holds", prep, a_fwrite),
    W("fputs", "holds", prep, a_fputs), W("fputs_unlocked", "holds", prep, a_fputs), W("_IO_fputs", "holds", prep, a_fputs),
    W("puts", "holds", prep_out, a_puts), W("_IO_puts", "holds", prep_out, a_puts),
    W("fputc", "holds", prep, a_fputc), W("putc", "holds", prep, a_fputc), W("_IO_putc", "holds", prep, a_fputc),
    W("fputc_unlocked", "holds", prep, a_fputc), W("putc_unlocked", "holds", prep, a_fputc), W("_IO_putc_unlocked", "holds", prep, a_fputc),
    W("putw", "holds", prep, a_fputc), W("putchar", "holds", prep_out, a_putchar), W("putchar_unlocked", "holds", prep_out, a_putchar),
    W("__overflow", "holds", prep, a_overflow), W("__woverflow", "holds", prep_wide, a_woverflow),
    W("fputwc", "holds", prep_wide, a_fputwc), W("putwc", "holds", prep_wide, a_fputwc), W("fputwc_unlocked", "holds", prep_wide, a_fputwc),
    W("putwc_unlocked", "holds", prep_wide, a_fputwc), W("__fputwc_unlocked", "holds", prep_wide, a_fputwc),
    W("putwchar", "holds", prep_wout, a_putwchar), W("putwchar_unlocked", "holds", prep_wout, a_putwchar),
    W("fputws", "holds", prep_wide, a_fputws), W("fputws_unlocked", "holds", prep_wide, a_fputws),
    W("printf", "holds", prep_out, a_printf), W("_IO_printf", "holds", prep_out, a_printf), W("__printf_chk", "holds", prep_out, a_printf_chk),
    W("fprintf", "holds", prep, a_fprintf), W("_IO_fprintf", "holds", prep, a_fprintf), W("__fprintf_chk", "holds", prep, a_fprintf_chk),
    W("vprintf", "holds", prep_out, a_vprintf), W("__vprintf_chk", "holds", prep_out, a_vprintf_chk),
    W("vfprintf", "holds", prep, a_vfprintf), W("_IO_vfprintf", "holds", prep, a_vfprintf), W("__vfprintf_chk", "holds", prep, a_vfprintf_chk),
    W("wprintf", "holds", prep_wout, a_wprintf), W("__wprintf_chk", "holds", prep_wout, a_wprintf_chk),
    W("fwprintf", "holds", prep_wide, a_fwprintf), W("__fwprintf_chk", "holds", prep_wide, a_fwprintf_chk),
    W("vwprintf", "holds", prep_wout, a_vwprintf), W("__vwprintf_chk", "holds", prep_wout, a_vwprintf_chk),
    W("vfwprintf", "holds", prep_wide, a_vfwprintf), W("__vfwprintf_chk", "holds", prep_wide, a_vfwprintf_chk),
    W("perror", "holds", prep_err, a_perror), W("psignal", "holds", prep_err, a_psignal), W("psiginfo", "holds", prep_err, a_psiginfo), W("herror", "holds", prep_err, a_herror),
    W("warn", "holds", prep_err, a_warn), W("warnx", "holds", prep_err, a_warnx), W("vwarn", "holds", prep_err, a_vwarn), W("vwarnx", "holds", prep_err, a_vwarnx),
    W("error", "holds", prep_err, a_error), W("error_at_line", "holds", prep_err, a_error_at), W("fmtmsg", "holds", prep_err, a_fmtmsg),
    W("syslog:stderr", "past", prep_err, a_syslog),
    W("malloc_info", "holds", prep, a_malloc_info), W("malloc_stats", "holds", prep_err, a_malloc_stats),
    W("putpwent", "holds", prep, a_putpwent), W("putgrent", "holds", prep, a_putgrent), W("putspent", "holds", prep, a_putspent), W("putsgent", "holds", prep, a_putsgent),
    W("addmntent", "holds", prep_mnt, a_addmntent),
    W("fflush", "holds", prep_pending, a_f), W("fflush:all", "holds", prep_pending, a_f_all), W("fflush_unlocked", "holds", prep_pending, a_f), W("_IO_fflush", "holds", prep_pending, a_f),
    W("_flushlbf", "holds", prep_line, a_void), W("_IO_flush_all_linebuffered", "holds", prep_line, a_void), W("_IO_flush_all", "holds", prep_pending, a_void),
    W("fclose", "holds", prep_pending, a_close), W("_IO_fclose", "holds", prep_pending, a_close), W("fcloseall", "holds", prep_pending, a_void),
    W("endmntent", "holds", prep_pending, a_close), W("__endmntent", "holds", prep_pending, a_close), W("fclose:nothing", "either", prep_nothing, a_close),
    W("fseek", "holds", prep_pending, a_fseek), W("fseek:end", "holds", prep_pending, a_fseek_end), W("fseeko", "holds", prep_pending, a_fseek), W("fseeko64", "holds", prep_pending, a_fseek),
    W("rewind", "holds", prep_pending, a_rewind), W("fsetpos", "holds", prep_pending, a_fsetpos), W("fsetpos64", "holds", prep_pending, a_fsetpos),
    W("_IO_fsetpos", "holds", prep_pending, a_fsetpos), W("_IO_fsetpos64", "holds", prep_pending, a_fsetpos),
    W("_IO_seekoff", "holds", prep_pending, a_seekoff), W("_IO_seekpos", "holds", prep_pending, a_seekpos),
    W("ftell", "passes", prep_pending, a_ftell),
    W("setvbuf", "holds", prep_pending, a_setvbuf), W("setvbuf:none", "holds", prep_pending, a_setvbuf_n), W("_IO_setvbuf", "holds", prep_pending, a_setvbuf),
    W("setbuf", "holds", prep_pending, a_setbuf), W("setbuffer", "holds", prep_pending, a_setbuffer), W("_IO_setbuffer", "holds", prep_pending, a_setbuffer), W("setlinebuf", "either", prep_pending, a_setlinebuf),
    W("freopen:pending", "holds", prep_pending, a_freopen), W("freopen64:pending", "holds", prep_pending, a_freopen),
    W("fputc:newline", "holds", prep_line, a_newline), W("putc_unlocked:full", "holds", prep_small, a_full), W("fwrite:full", "holds", prep_small, a_full_fwrite),
    W("fread", "holds", prep_pending, a_fread), W("fread_unlocked", "holds", prep_pending, a_fread), W("_IO_fread", "holds", prep_pending, a_fread),
    W("fgetc", "holds", prep_pending, a_fgetc), W("getc", "holds", prep_pending, a_fgetc), W("_IO_getc", "holds", prep_pending, a_fgetc), W("fgetc_unlocked", "holds", prep_pending, a_fgetc),
    W("getc_unlocked", "holds", prep_pending, a_fgetc), W("getw", "holds", prep_pending, a_fgetc), W("__uflow", "holds", prep_pending, a_fgetc), W("__underflow", "holds", prep_pending, a_fgetc),
    W("fgets", "holds", prep_pending, a_fgets), W("fgets_unlocked", "holds", prep_pending, a_fgets), W("_IO_fgets", "holds", prep_pending, a_fgets),
    W("getline", "holds", prep_pending, a_getline), W("getdelim", "holds", prep_pending, a_getdelim), W("__getdelim", "holds", prep_pending, a_getdelim),
    W("fscanf", "holds", prep_pending, a_fscanf), W("__isoc99_fscanf", "holds", prep_pending, a_fscanf),
#ifdef __GLIBC__   /* musl leaves stdout alone */
    W("getc:flushes-stdout", "holds", prep_linked, a_prompt),
#endif
    W("fprintf:memory", "passes", 0, a_mem), W("snprintf", "passes", 0, a_snprintf),
    END
};
