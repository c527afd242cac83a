//! The table itself, and the forms in which it is handed on.
//!
//! Longer than other files: a line per call, and one table for all of them.

use super::rule::{CWD, Rule};

/// Hands the whole table to a macro.
#[macro_export]
macro_rules! for_each_call {
    ($then:path) => {
        $then! {
            // descriptor writes and copies
            call write [__write] (Fd(0)) "data, size";
            call pwrite [pwrite64 __pwrite64] (Fd(0)) "data, size";
            call writev [] (Fd(0)) "data, size";
            call pwritev [pwritev64] (Fd(0)) "data, size";
            call pwritev2 [pwritev64v2] (Fd(0)) "data, size";
            call sendfile [sendfile64] (Fd(0)) "data of the output";
            call splice [] (Fd(2)) "data of the output";
            call copy_file_range [] (Fd(2)) "data of the output";
            call vdprintf [] (Fd(0)) "data";
            call __vdprintf_chk [] (Fd(0)) "data";
            variadic dprintf [] (vdprintf, 2) "data";
            variadic __dprintf_chk [] (__vdprintf_chk, 3) "data";
            call backtrace_symbols_fd [__backtrace_symbols_fd] (Fd(2)) "data";
            call ioctl [] (Ioctl) "clones, flags, allocation, subvolumes";
            call send [__send] (Send(0)) "nothing; by a profile, what another process changes for it";
            call sendto [] (Send(0)) "nothing; by a profile, what another process changes for it";
            call sendmsg [] (Send(0)) "nothing; by a profile, what another process changes for it";
            call sendmmsg [] (Send(0)) "nothing; by a profile, what another process changes for it";
            // opens that create or truncate
            call open [open64 __open __open64] (Open(CWD, 0, 1)) "creates, truncates";
            call __open_2 [__open64_2] (Open(CWD, 0, 1)) "truncates";
            call openat [openat64] (Open(0, 1, 2)) "creates, truncates";
            call __openat_2 [__openat64_2] (Open(0, 1, 2)) "truncates";
            call openat2 [] (OpenHow) "creates, truncates";
            call open_by_handle_at [] (OpenHandle) "truncates";
            call creat [creat64] (Path(CWD, 0)) "creates, truncates";
            call mkstemp [mkstemp64] (Path(CWD, 0)) "creates";
            call mkostemp [mkostemp64] (Path(CWD, 0)) "creates";
            call mkstemps [mkstemps64] (Path(CWD, 0)) "creates";
            call mkostemps [mkostemps64] (Path(CWD, 0)) "creates";
            call mkdtemp [] (Path(CWD, 0)) "makes a directory";
            call tmpfile [tmpfile64] (TempDir) "creates an unnamed file";
            call fopen [fopen64 _IO_fopen] (OpenMode(0, 1)) "creates, truncates";
            call setmntent [__setmntent] (OpenMode(0, 1)) "creates, truncates";
            call freopen [freopen64] (Freopen) "flushes, closes, creates, truncates";
            // size and allocation
            call truncate [truncate64] (Path(CWD, 0)) "size";
            call ftruncate [ftruncate64] (Fd(0)) "size";
            call fallocate [fallocate64] (Fd(0)) "size, holes";
            call posix_fallocate [posix_fallocate64] (Fd(0)) "size";
            call madvise [] (Madvise) "MADV_REMOVE punches a hole in a mapped file";
            // names
            call rename [] (Paths(CWD, 0, CWD, 1)) "names; may end a dotlock";
            call renameat [] (Paths(0, 1, 2, 3)) "names; may end a dotlock";
            call renameat2 [] (Paths(0, 1, 2, 3)) "names; may end a dotlock";
            call link [] (Link(CWD, 0, CWD, 1)) "a new name; may take a dotlock";
            call linkat [] (Link(0, 1, 2, 3)) "a new name; may take a dotlock";
            call symlink [] (Make(CWD, 1)) "a new name; may take a lock that a profile names";
            call symlinkat [] (Make(1, 2)) "a new name; may take a lock that a profile names";
            call unlink [] (Unlink(CWD, 0)) "a name; may end a dotlock";
            call unlinkat [] (Unlink(0, 1)) "a name; may end a dotlock";
            call remove [] (Unlink(CWD, 0)) "a name; may end a dotlock";
            call rmdir [] (Unlink(CWD, 0)) "a name; may end a lock that a profile names";
            call mkdir [] (Make(CWD, 0)) "a directory; may take a lock that a profile names";
            call mkdirat [] (Make(0, 1)) "a directory; may take a lock that a profile names";
            call mknod [] (Path(CWD, 0)) "a node";
            call mknodat [] (Path(0, 1)) "a node";
            call __xmknod [] (Path(CWD, 1)) "a node";
            call __xmknodat [] (Path(1, 2)) "a node";
            call mkfifo [] (Path(CWD, 0)) "a node";
            call mkfifoat [] (Path(0, 1)) "a node";
            call bind [] (Bind) "the name of a unix socket";
            // metadata
            call chmod [] (Path(CWD, 0)) "mode";
            call lchmod [] (Path(CWD, 0)) "mode";
            call fchmod [] (Attributes(0)) "mode";
            call fchmodat [] (Path(0, 1)) "mode";
            call chown [] (Path(CWD, 0)) "owner";
            call lchown [] (Path(CWD, 0)) "owner";
            call fchown [] (Attributes(0)) "owner";
            call fchownat [] (Path(0, 1)) "owner";
            call utime [] (Path(CWD, 0)) "times";
            call utimes [] (Path(CWD, 0)) "times";
            call lutimes [] (Path(CWD, 0)) "times";
            call futimes [] (Attributes(0)) "times";
            call futimesat [] (Path(0, 1)) "times";
            call utimensat [] (Path(0, 1)) "times";
            call futimens [] (Attributes(0)) "times";
            call setxattr [] (Path(CWD, 0)) "extended attributes";
            call lsetxattr [] (Path(CWD, 0)) "extended attributes";
            call fsetxattr [] (Attributes(0)) "extended attributes";
            call removexattr [] (Path(CWD, 0)) "extended attributes";
            call lremovexattr [] (Path(CWD, 0)) "extended attributes";
            call fremovexattr [] (Attributes(0)) "extended attributes";
            // durability: held, so that the snapshot is not changed under a freezer; begins no section
            call fsync [] (Sync(0)) "nothing but where it lies";
            call fdatasync [] (Sync(0)) "nothing but where it lies";
            call syncfs [] (Sync(0)) "nothing but where it lies";
            call sync_file_range [] (Sync(0)) "nothing but where it lies";
            // locks
            call fcntl [fcntl64 __fcntl] (Fcntl) "takes and ends locks, duplicates descriptors";
            call flock [] (Flock) "takes and ends locks";
            call lockf [lockf64] (Lockf) "takes and ends locks";
            // closing and duplicating descriptors
            call close [__close posix_close] (Close(0)) "ends locks";
            call closefrom [] (CloseFrom) "ends locks";
            call close_range [] (CloseRange) "ends locks";
            call dup [] (Dup) "another descriptor of a lock";
            call dup2 [__dup2] (Dup2) "ends the locks of what it replaces";
            call dup3 [] (Dup2) "ends the locks of what it replaces";
            call pidfd_getfd [] (Dup) "another descriptor of another process's lock";
            call closedir [] (CloseDir) "ends locks on a directory";
            call fclose [_IO_fclose] (StreamClose(0)) "flushes; ends locks";
            call endmntent [__endmntent] (StreamClose(0)) "flushes; ends locks";
            call fcloseall [] (AllStreams) "flushes";
            call pclose [_IO_proc_close] (Waits) "closes a pipe, waits for a child";
            call login_tty [] (LoginTty) "closes descriptors 0 to 2";
            // processes
            call fork [__fork] (Fork) "a child that inherits locks";
            call _Fork [] (Fork) "a child that inherits locks";
            call forkpty [] (Fork) "a child that inherits locks";
            call daemon [] (Daemon) "forks, the parent exits, closes descriptors 0 to 2";
            call vfork [__vfork] (Vfork) "a child that shares memory";
            call clone [__clone] (Clone) "a child, a thread";
            call posix_spawn [] (Spawn(2)) "a child, whose file actions may create";
            call posix_spawnp [] (Spawn(2)) "a child, whose file actions may create";
            call pidfd_spawn [] (Spawn(2)) "a child, whose file actions may create";
            call pidfd_spawnp [] (Spawn(2)) "a child, whose file actions may create";
            call system [] (Waits) "a child that is waited for";
            call popen [_IO_popen _IO_proc_open] (Waits) "a child";
            call wordexp [] (Waits) "a child that is waited for";
            call execve [] (Exec) "another program; locks on close-on-exec descriptors end";
            call execv [] (Exec) "another program";
            call execvp [] (Exec) "another program";
            call execvpe [] (Exec) "another program";
            call fexecve [] (Exec) "another program";
            call execveat [] (Exec) "another program";
            listed execl [] (execv) "another program";
            listed execlp [] (execvp) "another program";
            listed execle [] (execve) "another program";
            // stdio: output
            call fwrite [_IO_fwrite fwrite_unlocked] (Stream(3)) "data";
            call fputs [_IO_fputs fputs_unlocked] (Stream(1)) "data";
            call puts [_IO_puts] (Stdout) "data";
            call fputc [putc _IO_putc] (Stream(1)) "data";
            call fputc_unlocked [putc_unlocked _IO_putc_unlocked] (Stream(1)) "data";
            call putchar [] (Stdout) "data";
            call putchar_unlocked [] (Stdout) "data";
            call putw [] (Stream(1)) "data";
            call fputwc [putwc] (Stream(1)) "data";
            call fputwc_unlocked [putwc_unlocked __fputwc_unlocked] (Stream(1)) "data";
            call putwchar [] (Stdout) "data";
            call putwchar_unlocked [] (Stdout) "data";
            call fputws [] (Stream(1)) "data";
            call fputws_unlocked [] (Stream(1)) "data";
            call __overflow [] (Stream(0)) "data: what the putc_unlocked macro calls";
            call __woverflow [] (Stream(0)) "data";
            call vprintf [] (Stdout) "data";
            call __vprintf_chk [] (Stdout) "data";
            call vfprintf [_IO_vfprintf] (Stream(0)) "data";
            call __vfprintf_chk [] (Stream(0)) "data";
            call vwprintf [] (Stdout) "data";
            call __vwprintf_chk [] (Stdout) "data";
            call vfwprintf [] (Stream(0)) "data";
            call __vfwprintf_chk [] (Stream(0)) "data";
            variadic printf [_IO_printf] (vprintf, 1) "data";
            variadic __printf_chk [] (__vprintf_chk, 2) "data";
            variadic fprintf [_IO_fprintf] (vfprintf, 2) "data";
            variadic __fprintf_chk [] (__vfprintf_chk, 3) "data";
            variadic wprintf [] (vwprintf, 1) "data";
            variadic __wprintf_chk [] (__vwprintf_chk, 2) "data";
            variadic fwprintf [] (vfwprintf, 2) "data";
            variadic __fwprintf_chk [] (__vfwprintf_chk, 3) "data";
            call perror [] (Stderr) "data";
            call psignal [] (Stderr) "data";
            call psiginfo [] (Stderr) "data";
            call herror [] (Stderr) "data";
            call vwarn [] (Stderr) "data";
            call vwarnx [] (Stderr) "data";
            variadic warn [] (vwarn, 1) "data";
            variadic warnx [] (vwarnx, 1) "data";
            call verr [] (Last) "data, then exit";
            call verrx [] (Last) "data, then exit";
            variadic err [] (verr, 2) "data, then exit";
            variadic errx [] (verrx, 2) "data, then exit";
            call error [] (StderrList) "data, perhaps exit";
            call error_at_line [] (StderrList) "data, perhaps exit";
            call fmtmsg [] (Stderr) "data";
            call malloc_info [] (Stream(1)) "data";
            call malloc_stats [] (Stderr) "data";
            call putpwent [] (Stream(1)) "data";
            call putgrent [] (Stream(1)) "data";
            call putspent [] (Stream(1)) "data";
            call putsgent [] (Stream(1)) "data";
            call addmntent [] (Stream(0)) "data";
            // stdio: flush points
            call fflush [fflush_unlocked _IO_fflush] (Flush(0)) "what was buffered";
            call _flushlbf [_IO_flush_all_linebuffered] (AllStreams) "what was buffered";
            call _IO_flush_all [] (AllStreams) "what was buffered";
            call fseek [] (StreamRead(0)) "what was buffered";
            call fseeko [fseeko64] (StreamRead(0)) "what was buffered";
            call rewind [] (StreamRead(0)) "what was buffered";
            call fsetpos [fsetpos64 _IO_fsetpos _IO_fsetpos64] (StreamRead(0)) "what was buffered";
            call _IO_seekoff [] (Stream(0)) "what was buffered";
            call _IO_seekpos [] (Stream(0)) "what was buffered";
            call _IO_do_write [] (Stream(0)) "what was buffered";
            call _IO_file_write [] (Stream(0)) "data";
            call _IO_file_overflow [] (Stream(0)) "data";
            call _IO_file_xsputn [] (Stream(0)) "data";
            call _IO_file_sync [] (Stream(0)) "what was buffered";
            call _IO_wdo_write [] (Stream(0)) "what was buffered";
            call _IO_padn [] (Stream(0)) "what was buffered";
            call _IO_wfile_overflow [] (Stream(0)) "what was buffered";
            call _IO_wfile_xsputn [] (Stream(0)) "what was buffered";
            call _IO_wfile_sync [] (Stream(0)) "what was buffered";
            call _IO_default_xsputn [] (Stream(0)) "what was buffered";
            call _IO_wdefault_xsputn [] (Stream(0)) "what was buffered";
            call _IO_file_seekoff [] (Stream(0)) "what was buffered";
            call _IO_wfile_seekoff [] (Stream(0)) "what was buffered";
            call _IO_file_setbuf [] (Stream(0)) "what was buffered";
            call printf_size [] (Stream(0)) "what was buffered";
            call __printf_fp [] (Stream(0)) "what was buffered";
            call _IO_file_close_it [] (StreamClose(0)) "flushes; ends locks";
            call _IO_file_close [] (StreamClose(0)) "flushes; ends locks";
            call _IO_file_finish [] (StreamClose(0)) "flushes; ends locks";
            call _IO_default_finish [] (StreamClose(0)) "flushes; ends locks";
            call _IO_wdefault_finish [] (StreamClose(0)) "flushes; ends locks";
            call _IO_file_open [] (Path(CWD, 1)) "creates, truncates";
            call _IO_file_fopen [] (Path(CWD, 1)) "creates, truncates";
            call setvbuf [_IO_setvbuf] (Stream(0)) "what was buffered";
            call setbuf [] (Stream(0)) "what was buffered";
            call setbuffer [_IO_setbuffer] (Stream(0)) "what was buffered";
            call setlinebuf [] (Stream(0)) "what was buffered";
            // stdio: reads, which write out what is pending on the stream, or on a line-buffered stdout
            call fread [_IO_fread fread_unlocked] (StreamRead(3)) "what was buffered";
            call __fread_chk [] (StreamRead(4)) "what was buffered";
            call __fread_unlocked_chk [] (StreamRead(4)) "what was buffered";
            call fgetc [getc _IO_getc] (StreamRead(0)) "what was buffered";
            call fgetc_unlocked [getc_unlocked _IO_getc_unlocked] (StreamRead(0)) "what was buffered";
            call getw [] (StreamRead(0)) "what was buffered";
            call __uflow [] (StreamRead(0)) "what was buffered";
            call __underflow [] (StreamRead(0)) "what was buffered";
            call fgetwc [getwc] (StreamRead(0)) "what was buffered";
            call fgetwc_unlocked [getwc_unlocked __fgetwc_unlocked] (StreamRead(0)) "what was buffered";
            call __wuflow [] (StreamRead(0)) "what was buffered";
            call __wunderflow [] (StreamRead(0)) "what was buffered";
            call _IO_peekc_locked [] (StreamRead(0)) "what was buffered";
            call _IO_switch_to_get_mode [] (StreamRead(0)) "what was buffered";
            call _IO_switch_to_wget_mode [] (StreamRead(0)) "what was buffered";
            call _IO_file_underflow [] (StreamRead(0)) "what was buffered";
            call _IO_wfile_underflow [] (StreamRead(0)) "what was buffered";
            call _IO_default_uflow [] (StreamRead(0)) "what was buffered";
            call _IO_wdefault_uflow [] (StreamRead(0)) "what was buffered";
            call _IO_sgetn [] (StreamRead(0)) "what was buffered";
            call _IO_file_read [] (StreamRead(0)) "what was buffered";
            call _IO_getline [] (StreamRead(0)) "what was buffered";
            call _IO_getline_info [] (StreamRead(0)) "what was buffered";
            call _IO_default_xsgetn [] (StreamRead(0)) "what was buffered";
            call _IO_wdefault_xsgetn [] (StreamRead(0)) "what was buffered";
            call fgetln [] (StreamRead(0)) "what was buffered";
            call fgets [_IO_fgets fgets_unlocked] (StreamRead(2)) "what was buffered";
            call fgetws [fgetws_unlocked] (StreamRead(2)) "what was buffered";
            call getline [] (StreamRead(2)) "what was buffered";
            call __fgets_chk [__fgets_unlocked_chk] (StreamRead(3)) "what was buffered";
            call __fgetws_chk [__fgetws_unlocked_chk] (StreamRead(3)) "what was buffered";
            call getdelim [__getdelim] (StreamRead(3)) "what was buffered";
            call vfscanf [__vfscanf __isoc99_vfscanf _IO_vfscanf] (StreamRead(0)) "what was buffered";
            call __isoc23_vfscanf [] (StreamRead(0)) "what was buffered";
            call vfwscanf [__isoc99_vfwscanf] (StreamRead(0)) "what was buffered";
            call __isoc23_vfwscanf [] (StreamRead(0)) "what was buffered";
            call getchar [] (StdinRead) "what was buffered";
            call getchar_unlocked [] (StdinRead) "what was buffered";
            call getwchar [] (StdinRead) "what was buffered";
            call getwchar_unlocked [] (StdinRead) "what was buffered";
            call gets [_IO_gets] (StdinRead) "what was buffered";
            call __gets_chk [] (StdinRead) "what was buffered";
            call vscanf [__isoc99_vscanf] (StdinRead) "what was buffered";
            call __isoc23_vscanf [] (StdinRead) "what was buffered";
            call vwscanf [__isoc99_vwscanf] (StdinRead) "what was buffered";
            call __isoc23_vwscanf [] (StdinRead) "what was buffered";
            variadic scanf [] (vscanf, 1) "what was buffered";
            variadic fscanf [] (vfscanf, 2) "what was buffered";
            variadic wscanf [] (vwscanf, 1) "what was buffered";
            variadic fwscanf [] (vfwscanf, 2) "what was buffered";
            variadic __isoc99_scanf [] (vscanf, 1) "what was buffered";
            variadic __isoc99_fscanf [] (vfscanf, 2) "what was buffered";
            variadic __isoc99_wscanf [] (vwscanf, 1) "what was buffered";
            variadic __isoc99_fwscanf [] (vfwscanf, 2) "what was buffered";
            variadic __isoc23_scanf [] (__isoc23_vscanf, 1) "what was buffered";
            variadic __isoc23_fscanf [] (__isoc23_vfscanf, 2) "what was buffered";
            variadic __isoc23_wscanf [] (__isoc23_vwscanf, 1) "what was buffered";
            variadic __isoc23_fwscanf [] (__isoc23_vfwscanf, 2) "what was buffered";
            // calls that wait: they end a section that lasts until the process waits, and change nothing
            call read [__read __read_chk] (WaitFd(0)) "nothing";
            call readv [] (WaitFd(0)) "nothing";
            call recv [__recv_chk] (WaitFd(0)) "nothing";
            call recvfrom [__recvfrom_chk] (WaitFd(0)) "nothing";
            call recvmsg [] (WaitFd(0)) "nothing";
            call recvmmsg [] (WaitFd(0)) "nothing";
            call accept [] (WaitFd(0)) "nothing";
            call accept4 [] (WaitFd(0)) "nothing";
            call connect [__connect] (WaitFd(0)) "nothing";
            call poll [__poll __poll_chk] (Wait) "nothing";
            call ppoll [__ppoll_chk] (Wait) "nothing";
            call select [__select] (Wait) "nothing";
            call pselect [] (Wait) "nothing";
            call epoll_wait [] (Wait) "nothing";
            call epoll_pwait [] (Wait) "nothing";
            call epoll_pwait2 [] (Wait) "nothing";
            call nanosleep [__nanosleep] (Wait) "nothing";
            call clock_nanosleep [] (Wait) "nothing";
            call sleep [] (Wait) "nothing";
            call usleep [] (Wait) "nothing";
            call pause [] (Wait) "nothing";
            call sigsuspend [] (Wait) "nothing";
            call sigwait [] (Wait) "nothing";
            call sigwaitinfo [] (Wait) "nothing";
            call sigtimedwait [] (Wait) "nothing";
            call wait [__wait] (Reap) "nothing";
            call wait3 [] (Reap) "nothing";
            call wait4 [] (Reap) "nothing";
            call waitpid [__waitpid] (Reap) "nothing";
            call waitid [] (Reap) "nothing";
            call sem_wait [] (Wait) "nothing";
            call sem_timedwait [] (Wait) "nothing";
            // records that libc writes itself
            call updwtmp [updwtmpx] (Path(CWD, 0)) "a record";
            call lckpwdf [] (FixedEtc) "takes a lock on /etc/.pwd.lock";
            call ulckpwdf [] (FixedEtc) "ends the lock of lckpwdf";
            call login [] (FixedLog) "records in utmp and wtmp";
            call logout [] (FixedLog) "a record in utmp";
            call logwtmp [] (FixedLog) "a record in wtmp";
            call pututline [pututxline] (FixedLog) "a record in utmp";
            call sethostid [] (FixedEtc) "/etc/hostid";
            // what goes past the gate: counted, and named in the verdict
            call aio_write [aio_write64] (AioWrite) "data, later, from a helper thread";
            call lio_listio [lio_listio64] (AioList) "data, later, from helper threads";
            call mmap [mmap64] (Mmap) "stores into a shared writable mapping cannot be held";
            call mprotect [] (Mprotect) "makes a mapping writable";
            call pkey_mprotect [] (Mprotect) "makes a mapping writable";
            call chroot [] (Chroot) "nothing; hides the paths of locks";
            call prctl [] (Confine) "nothing; may forbid calls to this process";
            call mremap [] (Mremap) "grows a mapping";
            // everything at once
            call syscall [] (Syscall) "whatever its number says";
            // what hands out the others
            look_up dlsym [] () "nothing; of libc's own calls it hands out ours";
            look_up dlvsym [] () "nothing; of libc's own calls it hands out ours";
        }
    };
}

