/* rights RIGHT_LOCK DIR: as holders.c, with a process that takes a lock, and then gives up rights: what it could ask
   before, it may not be able to ask any more. A child from before the lock ends afterwards, so that it asks. */
#define _GNU_SOURCE
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include "half.h"

/* The mail system's account: an ordinary user's process would be no member. */
enum { MAIL = 8 };
static const char *box = "box.lock";

static void user(void)
{
    must(chown(".", MAIL, MAIL) == 0 && setgroups(0, 0) == 0 && setgid(MAIL) == 0 && setuid(MAIL) == 0, "setuid");
}
static void capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && syscall(SYS_capset, &header, none) == 0, "capset");
}
static void landlock(void)
{
    enum { EXECUTE = 1, WRITE_FILE = 2, READ_FILE = 4, READ_DIR = 8 };
    long handled = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR;
    int rules = syscall(444, &handled, sizeof handled, 0);
    must(rules >= 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(446, rules, 0) == 0, "landlock");
    close(rules);
}
static void root(void) { must(chroot(".") == 0 && chdir("/") == 0, "chroot"); }
/* By calls that the library does not see. */
static void mounts(void)
{
    must(unshare(CLONE_NEWNS) == 0 && mount("none", "/", 0, MS_REC | MS_PRIVATE, 0) == 0, "unshare");
    must(mount("none", "..", "tmpfs", 0, 0) == 0, "tmpfs");
}

static void take_posix(void) { must(lockf(l, F_LOCK, 0) == 0, "lockf"); }
static int other;
static void take_dup(void) { other = dup(l); must(flock(l, LOCK_EX) == 0, "flock"); }
static void take_file(void) { int fd = open(box, O_CREAT | O_EXCL | O_WRONLY, 0600); must(fd >= 0, box); close(fd); }
static void give_close(void) { close(l); }
static void give_dup(void) { close(other); }
static void give_file(void) { must(unlink(box) == 0, box); }

static struct { const char *name; void (*drop)(void); } rights[] = {
    {"user", user}, {"capabilities", capabilities}, {"landlock", landlock}, {"root", root}, {"mounts", mounts}};
static struct { const char *name; void (*take)(void); void (*give)(void); } locks[] = {
    {"posix", take_posix, give_close}, {"dup", take_dup, give_dup}, {"file", take_file, give_file}, {"file_asked", take_file, give_file}};

int main(int argc, char **argv)
{
    int go[2];
    char name[60], none;
    prepare(argc, argv);
    for (unsigned right = 0; right < sizeof rights / sizeof *rights; right++)
        for (unsigned lock = 0; lock < sizeof locks / sizeof *locks; lock++) {
            snprintf(name, sizeof name, "%s_%s", rights[right].name, locks[lock].name);
            if (strcmp(argv[1], name)) continue;
            must(pipe(go) == 0, "pipe");
            pid_t child = fork();
            if (!child) { close(go[1]); _exit(read(go[0], &none, 1)); }
            locks[lock].take();
            rights[right].drop();
            byte(a);
            if (!strcmp(locks[lock].name, "dup")) close(l);
            if (strcmp(locks[lock].name, "file")) { close(go[1]); must(waitpid(child, 0, 0) == child, "waitpid"); }
            half();
            byte(b);
            locks[lock].give();
            say("DONE\n");
            await();
            return 0;
        }
    return 2;
}
