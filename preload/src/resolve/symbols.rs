//! The objects that the loader has loaded, and the symbols that they define.
//!
//! `dlsym` would pin a symbol version (GLIBC_2.34) and may allocate. What
//! RTLD_NEXT means is simple enough: the objects after our own, in load order,
//! each by its hash table, default versions only. Works the same under musl.

use core::ffi::{c_char, c_int, c_void};
use linux_raw_sys::elf::{
    DT_GNU_HASH, DT_HASH, DT_NULL, DT_STRTAB, DT_SYMTAB, DT_VERSYM, ELF_ST_TYPE, Elf_Dyn, Elf_Ehdr,
    Elf_Phdr, Elf_Sym, PT_DYNAMIC, PT_LOAD, SHN_UNDEF,
};

/// GNU's extension of the symbol types.
const STT_GNU_IFUNC: u8 = 10;
/// In the version table: a version that is not the default of its name.
const VERSYM_HIDDEN: u16 = 0x8000;

/// `struct dl_phdr_info`, as far as it is read here.
#[repr(C)]
struct PhdrInfo {
    base: usize,
    _name: *const c_char,
    headers: *const Elf_Phdr,
    count: u16,
}

unsafe extern "C" {
    fn dl_iterate_phdr(
        callback: unsafe extern "C" fn(*const PhdrInfo, usize, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
}

/// One loaded object's symbol tables.
pub struct Object {
    base: usize,
    headers: *const Elf_Phdr,
    count: u16,
    symbols: *const Elf_Sym,
    strings: *const u8,
    gnu: *const u32,
    sysv: *const u32,
    versions: *const u16,
}

/// In which objects a symbol is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those after our own: what RTLD_NEXT means.
    Next,
    /// Those before our own, should libc be among them: a program that has it loaded first, or
    /// has loaded this library late.
    Before,
    /// All: of a variable the program's own copy (a copy relocation) comes first.
    All,
}

/// Shows the objects of a scope, in load order, as long as `wants_more` says so. Nothing is
/// kept of them: there may be any number.
pub fn each(scope: Scope, mut wants_more: impl FnMut(&Object) -> bool) {
    let mut walk = Walk { scope, past_us: false, wants_more: &mut wants_more };
    // SAFETY: `visit` has the callback's type and takes its data for a `Walk`, which this one
    // is; it is borrowed for the call's whole time, and no copy of the reference is kept.
    unsafe { dl_iterate_phdr(visit, (&raw mut walk).cast()) };
}

struct Walk<'a> {
    scope: Scope,
    past_us: bool,
    wants_more: &'a mut dyn FnMut(&Object) -> bool,
}

/// A function of the vDSO, the object that the kernel maps at `image`; the loader does not
/// list it. Looked up by its name and the name's [`gnu_hash`].
///
/// # Safety
/// `image` is what AT_SYSINFO_EHDR says.
pub unsafe fn in_vdso(image: usize, name: &str, hash: u32) -> Option<usize> {
    // SAFETY: a whole ELF image lies there, as long as the process lives: its header says where
    // its program headers are, and PT_DYNAMIC of these where its dynamic section is.
    unsafe {
        let header = &*(image as *const Elf_Ehdr);
        let first = (image + header.e_phoff) as *const Elf_Phdr;
        let headers = core::slice::from_raw_parts(first, header.e_phnum as usize);
        let load = headers.iter().find(|header| header.p_type == PT_LOAD)?;
        let dynamic = headers.iter().find(|header| header.p_type == PT_DYNAMIC)?;
        let base = image.wrapping_add(load.p_offset).wrapping_sub(load.p_vaddr);
        let dynamic = base.wrapping_add(dynamic.p_vaddr) as *const Elf_Dyn;
        Object::read(base, headers, dynamic)?.find(name, hash, Versions::Any)
    }
}

/// The hash of DT_GNU_HASH, of a part of a text.
pub const fn gnu_hash(text: &[u8], start: usize, len: usize) -> u32 {
    let mut hash = 5381u32;
    let mut at = start;
    while at < start + len {
        hash = hash.wrapping_mul(33).wrapping_add(text[at] as u32);
        at += 1;
    }
    hash
}

unsafe extern "C" fn visit(info: *const PhdrInfo, _size: usize, data: *mut c_void) -> c_int {
    const GO_ON: c_int = 0;
    const STOP: c_int = 1;
    // SAFETY: the loader passes an entry that is valid for the time of this call, and the
    // data of `each`, which holds the only reference to it.
    let (info, walk) = unsafe { (&*info, &mut *data.cast::<Walk<'_>>()) };
    // SAFETY: an object's program headers lie in its image, `count` of them.
    let headers = unsafe { core::slice::from_raw_parts(info.headers, info.count as usize) };
    let us = visit as *const () as usize;
    let mut dynamic = None;
    for header in headers {
        let start = info.base.wrapping_add(header.p_vaddr);
        match header.p_type {
            PT_LOAD if is_in(info.base, header, us) => {
                walk.past_us = true;
                match walk.scope {
                    Scope::Next => return GO_ON,
                    Scope::Before => return STOP,
                    Scope::All => {}
                }
            }
            PT_DYNAMIC => dynamic = Some(start as *const Elf_Dyn),
            _ => {}
        }
    }
    if walk.scope == Scope::Next && !walk.past_us {
        return GO_ON;
    }
    // SAFETY: PT_DYNAMIC says where the dynamic section of this object lies.
    let object = dynamic.and_then(|dynamic| unsafe { Object::read(info.base, headers, dynamic) });
    match object {
        Some(object) if !(walk.wants_more)(&object) => STOP,
        _ => GO_ON,
    }
}

fn is_in(base: usize, header: &Elf_Phdr, address: usize) -> bool {
    let start = base.wrapping_add(header.p_vaddr);
    (start..start + header.p_memsz).contains(&address)
}

/// Which versions of a symbol will do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// The default one of its name.
    Default,
    /// Any. A libc that keeps a call for old programs only has it under a version that is no
    /// longer the default: those programs call it, and find our export.
    Any,
}

/// A name, its GNU hash, and which versions will do.
struct Wanted<'a> {
    name: &'a [u8],
    hash: u32,
    versions: Versions,
}

