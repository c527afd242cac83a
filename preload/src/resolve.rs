//! Finding the real functions, without dlsym.
//!
//! `dlsym` would pin a symbol version (GLIBC_2.34) and may allocate. What
//! RTLD_NEXT means is simple enough: the objects after our own, in load order,
//! each by its hash table, default versions only. Works the same under musl.

use crate::fallback;
use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use gate::calls::{COUNT, NAMES};

/// The real functions by the number of the call. The trampoline reads it.
pub static REAL: [AtomicUsize; COUNT] = [const { AtomicUsize::new(0) }; COUNT];

/// libc functions and objects that the library itself uses.
pub struct Helpers {
    /// `int *__errno_location(void)`
    pub errno: AtomicUsize,
    /// `int fileno_unlocked(FILE *)`
    pub fileno: AtomicUsize,
    /// `size_t __fpending(FILE *)`
    pub pending: AtomicUsize,
    /// `int dirfd(DIR *)`
    pub dirfd: AtomicUsize,
    /// `FILE *stdout`
    pub stdout: AtomicUsize,
    /// `FILE *stderr`
    pub stderr: AtomicUsize,
    /// glibc's list of all streams.
    pub streams: AtomicUsize,
    /// `char **environ`
    pub environ: AtomicUsize,
    /// `unsigned long getauxval(unsigned long)`
    pub getauxval: AtomicUsize,
}

/// See [`Helpers`].
pub static HELPERS: Helpers = Helpers {
    errno: AtomicUsize::new(0),
    fileno: AtomicUsize::new(0),
    pending: AtomicUsize::new(0),
    dirfd: AtomicUsize::new(0),
    stdout: AtomicUsize::new(0),
    stderr: AtomicUsize::new(0),
    streams: AtomicUsize::new(0),
    environ: AtomicUsize::new(0),
    getauxval: AtomicUsize::new(0),
};

#[repr(C)]
struct PhdrInfo {
    base: usize,
    _name: *const c_char,
    headers: *const Phdr,
    count: u16,
}

#[repr(C)]
struct Phdr {
    kind: u32,
    _flags: u32,
    _offset: u64,
    address: u64,
    _physical: u64,
    _file_size: u64,
    memory_size: u64,
    _align: u64,
}

#[repr(C)]
struct Dyn {
    tag: i64,
    value: u64,
}

#[repr(C)]
struct Sym {
    name: u32,
    info: u8,
    _other: u8,
    section: u16,
    value: u64,
    _size: u64,
}

