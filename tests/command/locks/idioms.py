"""How programs in other languages keep two files together: each takes a lock in its own way, appends a line to `a`, waits,
appends one to `b`, and gives the lock up. One that is not installed is skipped.

Each idiom is the text of a program. What it finds: HOLD_MS unset: it says READY between the two, waits for a byte on
stdin, ends its set, says DONE and waits for another. HOLD_MS set: it makes sets without end, with so long between the two.
"""
import os
import shutil
import subprocess
import sys

# The lock lies where $LOCKS says: a lock outside of what is protected guards as well as one inside.
SHELL = r"""
append() { echo 1 >>"$1"; }
half() { if [ "$HOLD_MS" ]; then sleep "0.0$HOLD_MS"; else echo READY; read x; fi; }
sets() { if [ "$HOLD_MS" ]; then while :; do set_of_two; sleep 0.002; done; else set_of_two; echo DONE; read x; fi; }
"""
PYTHON = r"""
import os, sys, time, fcntl
hold = os.environ.get('HOLD_MS')
def append(name):
    f = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600); os.write(f, b'1\n'); os.close(f)
def half():
    if hold: time.sleep(int(hold) / 1000)
    else: os.write(1, b'READY\n'); os.read(0, 1)
def two(): append('a'); half(); append('b')
def sets(one):
    while hold: one(); time.sleep(.002)
    one(); os.write(1, b'DONE\n'); os.read(0, 1)
"""
PERL = r"""
use Fcntl qw(:DEFAULT :flock); my $hold = $ENV{HOLD_MS};
sub append { open(my $f, '>>', $_[0]) or die; syswrite $f, "1\n"; close $f }
sub half { if ($hold) { select undef, undef, undef, $hold / 1000 } else { syswrite STDOUT, "READY\n"; sysread STDIN, my $x, 1 } }
sub two { append('a'); half(); append('b') }
sub sets { my $one = shift; while ($hold) { $one->(); select undef, undef, undef, .002 } $one->(); syswrite STDOUT, "DONE\n"; sysread STDIN, my $x, 1 }
"""
RUBY = r"""
$stdout.sync = true; HOLD = ENV['HOLD_MS']
def append(name) = File.open(name, 'a') { |f| f.syswrite("1\n") }
def half = HOLD ? sleep(HOLD.to_i / 1000.0) : (puts('READY'); $stdin.sysread(1))
def two; append('a'); half; append('b'); end
def sets; while HOLD; yield; sleep 0.002; end; yield; puts('DONE'); $stdin.sysread(1); end
"""
PHP = r"""
$hold = getenv('HOLD_MS');
function append($n) { file_put_contents($n, "1\n", FILE_APPEND); }
function half() { global $hold; if ($hold) usleep($hold * 1000); else { fwrite(STDOUT, "READY\n"); fread(STDIN, 1); } }
function two() { append('a'); half(); append('b'); }
function sets($one) { global $hold; while ($hold) { $one(); usleep(2000); } $one(); fwrite(STDOUT, "DONE\n"); fread(STDIN, 1); }
"""
JAVA = r"""
import java.io.*; import java.nio.channels.*; import java.nio.file.*;
public class Two {
    static final String hold = System.getenv("HOLD_MS");
    static void append(String n) throws Exception { Files.write(Path.of(n), "1\n".getBytes(), StandardOpenOption.CREATE, StandardOpenOption.APPEND); }
    static void half() throws Exception { if (hold != null) Thread.sleep(Integer.parseInt(hold)); else { System.out.println("READY"); System.in.read(); } }
    static void one() throws Exception {
        try (FileChannel c = FileChannel.open(Path.of(System.getenv("LOCKS") + "/l"), StandardOpenOption.CREATE, StandardOpenOption.WRITE); FileLock k = c.lock()) {
            append("a"); half(); append("b"); } }
    public static void main(String[] v) throws Exception {
        while (hold != null) { one(); Thread.sleep(2); }
        one(); System.out.println("DONE"); System.in.read(); }
}
"""
GO = r"""
package main
import ("os"; "syscall"; "time"; "strconv")
func must(e error) { if e != nil { panic(e) } }
func add(n string) { f, e := os.OpenFile(n, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0600); must(e); f.WriteString("1\n"); f.Close() }
func main() {
	hold, _ := strconv.Atoi(os.Getenv("HOLD_MS")); b := make([]byte, 1)
	for {
		f, e := os.OpenFile(os.Getenv("LOCKS")+"/l", os.O_CREATE|os.O_WRONLY, 0600); must(e)
		must(syscall.Flock(int(f.Fd()), syscall.LOCK_EX)); add("a")
		if hold > 0 { time.Sleep(time.Duration(hold) * time.Millisecond) } else { os.Stdout.WriteString("READY\n"); os.Stdin.Read(b) }
		add("b"); f.Close()
		if hold == 0 { os.Stdout.WriteString("DONE\n"); os.Stdin.Read(b); return }
		time.Sleep(2 * time.Millisecond)
	}
}
"""
# The system's: of others nobody knows which modules they have.
SYSTEM_PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