impl Object {
    /// # Safety
    /// `headers` and `dynamic` are those of an object that is loaded at `base`.
    pub(super) unsafe fn read(
        base: usize,
        headers: &[Elf_Phdr],
        mut dynamic: *const Elf_Dyn,
    ) -> Option<Object> {
        let mut object = Object {
            base,
            headers: headers.as_ptr(),
            count: headers.len() as u16,
            symbols: core::ptr::null(),
            strings: core::ptr::null(),
            gnu: core::ptr::null(),
            sysv: core::ptr::null(),
            versions: core::ptr::null(),
        };
        // SAFETY: the entries of a dynamic section follow each other up to one whose tag is
        // DT_NULL, and the loop reads none after it. Each value is a plain word.
        unsafe {
            while (*dynamic).d_tag != DT_NULL {
                // glibc has relocated these addresses in place, musl and the
                // vDSO have not.
                let value = (*dynamic).d_un.d_ptr;
                let at = if value < base { base + value } else { value };
                match (*dynamic).d_tag {
                    DT_HASH => object.sysv = at as *const u32,
                    DT_STRTAB => object.strings = at as *const u8,
                    DT_SYMTAB => object.symbols = at as *const Elf_Sym,
                    DT_GNU_HASH => object.gnu = at as *const u32,
                    DT_VERSYM => object.versions = at as *const u16,
                    _ => {}
                }
                dynamic = dynamic.add(1);
            }
        }
        (!object.symbols.is_null() && !object.strings.is_null()).then_some(object)
    }

    /// Does this address lie in it?
    pub fn contains(&self, address: usize) -> bool {
        // SAFETY: as for `find`: its program headers lie in its image.
        let headers = unsafe { core::slice::from_raw_parts(self.headers, self.count as usize) };
        headers.iter().any(|header| header.p_type == PT_LOAD && is_in(self.base, header, address))
    }

    /// Has it a function of this name?
    pub fn defines(&self, name: &str, hash: u32) -> bool {
        self.find(name, hash, Versions::Any).is_some()
    }

    /// The address that the object defines this name to be.
    pub fn find(&self, name: &str, hash: u32, versions: Versions) -> Option<usize> {
        let wanted = Wanted { name: name.as_bytes(), hash, versions };
        // SAFETY: an `Object` is only known while it is shown: by the loader, which unloads none
        // meanwhile, or of the vDSO, which stays.
        unsafe {
            if !self.gnu.is_null() { self.find_gnu(&wanted) } else { self.find_sysv(&wanted) }
        }
    }

    /// # Safety
    /// The object is loaded still, so that its tables can be read.
    unsafe fn find_gnu(&self, wanted: &Wanted<'_>) -> Option<usize> {
        let hash = wanted.hash;
        // SAFETY: reads what the layout of DT_GNU_HASH says is there: four words, the bloom
        // filter, a word a bucket, and a chain that ends with an entry whose lowest bit is set.
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
    /// The object is loaded still, so that its tables can be read.
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
        // SAFETY: reads what the layout of DT_HASH says is there: two words, a word a bucket,
        // and chains of symbol indices that end with 0.
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
    /// The object is loaded still, and `at` is an index into its symbol table.
    unsafe fn defined(&self, at: usize, wanted: &Wanted<'_>) -> Option<usize> {
        // SAFETY: the symbol and version tables have an entry `at`; the symbol's name is a C
        // string in the string table, and the comparison ends at its first difference, its
        // NUL at the latest. A symbol of type STT_GNU_IFUNC is a function without arguments
        // that returns an address.
        unsafe {
            let symbol = &*self.symbols.add(at);
            if symbol.st_shndx == SHN_UNDEF || symbol.st_value == 0 {
                return None;
            }
            let text = self.strings.add(symbol.st_name as usize);
            let name = wanted.name;
            let same = name.iter().enumerate().all(|(i, c)| *text.add(i) == *c)
                && *text.add(name.len()) == 0;
            let is_hidden = !self.versions.is_null() && *self.versions.add(at) & VERSYM_HIDDEN != 0;
            if !same || is_hidden && wanted.versions == Versions::Default {
                return None;
            }
            let address = self.base.wrapping_add(symbol.st_value);
            if ELF_ST_TYPE(symbol.st_info) == STT_GNU_IFUNC {
                // The symbol is a function that chooses the function.
                let choose: unsafe extern "C" fn() -> usize = core::mem::transmute(address);
                return Some(choose());
            }
            Some(address)
        }
    }
}
