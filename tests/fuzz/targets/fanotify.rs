//! Records of changes, as one read brings them. By name only: the other kind holds descriptors, which are closed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs::File;
use std::sync::OnceLock;
use writegate_fuzz::linux::fanotify::{self, Event, Place, Scope};

static ROOT: OnceLock<File> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let mut events = Vec::new();
    fanotify::parse(data, Scope::FileSystem, &mut events);
    assert!(events.len() <= data.len() / 24 + 1);
    for event in events {
        if let Event::Changed { place: Place::Handle { handle, name, .. }, .. } = event {
            assert!(handle.len() >= 8 && handle.len() + name.len() <= data.len());
            let root = ROOT.get_or_init(|| File::open("/proc").expect("/proc"));
            let _ = fanotify::directory(root, &handle);
        }
    }
});
