//! What was configured, copied once: programs scribble over their environment.

use core::cell::UnsafeCell;
use gate::places::Named;
use gate::profile::{Index, Key};

/// What was configured.
pub struct Settings {
    /// See [`Settings::paths`].
    paths: &'static [u8],
    /// See [`Settings::exclude`].
    exclude: &'static [u8],
    /// See [`Settings::devices`].
    devices: &'static [u64],
    /// See [`Settings::named`].
    named: &'static [u8],
    /// The profile's text.
    pub profile: Text<{ gate::control::PROFILE_MAX }>,
    /// Where its values lie.
    pub index: Index,
}

impl Settings {
    /// Protected directories, colon-separated; empty: whatever lies on storage.
    pub fn paths(&self) -> &'static [u8] {
        self.paths
    }

    /// Patterns of files that are not judged, colon-separated.
    pub fn exclude(&self) -> &'static [u8] {
        self.exclude
    }

    /// Devices of the protected directories, as they were at the start.
    pub fn devices(&self) -> &'static [u64] {
        self.devices
    }

    /// Both lists as one text, for the freezer: as `gate::places::Named` is read.
    pub fn named(&self) -> &'static [u8] {
        self.named
    }

    /// Sets these.
    pub fn set_places(&mut self, named: &'static [u8], devices: &'static [u64]) {
        let lists = Named::of(named);
        self.paths = lists.map_or(&[], |lists| lists.directories);
        self.exclude = lists.map_or(&[], |lists| lists.exclude);
        (self.named, self.devices) = (named, devices);
    }

    /// Does some pattern of `key`, given or built in, match?
    pub fn matches(&self, key: Key, path: &[u8]) -> bool {
        self.index.matches(self.profile.str(), key, path)
    }

    /// Is some value of `key` given?
    pub fn has(&self, key: Key) -> bool {
        self.index.has(key)
    }

    /// Does some given pattern of `key` match?
    pub fn given(&self, key: Key, path: &[u8]) -> bool {
        self.index.given(self.profile.str(), key, path)
    }
}

/// A text of bounded length.
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub const fn new() -> Self {
        Text { bytes: [0; N], len: 0 }
    }

    /// Lets `read` fill it with `len` bytes; false: they do not fit, or cannot be read.
    pub fn fill(&mut self, len: usize, read: impl FnOnce(&mut [u8]) -> bool) -> bool {
        let filled = self.bytes.get_mut(..len).is_some_and(read);
        self.len = if filled { len } else { 0 };
        filled
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// The text; empty if it is not UTF-8.
    pub fn str(&self) -> &str {
        core::str::from_utf8(self.bytes()).unwrap_or("")
    }
}

struct Once(UnsafeCell<Settings>);

// SAFETY: written only by the one thread that has moved MODE from UNREADY to STARTING, and read
// only after that thread has published the region with release.
unsafe impl Sync for Once {}

static SETTINGS: Once = Once(UnsafeCell::new(Settings {
    paths: &[],
    exclude: &[],
    devices: &[],
    named: &[],
    profile: Text::new(),
    index: Index::EMPTY,
}));

/// What was configured. Only for a gated process.
pub fn settings() -> &'static Settings {
    // SAFETY: the only exclusive reference is the start's (`settings_mut`). The start has used
    // it for the last time before it publishes the region, and nothing asks for settings in a
    // process without one.
    unsafe { &*SETTINGS.0.get() }
}

/// For the start alone.
///
/// # Safety
/// The caller holds MODE at STARTING.
pub unsafe fn settings_mut() -> &'static mut Settings {
    // SAFETY: the caller holds MODE at STARTING, so it is the one thread that has a reference.
    unsafe { &mut *SETTINGS.0.get() }
}
