//! The constructor: environment, control page, region, locks that came over exec.
//!
//! Runs once, at load time or at the first hooked call, whichever comes first
//! (other libraries' constructors may come before ours). Only raw system calls,
//! and of those only what a strict service filter (`@system-service`) allows.

use crate::resolve::{self, HELPERS, auxiliary};
use crate::state::{
    BARRIER, BORN_UNDER, CONTROL, FAMILY, FIRST, GATED, HABITS, HANDS_OVER, LOCKS_SEEN, MODE,
    NEW_FILES, ORDINARY, PARKABLE, RECORD, SETTLED, STARTING, STRONG, Settings, UNGATED, UNREADY,
    UNTIL_EXIT, UNTIL_WAIT, WIPED, settings_mut,
};
use crate::sys::{self, AT_FDCWD};
use crate::text::{self, Path, c_string};
use crate::{own, place};
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use gate::control::{ControlPage, MAGIC, PROFILE_MAX, PROFILE_REFUSED, Rank, SIZE};
use gate::layout::LAYOUT;
use gate::locks::{Lock, LockKind, Table};
use gate::profile::{self, Index, Key};
use gate::region::FLAG_CALLS_MISSING;

extern "C" fn constructor() {
    start();
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

/// Starts the library if nobody has, from a hook that was called before the
/// constructor. Before libc itself has begun (`.preinit_array`) there is no
/// environment to believe: the call goes past, and the constructor starts.
#[cold]
pub fn begin() {
    if MODE.load(Acquire) != UNREADY {
        return;
    }
    resolve::all();
    if resolve::variable(&HELPERS.environ) != 0 {
        start();
    }
}

/// Starts the library; returns at once if somebody is at it.
fn start() {
    if MODE.compare_exchange(UNREADY, STARTING, AcqRel, Relaxed).is_err() {
        return;
    }
    resolve::all();
    // SAFETY: this thread holds MODE at STARTING.
    let gated = unsafe { join() };
    MODE.store(if gated { GATED } else { UNGATED }, Release);
}

/// What the environment says, as far as it may be believed.
struct Environment {
    gate: &'static [u8],
    dir: &'static [u8],
    paths: &'static [u8],
    exclude: &'static [u8],
    config: &'static [u8],
    token: &'static [u8],
    /// The gate was asked for by name, or the library by LD_PRELOAD: it may make
    /// the control page. One that /etc/ld.so.preload has put into every process
    /// may not.
    asked_for: bool,
}

fn environment() -> Environment {
    let mut env = Environment {
        gate: b"default",
        dir: b"/run/writegate",
        paths: b"",
        exclude: b"",
        config: b"",
        token: b"",
        asked_for: false,
    };
    // AT_SECURE: set-id programs believe no variable.
    if auxiliary(23) != Some(0) {
        return env;
    }
    let mut at = resolve::variable(&HELPERS.environ) as *const *const u8;
    if at.is_null() {
        return env;
    }
    // SAFETY: `environ` is a null-terminated array of C strings.
    unsafe {
        while !(*at).is_null() {
            let entry = c_string(*at);
            at = at.add(1);
            let set = |name: &[u8]| entry.strip_prefix(name).filter(|value| !value.is_empty());
            if let Some(value) = set(b"WRITEGATE_GATE=") {
                env.gate = value;
                env.asked_for = true;
            } else if let Some(value) = set(b"WRITEGATE_DIR=") {
                env.dir = value;
            } else if let Some(value) = set(b"WRITEGATE_PATHS=") {
                env.paths = value;
            } else if let Some(value) = set(b"WRITEGATE_EXCLUDE=") {
                env.exclude = value;
            } else if let Some(value) = set(b"WRITEGATE_CONF=") {
                env.config = value;
            } else if let Some(value) = set(b"WRITEGATE_TOKEN=") {
                env.token = value;
            } else if let Some(value) = set(b"LD_PRELOAD=") {
                env.asked_for |= value.windows(13).any(|part| part == b"libwritegate.");
            }
        }
    }
    env
}

/// Everything up to the region; false: runs on ungated.
///
/// # Safety
/// The caller holds MODE at STARTING.
unsafe fn join() -> bool {
    let env = environment();
    if env.gate.contains(&b'/') || env.gate.starts_with(b".") {
        return false;
    }
    let page = match open_page(&env) {
        Some(page) => page,
        None => return false,
    };
    // SAFETY: a mapping of SIZE bytes, made just now and kept for life.
    let control = unsafe { &*page };
    // SAFETY: the caller is the only one.
    let settings = unsafe { settings_mut() };
    // The boot was looked at where there was doubt; see `open_page`.
    if control.check(&control.boot_id).is_err()
        || is_freezers_child(&env, control)
        || !take_profile(settings, control)
        || !program_is_gated(settings.profile.str())
        || is_the_command()
        || !configure(settings, &env)
    {
        sys::unmap(page.cast_mut().cast(), SIZE);
        return false;
    }
    HABITS.store(habits(settings.profile.str()), Relaxed);
    STRONG.store(!sys::register_membarrier(), Relaxed);
    // Where the kernel cannot (before 4.14), the hook of fork sees to it; only a
    // raw clone is missed then.
    sys::wipe_on_fork((&raw const WIPED).cast(), core::mem::size_of_val(&WIPED));
    let habits = HABITS.load(Relaxed);
    let barrier = control.word(match (habits & FIRST != 0, habits & HANDS_OVER != 0) {
        (true, true) => Rank::Sender,
        (true, false) => Rank::First,
        (false, _) => Rank::Last,
    });
    BARRIER.store((&raw const *barrier).cast_mut(), Release);
    // The habit is in the pointer now: it costs nothing at each call.
    HABITS.fetch_and(!FIRST, Relaxed);
    CONTROL.store(page.cast_mut(), Release);
    if !own::make() {
        return false;
    }
    if let Some(region) = crate::state::region() {
        FAMILY.store((&raw const region.header.family).cast_mut(), Release);
    }
    note_missing_calls();
    locks_after_exec();
    // Not before: a process that loses its processor in between would look like one that
    // holds no lock, and its set, begun before the exec, like none.
    if let Some(region) = crate::state::region() {
        own::show(region);
    }
    // Habits that matter only where a change begins a section, to which that way is no way.
    let elsewhere = PARKABLE | NEW_FILES | HANDS_OVER;
    if HABITS.load(Relaxed) & !elsewhere == 0 && !STRONG.load(Relaxed) {
        ORDINARY.store((&raw const *barrier).cast_mut(), Release);
    }
    true
}

fn boot_id() -> [u8; 16] {
    let mut text = [0u8; 40];
    let mut id = [0u8; 16];
    read_file(c"/proc/sys/kernel/random/boot_id".as_ptr().cast(), &mut text);
    let digits = text.iter().filter_map(|c| (*c as char).to_digit(16));
    for (at, digit) in digits.enumerate().take(32) {
        if let Some(byte) = id.get_mut(at / 2) {
            *byte = *byte << 4 | digit as u8;
        }
    }
    id
}

/// The beginning of a small file; its length, 0 if it cannot be read.
fn read_file(path: *const u8, into: &mut [u8]) -> usize {
    // SAFETY: callers pass C strings.
    let fd = unsafe { sys::open(AT_FDCWD, path, 0) };
    if fd < 0 {
        return 0;
    }
    let mut len = 0;
    while let Some(room) = into.get_mut(len..).filter(|room| !room.is_empty()) {
        let size = room.len();
        let got = sys::read(fd as i32, room);
        len += got.max(0) as usize;
        // Less than was asked for is the end, of files as small as these.
        if got < size as isize {
            break;
        }
    }
    sys::close(fd as i32);
    len
}

/// Opens and maps the control page; makes it where there is none and it may.
fn open_page(env: &Environment) -> Option<*const ControlPage> {
    let mut path = Path::new();
    for part in [env.dir, b"/", env.gate, b"/control"] {
        path.push(part);
    }
    if path.too_long {
        return None;
    }
    // SAFETY: `path` is NUL-terminated.
    let mut fd = unsafe { sys::open(AT_FDCWD, path.c(), sys::O_NOFOLLOW) };
    if fd == sys::ENOENT && env.asked_for {
        make_page(env, &boot_id(), &path);
        // SAFETY: as above.
        fd = unsafe { sys::open(AT_FDCWD, path.c(), sys::O_NOFOLLOW) };
    }
    if fd < 0 {
        return None;
    }
    let fd = fd as i32;
    let stat = sys::fstat(fd)?;
    // Written by others, truncated, not a file: foreign. Nothing is believed.
    let sound = stat.is_file()
        && stat.size == SIZE as i64
        && stat.mode & 0o022 == 0
        && (stat.uid == 0 || stat.uid == sys::euid());
    let page = if sound { sys::map(SIZE, false, fd) } else { core::ptr::null_mut() };
    sys::close(fd);
    if page.is_null() {
        return None;
    }
    // Reading the boot id costs as much as all the rest. A page that was clearly
    // made after this boot needs no look; should the clock have been stepped, the
    // first closed barrier looks (`clock_is_foreign`).
    let page = page as *const ControlPage;
    // SAFETY: mapped just now.
    if stat.changed < sys::boot_time() + 120 && unsafe { (*page).boot_id } != boot_id() {
        sys::unmap(page.cast_mut().cast(), SIZE);
        return None;
    }
    Some(page)
}

/// Does a deadline on this page mean nothing here? Asked once, at the first closed
/// barrier: the answer costs two looks into /proc, and most processes never meet one.
#[cold]
pub fn clock_is_foreign(control: &ControlPage) -> bool {
    let id = boot_id();
    // In a chroot without /proc there is no answer, and no namespace was entered.
    id != [0; 16] && id != control.boot_id || time_namespace_has_offset()
}

/// Makes the gate's directory and page: so that one line in the unit is enough.
fn make_page(env: &Environment, boot: &[u8; 16], path: &Path) {
    let mut part = Path::new();
    part.push(env.dir);
    // SAFETY: NUL-terminated paths throughout.
    unsafe {
        sys::mkdir(part.c());
        part.push(b"/");
        part.push(env.gate);
        sys::mkdir(part.c());
        part.push(b"/.control.");
        part.push_number(sys::pid() as u64);
        part.push(b".");
        part.push_number(sys::random());
        let fd = sys::create(part.c(), 0o644);
        if fd < 0 {
            return;
        }
        let fd = fd as i32;
        if sys::truncate(fd, SIZE) == 0 {
            let at = sys::map(SIZE, true, fd);
            if let Some(page) = at.cast::<ControlPage>().as_mut() {
                fill_page(page, env, boot);
                sys::unmap(at, SIZE);
                // link, not rename: the first one stands.
                sys::link(part.c(), path.c());
            }
        }
        sys::close(fd);
        sys::unlink(part.c());
    }
}

fn fill_page(page: &mut ControlPage, env: &Environment, boot: &[u8; 16]) {
    page.layout.store(LAYOUT, Relaxed);
    page.size.store(SIZE as u32, Relaxed);
    page.boot_id = *boot;
    let mut path = Path::new();
    if env.config.is_empty() {
        for part in [b"/etc/writegate/" as &[u8], env.gate, b".conf"] {
            path.push(part);
        }
    } else {
        path.push(env.config);
    }
    let len = read_file(path.c(), &mut page.profile);
    let sound = len < PROFILE_MAX
        && page
            .profile
            .get(..len)
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .is_some_and(|text| profile::check(text).is_ok());
    // A profile with a fault is not half believed; the command refuses to freeze and says
    // what is wrong.
    page.profile_len.store(if sound { len as u32 } else { PROFILE_REFUSED }, Relaxed);
    page.magic.store(MAGIC, Release);
}

/// Deadlines are absolute: under another clock they mean nothing.
fn time_namespace_has_offset() -> bool {
    let mut text = [0u8; 128];
    let len = read_file(c"/proc/self/timens_offsets".as_ptr().cast(), &mut text);
    let text = text.get(..len).unwrap_or(&[]);
    text::line(text, b"monotonic")
        .is_some_and(|rest| rest.iter().any(|c| (b'1'..=b'9').contains(c)))
}

/// The freezer's own command must not wait for the freezer. Believed only while
/// the marker names the present generation.
fn is_freezers_child(env: &Environment, control: &ControlPage) -> bool {
    let mut parts = env.token.split(|c| *c == b':');
    let (Some(gate), Some(generation)) = (parts.next(), parts.next()) else { return false };
    let barrier = control.barrier.load(Acquire);
    gate == env.gate
        && barrier != 0
        && text::number(generation).is_some_and(|(value, _)| value == barrier)
}

/// This program's path.
fn program() -> Path {
    let mut exe = Path::new();
    // SAFETY: a C string.
    exe.fill(|buffer| unsafe { sys::readlink(c"/proc/self/exe".as_ptr().cast(), buffer) });
    exe
}

fn names(text: &str, key: Key, program: &[u8]) -> bool {
    profile::values(text, key).any(|pattern| profile::glob(pattern.as_bytes(), program))
}

/// With /etc/ld.so.preload every program comes here; a profile may name those
/// that are meant.
fn program_is_gated(text: &str) -> bool {
    profile::values(text, Key::Program).next().is_none()
        || names(text, Key::Program, program().bytes())
}

/// With /etc/ld.so.preload the freezer comes here too: gated, it would be one of those
/// that it waits for.
fn is_the_command() -> bool {
    const AT_EXECFN: u64 = 31;
    let name = resolve::auxiliary(AT_EXECFN).unwrap_or(0) as *const u8;
    // SAFETY: the name that the program was executed by, a C string for life, or null.
    let name = unsafe { c_string(name) };
    name.rsplit(|c| *c == b'/').next() == Some(b"writegate")
}

/// Keys that name programs, and what they mean.
const HABIT_KEYS: [(Key, u32); 7] = [
    (Key::First, FIRST),
    (Key::UntilWait, UNTIL_WAIT),
    (Key::UntilExit, UNTIL_EXIT),
    (Key::NewFiles, NEW_FILES),
    (Key::Settled, SETTLED),
    (Key::Record, RECORD),
    (Key::HandOver, HANDS_OVER),
];

/// What the profile says of this program.
fn habits(text: &str) -> u32 {
    let mut habits = 0;
    if profile::values(text, Key::Parkable).next().is_some() {
        habits |= PARKABLE;
    }
    let given = |key: &Key| profile::values(text, *key).next().is_some();
    if !HABIT_KEYS.iter().any(|(key, _)| given(key)) {
        return habits;
    }
    let program = program();
    for (key, habit) in HABIT_KEYS {
        if names(text, key, program.bytes()) {
            habits |= habit;
        }
    }
    habits
}

fn take_profile(settings: &mut Settings, control: &ControlPage) -> bool {
    if !settings.profile.set(control.profile_text().as_bytes()) {
        return false;
    }
    let index = Index::of(settings.profile.str());
    settings.index = index.unwrap_or(Index::EMPTY);
    index.is_some()
}

fn configure(settings: &mut Settings, env: &Environment) -> bool {
    // What does not fit is refused whole: half a list would protect half.
    if !settings.paths.set(env.paths) || !settings.exclude.set(env.exclude) {
        return false;
    }
    if env.paths.is_empty() {
        let mut joined = Path::new();
        for path in profile::values(settings.profile.str(), Key::Path) {
            joined.push(path.as_bytes());
            joined.push(b":");
        }
        if joined.too_long || !settings.paths.set(joined.bytes()) {
            return false;
        }
    }
    for directory in settings.paths.bytes().split(|c| *c == b':').filter(|p| !p.is_empty()) {
        let mut path = Path::new();
        path.push(directory);
        // SAFETY: NUL-terminated.
        if let Some(stat) = unsafe { sys::stat_at(AT_FDCWD, path.c()) }
            && let Some(place) = settings.devices.get_mut(settings.device_count)
        {
            *place = stat.dev;
            settings.device_count += 1;
        }
    }
    true
}

fn note_missing_calls() {
    let Some(region) = crate::state::region() else { return };
    let mut places = region.header.missing.iter();
    for call in 1..gate::calls::COUNT {
        if resolve::is_missing(call)
            && let Some(place) = places.next()
        {
            place.store(call as u32, Relaxed);
            region.header.flags.fetch_or(FLAG_CALLS_MISSING, Relaxed);
        }
    }
}

/// Locks that were held before the exec are held still (but for those on
/// close-on-exec descriptors). What was done under them is not known, so with
/// such a lock the section counts as open.
fn locks_after_exec() {
    locks_of_all(Came::OverExec);
    if let Some(region) = crate::state::region()
        && LOCKS_SEEN.load(Relaxed)
    {
        let table = Table(&region.header.locks);
        table.judge(place::lock_for_life);
        table.exclude(place::is_pid_file);
        own::recount(region);
        if let Some(barrier) = crate::state::barrier() {
            BORN_UNDER.store(barrier.load(Acquire), Relaxed);
        }
        region.header.section_since.store(sys::now(), Relaxed);
        own::step(region, |word| if word.locks() > 0 { word.section_begun() } else { word });
    }
}

/// How a lock on a descriptor came to this process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// With the program: what another process took is that one's.
    OverExec,
    /// A child took it on a descriptor of ours, for us.
    Here,
}