unsafe extern "C" {
    fn dl_iterate_phdr(
        callback: unsafe extern "C" fn(*const PhdrInfo, usize, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
}

/// One loaded object's symbol tables.
#[derive(Clone, Copy)]
struct Object {
    base: usize,
    symbols: *const Sym,
    strings: *const u8,
    gnu: *const u32,
    sysv: *const u32,
    versions: *const u16,
}

const MAX: usize = 48;

struct Loaded {
    objects: [Option<Object>; MAX],
    count: usize,
    /// Index of the first object after our own.
    after_us: usize,
}

/// Looks up everything that the table and the helpers name. Safe to do twice.
pub fn all() {
    let mut loaded = Loaded { objects: [None; MAX], count: 0, after_us: 0 };
    // SAFETY: the callback matches, and `loaded` lives through the call.
    unsafe { dl_iterate_phdr(visit, (&raw mut loaded).cast()) };
    let next = loaded.objects.get(loaded.after_us..).unwrap_or(&[]);
    let found_by = |objects: &[Option<Object>], name: &str, hash: u32| {
        let find = |hidden| {
            let wanted = Wanted { name: name.as_bytes(), hash, hidden };
            // SAFETY: the tables are those of loaded objects.
            objects.iter().flatten().find_map(|object| unsafe { object.find(&wanted) })
        };
        // A libc that keeps a call for old programs only, under a version that is
        // no longer the default: those programs call it, and find our export.
        find(false).or_else(|| find(true))
    };
    let found = |objects: &[Option<Object>], name: &str| {
        found_by(objects, name, gnu_hash(name.as_bytes(), 0, name.len()))
    };
    for (slot, line) in REAL.iter().zip(&LINES).skip(1) {
        let real = found_by(next, line.name(), line.hash);
        let real = real.or_else(|| line.aliases().find_map(|name| found(next, name)));
        slot.store(real.unwrap_or_else(|| fallback::of(line.name())), Ordering::Release);
    }
    type Helper<'a> = (&'a AtomicUsize, &'a [Option<Object>], &'a [&'a str]);
    let helpers: [Helper<'_>; 9] = [
        (&HELPERS.errno, next, &["__errno_location"]),
        (&HELPERS.fileno, next, &["fileno_unlocked", "fileno"]),
        (&HELPERS.pending, next, &["__fpending"]),
        (&HELPERS.dirfd, next, &["dirfd"]),
        // Objects: the program's own copy (a copy relocation) comes first.
        (&HELPERS.stdout, &loaded.objects, &["stdout"]),
        (&HELPERS.stderr, &loaded.objects, &["stderr"]),
        (&HELPERS.streams, &loaded.objects, &["_IO_list_all"]),
        (&HELPERS.environ, &loaded.objects, &["__environ", "environ"]),
        (&HELPERS.getauxval, next, &["getauxval"]),
    ];
    for (slot, objects, names) in helpers {
        let at = names.iter().find_map(|name| found(objects, name)).unwrap_or(0);
        slot.store(at, Ordering::Release);
    }
}

/// Where a call's name lies in [`NAMES`], and its hash: a start of a program must not
/// spend its time on that.
struct Line {
    hash: u32,
    start: u16,
    name_len: u16,
    len: u16,
}

static LINES: [Line; COUNT] = lines();

const fn lines() -> [Line; COUNT] {
    let text = NAMES.as_bytes();
    let mut lines = [const { Line { hash: 0, start: 0, name_len: 0, len: 0 } }; COUNT];
    let (mut at, mut number) = (0, 1);
    while number < COUNT {
        let start = at;
        let mut name_len = 0;
        while text[at] != b'\n' {
            if text[at] == b' ' && name_len == 0 {
                name_len = at - start;
            }
            at += 1;
        }
        if name_len == 0 {
            name_len = at - start;
        }
        lines[number] = Line {
            hash: gnu_hash(text, start, name_len),
            start: start as u16,
            name_len: name_len as u16,
            len: (at - start) as u16,
        };
        at += 1;
        number += 1;
    }
    assert!(at == text.len() && text.len() < u16::MAX as usize);
    lines
}

const fn gnu_hash(text: &[u8], start: usize, len: usize) -> u32 {
    let mut hash = 5381u32;
    let mut at = start;
    while at < start + len {
        hash = hash.wrapping_mul(33).wrapping_add(text[at] as u32);
        at += 1;
    }
    hash
}

impl Line {
    fn name(&self) -> &'static str {
        let start = self.start as usize;
        NAMES.get(start..start + self.name_len as usize).unwrap_or("")
    }

    fn aliases(&self) -> impl Iterator<Item = &'static str> {
        let start = self.start as usize;
        let rest = NAMES.get(start + self.name_len as usize..start + self.len as usize);
        rest.unwrap_or("").split([' ']).filter(|name| !name.is_empty())
    }
}

/// Is this call missing in the process's libc, with nothing that could stand for it?
pub fn is_missing(call: usize) -> bool {
    REAL.get(call).is_none_or(|real| fallback::is_missing(real.load(Ordering::Relaxed)))
}

unsafe extern "C" fn visit(info: *const PhdrInfo, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: the loader passes a valid entry, and `data` is our `Loaded`.
    let (info, loaded) = unsafe { (&*info, &mut *data.cast::<Loaded>()) };
    let Some(place) = loaded.objects.get_mut(loaded.count) else { return 1 };
    loaded.count += 1;
    // SAFETY: `count` headers lie there.
    let headers = unsafe { core::slice::from_raw_parts(info.headers, info.count as usize) };
    let us = (&raw const REAL) as usize;
    let mut dynamic = None;
    for header in headers {
        let start = info.base.wrapping_add(header.address as usize);
        match header.kind {
            1 if (start..start + header.memory_size as usize).contains(&us) => {
                loaded.after_us = loaded.count;
            }
            2 => dynamic = Some(start as *const Dyn),
            _ => {}
        }
    }
    // SAFETY: PT_DYNAMIC of a loaded object.
    *place = dynamic.and_then(|dynamic| unsafe { Object::read(info.base, dynamic) });
    0
}

/// A name, its GNU hash, and whether a version will do that is not the default.
struct Wanted<'a> {
    name: &'a [u8],
    hash: u32,
    hidden: bool,
}