def shell(body, *tools, by="sh"):
    return (by, *tools), lambda work: [by, "-c", f"{SHELL}{body}\nsets"]


def python(body, module=None, *libraries):
    def needs():
        run = subprocess.run([SYSTEM_PYTHON, "-c", "".join(f"import {m}\n" for m in [module] if m) + "import ctypes\n"
                              + "".join(f"ctypes.CDLL({l!r})\n" for l in libraries)], capture_output=True)
        return None if run.returncode == 0 else f"no {module or ' '.join(libraries)} in {SYSTEM_PYTHON}"
    return needs, lambda work: [SYSTEM_PYTHON, "-c", f"{PYTHON}{body}"]


def perl(body, module=None):
    def needs():
        if not shutil.which("perl"):
            return "no perl"
        run = subprocess.run(["perl", f"-M{module or 'Fcntl'}", "-e", "1"], capture_output=True)
        return None if run.returncode == 0 else f"no {module}"
    return needs, lambda work: ["perl", *([f"-M{module}"] if module else []), "-e", f"{PERL}{body}"]


def ruby(body):
    return ("ruby",), lambda work: ["ruby", "-e", f"{RUBY}{body}"]


def php(body):
    return ("php",), lambda work: ["php", "-n", "-r", f"{PHP}{body}"]


def built(source, name, *command):
    def make(work):
        path = work / name
        if not (work / "Two").exists():
            path.write_text(source)
            env = {**os.environ, "GOCACHE": str(work / "cache"), "CGO_ENABLED": "0"}
            subprocess.run([word.format(work=work) for word in command], env=env, cwd=work, check=True, capture_output=True)
        return [str(work / "Two")] if name.endswith(".go") else ["java", "-XX:-UsePerfData", "-Xshare:auto", "-cp", str(work), "Two"]
    return (command[0],), make


def sqlite(mode):
    return python("import sqlite3\n"
                  "d = sqlite3.connect(os.environ['LOCKS'] + '/db', isolation_level=None, timeout=60)\n"
                  f"d.execute('pragma journal_mode={mode}'); d.execute('create table if not exists t (n)')\n"
                  "def one(): d.execute('begin immediate'); d.execute('insert into t values (1)'); two(); d.execute('commit')\n"
                  "sets(one)", "sqlite3")