/// Enters the kernel's locks on all descriptors into the table.
pub fn locks_of_all(came: Came) {
    // SAFETY: a C string.
    let dir =
        unsafe { sys::open(AT_FDCWD, c"/proc/self/fdinfo".as_ptr().cast(), sys::O_DIRECTORY) };
    if dir < 0 {
        return;
    }
    let dir = dir as i32;
    let mut entries = [0u8; 1024];
    loop {
        let len = sys::list(dir, &mut entries);
        if len <= 0 {
            break;
        }
        let mut rest = entries.get(..len as usize).unwrap_or(&[]);
        // struct linux_dirent64: inode, offset, length (u16), type, name.
        while let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, low, high, _, name @ ..] = rest {
            let size = u16::from_le_bytes([*low, *high]) as usize;
            if let Some((fd, _)) = text::number(name)
                && fd as i32 != dir
            {
                locks_of(fd as i32, came);
            }
            rest = rest.get(size.max(1)..).unwrap_or(&[]);
        }
    }
    sys::close(dir);
}

/// `lock:  1: FLOCK  ADVISORY  WRITE 1234 fd:01:99 0 EOF`, in fdinfo.
fn locks_of(fd: i32, came: Came) {
    if !sys::fstat(fd).is_some_and(|stat| stat.is_file_or_directory()) {
        return;
    }
    let mut path = Path::new();
    path.push(b"/proc/self/fdinfo/");
    path.push_number(fd as u64);
    let mut content = [0u8; 1024];
    let len = read_file(path.c(), &mut content);
    let content = content.get(..len).unwrap_or(&[]);
    for line in content.split(|c| *c == b'\n') {
        let Some(line) = line.strip_prefix(b"lock:") else { continue };
        let words = line.split(|c| matches!(c, b' ' | b'\t')).filter(|word| !word.is_empty());
        let mut words = words.skip(1);
        let (Some(kind), Some(_), Some(mode), Some(pid)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let (Some(start), Some(end)) = (words.nth(1), words.next()) else { continue };
        let (Some(stat), Some(region)) = (sys::fstat(fd), crate::state::region()) else { return };
        let number = |word: &[u8]| text::number(word).map_or(u64::MAX, |(value, _)| value);
        let lock = Lock {
            kind: match kind {
                b"POSIX" if came == Came::OverExec => LockKind::Posix,
                b"FLOCK" => LockKind::Flock,
                b"OFDLCK" => LockKind::Ofd,
                _ => continue,
            },
            flags: 0,
            fd,
            group: 0,
            dev: stat.dev,
            ino: stat.ino,
            start: number(start),
            end: number(end),
            since: sys::now(),
        };
        LOCKS_SEEN.store(true, Relaxed);
        let writes =
            mode == b"WRITE" || lock.kind == LockKind::Flock && sys::file_flags(fd) & 3 > 0;
        let table = Table(&region.header.locks);
        let gate::locks::TableFull(lost) = match lock.kind {
            LockKind::Posix => table.posix_lock(Some(writes), lock),
            _ => {
                // Taken by another process: it came with the descriptor, and its
                // owner is the one who took it, if that lives.
                let lost = table.description_lock(Some(writes), lock);
                let owner = number(pid);
                let others = owner != sys::pid() as u64 && owner != u64::MAX;
                if others && came == Came::OverExec {
                    table.inherited(fd);
                }
                lost
            }
        };
        if lost {
            crate::rules::descriptors::lost(region);
        }
    }
}