macro_rules! define {
    ($($kind:ident $name:ident [$($alias:ident)*] $body:tt $what:literal;)*) => {
        /// Every hooked call by its name; the number goes into thread words.
        #[allow(non_camel_case_types, missing_docs)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        pub enum Call { NONE, $($name),* }

        /// How many numbers there are, 0 included.
        pub const COUNT: usize = [$(stringify!($name)),*].len() + 1;

        /// Every call with its rule, in the table's order: what a call's number means, for
        /// [`crate::layout`]. Aliases have no numbers.
        pub(crate) const ROWS: &str =
            concat!($(stringify!($name), ":", stringify!($kind), stringify!($body), "\n"),*);

        /// All names in the table's order, one line a call: its name, then its
        /// aliases. One text and no pointers, for the library, where every pointer
        /// would be a relocation at every start of every program.
        pub static NAMES: &str = concat!($(stringify!($name), $(" ", stringify!($alias),)* "\n"),*);

        /// The table, by number.
        pub static TABLE: &[Info] = &[
            Info { name: "", aliases: &[], rule: None, what: "" },
            $(Info {
                name: stringify!($name),
                aliases: &[$(stringify!($alias)),*],
                rule: rule!($kind $body),
                what: $what,
            }),*
        ];
    };
}

macro_rules! rule {
    (variadic $target:tt) => { None };
    (listed $target:tt) => { None };
    (look_up ()) => { None };
    (call ($rule:ident $($arg:tt)*)) => { Some(Rule::$rule $($arg)*) };
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Its name in libc.
    pub name: &'static str,
    /// Other names of the same function.
    pub aliases: &'static [&'static str],
    /// What to do; none for calls that only forward.
    pub rule: Option<Rule>,
    /// What it changes.
    pub what: &'static str,
}

for_each_call!(define);
