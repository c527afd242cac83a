//! libc functions and variables that the library itself uses.
//!
//! Each is looked up once; where libc has none, its place stays empty and the answer is
//! the one that leaves the program alone.

use super::symbols::Scope;
use core::ffi::c_int;
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicPtr, Ordering};
use once_cell::race::OnceNonZeroUsize;

/// The address of a function or variable.
type Address = OnceNonZeroUsize;

/// `int *__errno_location(void)`
static ERRNO_LOCATION: Address = Address::new();
/// `int fileno_unlocked(FILE *)`
static FILENO: Address = Address::new();
/// `size_t __fpending(FILE *)`
static FPENDING: Address = Address::new();
/// `int dirfd(DIR *)`
static DIRFD: Address = Address::new();
/// `unsigned long getauxval(unsigned long)`
static GETAUXVAL: Address = Address::new();

/// A pointer variable of libc.
pub struct Variable(Address);

/// `FILE *stdout`
pub static STDOUT: Variable = Variable(Address::new());
/// `FILE *stderr`
pub static STDERR: Variable = Variable(Address::new());
/// glibc's list of all streams; musl has none.
pub static ALL_STREAMS: Variable = Variable(Address::new());
/// `char **environ`
pub static ENVIRON: Variable = Variable(Address::new());

/// Fills the places: functions behind our own object, variables in all.
pub fn resolve(find: impl Fn(Scope, &str) -> Option<usize>) {
    let functions: [(&Address, &[&str]); 5] = [
        (&ERRNO_LOCATION, &["__errno_location"]),
        (&FILENO, &["fileno_unlocked", "fileno"]),
        (&FPENDING, &["__fpending"]),
        (&DIRFD, &["dirfd"]),
        (&GETAUXVAL, &["getauxval"]),
    ];
    let variables: [(&Address, &[&str]); 4] = [
        (&STDOUT.0, &["stdout"]),
        (&STDERR.0, &["stderr"]),
        (&ALL_STREAMS.0, &["_IO_list_all"]),
        (&ENVIRON.0, &["__environ", "environ"]),
    ];
    for (place, names) in functions {
        set(place, names.iter().find_map(|name| find(Scope::Next, name)));
    }
    for (place, names) in variables {
        set(place, names.iter().find_map(|name| find(Scope::All, name)));
    }
}

fn set(place: &Address, found: Option<usize>) {
    if let Some(address) = found.and_then(NonZeroUsize::new) {
        // Set already: by the same look-up, done before.
        let _ = place.set(address);
    }
}

impl Variable {
    /// Whether libc has this variable.
    pub fn exists(&self) -> bool {
        self.0.get().is_some()
    }

    /// Its value; 0 where there is no such variable.
    pub fn value(&self) -> u64 {
        let Some(address) = self.0.get() else { return 0 };
        let at = address.get() as *const AtomicPtr<u8>;
        // SAFETY: the address of a pointer variable of the program or of its libc, neither
        // of which is ever unloaded; read in one step, as an aligned pointer is.
        unsafe { (*at).load(Ordering::Relaxed) as u64 }
    }
}

/// The descriptor of a stream, -1 if it has none. errno is kept.
pub fn fileno(stream: u64) -> i32 {
    descriptor(&FILENO, stream)
}

/// The descriptor of a directory stream, -1 if it has none. errno is kept.
pub fn dirfd(stream: u64) -> i32 {
    descriptor(&DIRFD, stream)
}

fn descriptor(function: &Address, stream: u64) -> i32 {
    let Some(function) = function.get() else { return -1 };
    if stream == 0 {
        return -1;
    }
    // SAFETY: `int fileno(FILE *)` and `int dirfd(DIR *)` of libc, on what the program gave
    // to a call that takes a pointer of that very type. errno's place is the thread's own.
    unsafe {
        let kept = errno();
        let function: unsafe extern "C" fn(u64) -> c_int = core::mem::transmute(function.get());
        let fd = function(stream);
        if let Some(errno) = kept {
            *errno.0 = errno.1;
        }
        fd
    }
}

/// Has a stream something to write? Where libc cannot say, yes.
pub fn has_pending(stream: u64) -> bool {
    let Some(function) = FPENDING.get() else { return true };
    // SAFETY: `size_t __fpending(FILE *)` of libc, on what the program gave to a call that
    // takes a FILE; it looks at two pointers and takes no lock.
    unsafe {
        let function: unsafe extern "C" fn(u64) -> usize = core::mem::transmute(function.get());
        function(stream) != 0
    }
}

/// Sets the program's errno.
pub fn set_errno(value: c_int) {
    if let Some(Errno(at, _)) = errno() {
        // SAFETY: the place of this thread's errno, which lives as long as the thread.
        unsafe { *at = value };
    }
}

/// An address inside libc.
pub fn inside() -> Option<usize> {
    ERRNO_LOCATION.get().map(NonZeroUsize::get)
}

/// Where this thread's errno lies, and its value.
struct Errno(*mut c_int, c_int);

fn errno() -> Option<Errno> {
    let location = ERRNO_LOCATION.get()?;
    // SAFETY: `int *__errno_location(void)` of libc, which returns the place of this
    // thread's errno and does nothing else.
    unsafe {
        let location: unsafe extern "C" fn() -> *mut c_int = core::mem::transmute(location.get());
        let at = location();
        Some(Errno(at, *at))
    }
}

/// `getauxval`, if libc has it.
pub fn auxiliary(kind: u32) -> Option<u64> {
    let function = GETAUXVAL.get()?;
    // SAFETY: `unsigned long getauxval(unsigned long)` of libc, which takes any number.
    unsafe {
        let function: unsafe extern "C" fn(u64) -> u64 = core::mem::transmute(function.get());
        Some(function(kind as u64))
    }
}