LOCKS = '"$LOCKS/l"'
# A tool that locks, runs the program that it is told, and unlocks when that has ended.
AROUND = """
export SELF='echo 1 >>a; if [ "$HOLD_MS" ]; then sleep "0.0$HOLD_MS"; else echo READY; read x; fi; echo 1 >>b'
set_of_two() {{ {lock} sh -c "$SELF"; }}
sets"""
IDIOMS = {
    # Shells, with the tools that lock for them.
    "sh_flock_fd": shell(f"set_of_two() {{ exec 9>{LOCKS}; flock 9; append a; half; append b; exec 9>&-; }}", "flock"),
    "sh_flock_subshell": shell(f"set_of_two() {{ ( flock 9; append a; half; append b ) 9>{LOCKS}; }}", "flock"),
    "sh_flock_group_read": shell(f": >>{LOCKS}\nset_of_two() {{ {{ flock -x 8; append a; half; append b; }} 8<{LOCKS}; }}", "flock"),
    "bash_flock_variable": shell(f"set_of_two() {{ exec {{f}}>{LOCKS}; flock $f; append a; half; append b; exec {{f}}>&-; }}", "flock", by="bash"),
    "zsh_flock_fd": shell(f"set_of_two() {{ exec 9>{LOCKS}; flock 9; append a; half; append b; exec 9>&-; }}", "flock", by="zsh"),
    "zsh_zsystem": shell(f"zmodload zsh/system\n: >>{LOCKS}\nset_of_two() {{ zsystem flock -f f {LOCKS}; append a; half; append b; zsystem flock -u $f; }}", by="zsh"),
    "sh_noclobber": shell("set_of_two() { until ( set -C; : > \"$LOCKS/x.lock\" ) 2>/dev/null; do sleep 0.01; done; append a; half; append b; rm \"$LOCKS/x.lock\"; }"),
    "sh_ln": shell("set_of_two() { : >\"$LOCKS/me.$$\"; until ln \"$LOCKS/me.$$\" \"$LOCKS/x.lock\" 2>/dev/null; do sleep 0.01; done; append a; half; append b; rm \"$LOCKS/x.lock\" \"$LOCKS/me.$$\"; }"),
    "sh_mkdir": shell("set_of_two() { until mkdir \"$LOCKS/x.lck\" 2>/dev/null; do sleep 0.01; done; append a; half; append b; rmdir \"$LOCKS/x.lck\"; }"),
    "sh_ln_s": shell("set_of_two() { until ln -s me:$$ \"$LOCKS/x.lck\" 2>/dev/null; do sleep 0.01; done; append a; half; append b; rm \"$LOCKS/x.lck\"; }"),
    "procmail_lockfile": shell("set_of_two() { lockfile -1 \"$LOCKS/x.lock\"; append a; half; append b; rm -f \"$LOCKS/x.lock\"; }", "lockfile"),
    "dotlockfile": shell("set_of_two() { dotlockfile -l \"$LOCKS/x.lock\"; append a; half; append b; dotlockfile -u \"$LOCKS/x.lock\"; }", "dotlockfile"),
    "lockfile_create": shell("set_of_two() { lockfile-create \"$LOCKS/x\"; append a; half; append b; lockfile-remove \"$LOCKS/x\"; }", "lockfile-create"),
    "mutt_dotlock": shell(": >>\"$LOCKS/x\"\nset_of_two() { until mutt_dotlock -r 5 \"$LOCKS/x\"; do sleep 0.01; done; append a; half; append b; mutt_dotlock -u \"$LOCKS/x\"; }", "mutt_dotlock"),
    "lockmail": (("lockmail",), lambda work: ["sh", "-c", f"{SHELL}{AROUND.format(lock='lockmail $LOCKS/x.lock')}", "sh"]),
    "flock_command": (("flock",), lambda work: ["sh", "-c", f"{SHELL}{AROUND.format(lock='flock $LOCKS/l')}", "sh"]),
    # Python.
    "python_flock": python("f = open(os.environ['LOCKS'] + '/l', 'w')\ndef one(): fcntl.flock(f, 2); two(); fcntl.flock(f, 8)\nsets(one)"),
    "python_lockf": python("f = open(os.environ['LOCKS'] + '/l', 'w')\ndef one(): fcntl.lockf(f, 2); two(); fcntl.lockf(f, 8)\nsets(one)"),
    "python_os_lockf": python("f = os.open(os.environ['LOCKS'] + '/l', 66)\ndef one(): os.lockf(f, os.F_LOCK, 0); two(); os.lockf(f, os.F_ULOCK, 0)\nsets(one)"),
    "python_mailbox": python("import mailbox\nm = mailbox.mbox(os.environ['LOCKS'] + '/box')\ndef one(): m.lock(); two(); m.unlock()\nsets(one)"),
    "python_subprocess": python("import subprocess\ndef one():\n    f = open(os.environ['LOCKS'] + '/l', 'w')\n"
                                "    subprocess.run(['flock', str(f.fileno())], pass_fds=[f.fileno()], check=True); two(); f.close()\nsets(one)"),
    "python_multiprocessing": python("import multiprocessing, multiprocessing.util\nmultiprocessing.util._close_stdin = lambda: None\nc = multiprocessing.get_context('fork')\ndef one():\n    f = open(os.environ['LOCKS'] + '/l', 'w'); fcntl.flock(f, 2); append('a')\n"
                                     "    p = c.Process(target=lambda: (half(), append('b'))); p.start(); p.join(); f.close()\n"
                                     "sets(one)"),
    "python_filelock": python("import filelock\nk = filelock.FileLock(os.environ['LOCKS'] + '/x.lock')\ndef one():\n    with k: two()\nsets(one)", "filelock"),
    "python_softfilelock": python("import filelock\nk = filelock.SoftFileLock(os.environ['LOCKS'] + '/x.lock')\ndef one():\n    with k: two()\nsets(one)", "filelock"),
    "python_portalocker": python("import portalocker\ndef one():\n    with portalocker.Lock(os.environ['LOCKS'] + '/l', 'w'): two()\nsets(one)", "portalocker"),
    # Perl.
    "perl_flock": perl("open(my $l, '>', \"$ENV{LOCKS}/l\"); sets(sub { flock($l, LOCK_EX); two(); flock($l, LOCK_UN) })"),
    "perl_fcntllock": perl("open(my $l, '>', \"$ENV{LOCKS}/l\"); my $k = File::FcntlLock->new(l_type => F_WRLCK); my $u = File::FcntlLock->new(l_type => F_UNLCK);"
                           " sets(sub { $k->lock($l, F_SETLKW) or die; two(); $u->lock($l, F_SETLK) })", "File::FcntlLock"),
    "perl_lockfile_simple": perl("my $m = LockFile::Simple->make(-autoclean => 1, -delay => 1); sets(sub { $m->lock(\"$ENV{LOCKS}/x\") or die; two(); $m->unlock(\"$ENV{LOCKS}/x\") })",
                                 "LockFile::Simple"),
    "perl_db_file": perl("sets(sub { tie(my %h, 'DB_File', \"$ENV{LOCKS}/db\") or die; sysopen(my $l, \"$ENV{LOCKS}/db\", O_RDWR) or die; flock($l, LOCK_EX); $h{n}++; two(); untie %h; close $l })",
                         "DB_File"),
    "perl_berkeley": perl("my $e = BerkeleyDB::Env->new(-Home => $ENV{LOCKS}, -Flags => BerkeleyDB::DB_CREATE() | BerkeleyDB::DB_INIT_CDB() | BerkeleyDB::DB_INIT_MPOOL()) or die;"
                          " my $d = BerkeleyDB::Hash->new(-Filename => 'db', -Flags => BerkeleyDB::DB_CREATE(), -Env => $e) or die;"
                          " sets(sub { my $k = $d->cds_lock(); two(); $k->cds_unlock() })", "BerkeleyDB"),
    # Databases: a transaction around the two.
    "sqlite_delete": sqlite("delete"), "sqlite_truncate": sqlite("truncate"), "sqlite_persist": sqlite("persist"),
    "sqlite_memory": sqlite("memory"), "sqlite_wal": sqlite("wal"),
    "gdbm": python("import ctypes\ng = ctypes.CDLL('libgdbm.so.6'); g.gdbm_open.restype = ctypes.c_void_p\n"
                   "def one():\n    d = g.gdbm_open((os.environ['LOCKS'] + '/g').encode(), 0, 2, 0o600, None)\n    assert d; two(); g.gdbm_close(ctypes.c_void_p(d))\nsets(one)",
                   None, "libgdbm.so.6"),
    "tdb": python("import ctypes\nt = ctypes.CDLL('libtdb.so.1'); t.tdb_open.restype = ctypes.c_void_p\n"
                  "d = ctypes.c_void_p(t.tdb_open((os.environ['LOCKS'] + '/t').encode(), 0, 0, 66, 0o600)); assert d.value\n"
                  "def one(): assert t.tdb_lockall(d) == 0; two(); t.tdb_unlockall(d)\nsets(one)", None, "libtdb.so.1"),
    "lmdb": python("import ctypes\nm = ctypes.CDLL('liblmdb.so.0'); e = ctypes.c_void_p(); m.mdb_env_create(ctypes.byref(e))\n"
                   "assert m.mdb_env_open(e, os.environ['LOCKS'].encode(), 0, 0o600) == 0\n"
                   "def one():\n    x = ctypes.c_void_p(); assert m.mdb_txn_begin(e, None, 0, ctypes.byref(x)) == 0; two(); assert m.mdb_txn_commit(x) == 0\nsets(one)",
                   None, "liblmdb.so.0"),
    # Others.
    "php_flock": php("$l = fopen(getenv('LOCKS') . '/l', 'w'); sets(function () use ($l) { flock($l, LOCK_EX); two(); flock($l, LOCK_UN); });"),
    "php_lock_ex": php("$l = getenv('LOCKS') . '/x.lock'; sets(function () use ($l) { while (!($f = @fopen($l, 'x'))) usleep(1000); fclose($f); two(); unlink($l); });"),
    "ruby_flock": ruby("l = File.open(ENV['LOCKS'] + '/l', 'w'); sets { l.flock(File::LOCK_EX); two; l.flock(File::LOCK_UN) }"),
    "ruby_excl": ruby("l = ENV['LOCKS'] + '/x.lock'; sets { File.open(l, File::CREAT | File::EXCL | File::WRONLY) {}; two; File.unlink(l) }"),
    "ruby_pstore": ruby("require 'pstore'; s = PStore.new(ENV['LOCKS'] + '/s'); sets { s.transaction { s[:n] = 1; two } }"),
    "java_filelock": built(JAVA, "Two.java", "javac", "-d", "{work}", "{work}/Two.java"),
    "go_flock": built(GO, "two.go", "go", "build", "-o", "{work}/Two", "{work}/two.go"),
}
# Locks that the library is told of by the profile alone.
NAMED = ("sh_mkdir", "sh_ln_s")
NOT_DRAINED, UNGATED = 75, 65
# What such a freeze says instead. Databases that are mapped for writing (their locks may be memory: BerkeleyDB, lmdb): nothing
# holds a store. lockmail is a set-id program. Go makes its system calls itself.
MAPPED = ("perl_berkeley", "sqlite_wal", "gdbm", "tdb", "lmdb")
CAUSES = {**{name: "uncovered" for name in (*MAPPED, "lockmail")}, "go_flock": "ungated-writer"}
# Not tried outside of what is protected: their locks are no file locks, and only the mapping or the open file there is seen.
INSIDE_ONLY = ("perl_berkeley", "lmdb", "go_flock")
TRIED = [(name, False) for name in IDIOMS if name not in INSIDE_ONLY] + [(name, True) for name in (*MAPPED, "go_flock")]


def expected(name, inside):
    """The exit code of a freeze in the middle of its set."""
    tells = name in CAUSES and (inside or name == "lockmail")
    return UNGATED if tells else NOT_DRAINED


def missing(name):
    """Why it cannot be run here; none: it can."""
    needs = IDIOMS[name][0]
    if callable(needs):
        return needs()
    absent = [tool for tool in needs if not shutil.which(tool)]
    return f"no {' '.join(absent)}" if absent else None


def command(name, work):
    return IDIOMS[name][1](work)