impl Object {
    /// # Safety
    /// `dynamic` is the object's dynamic section.
    unsafe fn read(base: usize, mut dynamic: *const Dyn) -> Option<Object> {
        let mut object = Object {
            base,
            symbols: core::ptr::null(),
            strings: core::ptr::null(),
            gnu: core::ptr::null(),
            sysv: core::ptr::null(),
            versions: core::ptr::null(),
        };
        // SAFETY: the section ends with a zero tag.
        unsafe {
            while (*dynamic).tag != 0 {
                // glibc has relocated these addresses in place, musl and the
                // vDSO have not.
                let value = (*dynamic).value as usize;
                let at = if value < base { base + value } else { value };
                match (*dynamic).tag {
                    4 => object.sysv = at as *const u32,
                    5 => object.strings = at as *const u8,
                    6 => object.symbols = at as *const Sym,
                    0x6fff_fef5 => object.gnu = at as *const u32,
                    0x6fff_fff0 => object.versions = at as *const u16,
                    _ => {}
                }
                dynamic = dynamic.add(1);
            }
        }
        (!object.symbols.is_null() && !object.strings.is_null()).then_some(object)
    }

    /// Address of a defined default-version symbol.
    ///
    /// # Safety
    /// The tables must be those of a loaded object.
    unsafe fn find(&self, wanted: &Wanted<'_>) -> Option<usize> {
        // SAFETY: as for us.
        unsafe { if !self.gnu.is_null() { self.find_gnu(wanted) } else { self.find_sysv(wanted) } }
    }

    /// # Safety
    /// As [`Object::find`].
    unsafe fn find_gnu(&self, wanted: &Wanted<'_>) -> Option<usize> {
        let hash = wanted.hash;
        // SAFETY: the layout of DT_GNU_HASH.
        unsafe {
            let [buckets, first, bloom_size, shift] =
                [*self.gnu, *self.gnu.add(1), *self.gnu.add(2), *self.gnu.add(3)];
            if buckets == 0 || bloom_size == 0 {
                return None;
            }
            let bloom = self.gnu.add(4).cast::<u64>();
            let word = *bloom.add((hash / 64 % bloom_size) as usize);
            let mask = 1u64 << (hash % 64) | 1u64 << ((hash >> (shift % 32)) % 64);
            if word & mask != mask {
                return None;
            }
            let bucket = bloom.add(bloom_size as usize).cast::<u32>();
            let chain = bucket.add(buckets as usize);
            let mut at = *bucket.add((hash % buckets) as usize);
            if at < first {
                return None;
            }
            loop {
                let entry = *chain.add((at - first) as usize);
                if entry | 1 == hash | 1
                    && let Some(address) = self.defined(at as usize, wanted)
                {
                    return Some(address);
                }
                if entry & 1 != 0 {
                    return None;
                }
                at += 1;
            }
        }
    }

    /// # Safety
    /// As [`Object::find`].
    unsafe fn find_sysv(&self, wanted: &Wanted<'_>) -> Option<usize> {
        if self.sysv.is_null() {
            return None;
        }
        let mut hash = 0u32;
        for byte in wanted.name {
            hash = (hash << 4).wrapping_add(*byte as u32);
            let high = hash & 0xf000_0000;
            hash = (hash ^ high >> 24) & !high;
        }
        // SAFETY: the layout of DT_HASH.
        unsafe {
            let buckets = *self.sysv;
            if buckets == 0 {
                return None;
            }
            let mut at = *self.sysv.add(2 + (hash % buckets) as usize);
            while at != 0 {
                if let Some(address) = self.defined(at as usize, wanted) {
                    return Some(address);
                }
                at = *self.sysv.add(2 + buckets as usize + at as usize);
            }
            None
        }
    }

    /// # Safety
    /// `at` is an index into the symbol table.
    unsafe fn defined(&self, at: usize, wanted: &Wanted<'_>) -> Option<usize> {
        // SAFETY: as for us.
        unsafe {
            let symbol = &*self.symbols.add(at);
            if symbol.section == 0 || symbol.value == 0 {
                return None;
            }
            let text = self.strings.add(symbol.name as usize);
            let name = wanted.name;
            let same = name.iter().enumerate().all(|(i, c)| *text.add(i) == *c)
                && *text.add(name.len()) == 0;
            // The high bit marks a version that is not the default.
            let is_hidden = !self.versions.is_null() && *self.versions.add(at) & 0x8000 != 0;
            if !same || is_hidden && !wanted.hidden {
                return None;
            }
            let address = self.base.wrapping_add(symbol.value as usize);
            if symbol.info & 15 == 10 {
                // STT_GNU_IFUNC: the symbol is the chooser.
                let choose: unsafe extern "C" fn() -> usize = core::mem::transmute(address);
                return Some(choose());
            }
            Some(address)
        }
    }
}

/// The descriptor of a stream, -1 if it has none. errno is kept.
pub fn fileno(stream: u64) -> i32 {
    descriptor(&HELPERS.fileno, stream)
}

/// Has a stream of a libc other than glibc something to write?
pub fn has_pending(stream: u64) -> bool {
    let function = HELPERS.pending.load(Ordering::Acquire);
    if function == 0 {
        return true;
    }
    // SAFETY: `size_t __fpending(FILE *)`, on what the program gave to a call that
    // takes one; it looks at two pointers.
    unsafe {
        let function: unsafe extern "C" fn(u64) -> usize = core::mem::transmute(function);
        function(stream) != 0
    }
}

/// The descriptor of a directory stream, -1 if it has none. errno is kept.
pub fn dirfd(stream: u64) -> i32 {
    descriptor(&HELPERS.dirfd, stream)
}

fn descriptor(helper: &AtomicUsize, stream: u64) -> i32 {
    let function = helper.load(Ordering::Acquire);
    if function == 0 || stream == 0 {
        return -1;
    }
    // SAFETY: `int fileno(FILE *)`, `int dirfd(DIR *)`, on what the program gave
    // to a call that takes one.
    unsafe {
        let kept = errno();
        let function: unsafe extern "C" fn(u64) -> c_int = core::mem::transmute(function);
        let fd = function(stream);
        if let Some(errno) = kept {
            *errno.0 = errno.1;
        }
        fd
    }
}

/// Sets the program's errno.
pub fn set_errno(value: c_int) {
    if let Some(Errno(at, _)) = errno() {
        // SAFETY: the thread's errno.
        unsafe { *at = value };
    }
}

struct Errno(*mut c_int, c_int);

fn errno() -> Option<Errno> {
    let location = HELPERS.errno.load(Ordering::Acquire);
    if location == 0 {
        return None;
    }
    // SAFETY: `int *__errno_location(void)`.
    unsafe {
        let location: unsafe extern "C" fn() -> *mut c_int = core::mem::transmute(location);
        let at = location();
        Some(Errno(at, *at))
    }
}

/// A pointer variable of libc (`stdout`, `environ`, ...), 0 if there is none.
pub fn variable(helper: &AtomicUsize) -> u64 {
    let at = helper.load(Ordering::Acquire) as *const AtomicPtr<u8>;
    if at.is_null() {
        return 0;
    }
    // SAFETY: the address of a pointer variable.
    unsafe { (*at).load(Ordering::Relaxed) as u64 }
}

/// `getauxval`, if libc has it.
pub fn auxiliary(kind: u64) -> Option<u64> {
    let function = HELPERS.getauxval.load(Ordering::Acquire);
    if function == 0 {
        return None;
    }
    // SAFETY: `unsigned long getauxval(unsigned long)`.
    unsafe {
        let function: unsafe extern "C" fn(u64) -> u64 = core::mem::transmute(function);
        Some(function(kind))
    }
}
