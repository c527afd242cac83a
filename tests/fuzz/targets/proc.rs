//! Texts of /proc. The first byte says of which file; names in them are anybody's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use writegate_fuzz::linux::procfs::{environ, locks, maps, origin, stat, status, task};

fuzz_target!(|data: &[u8]| {
    let Some((file, bytes)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match file % 7 {
        0 => {
            if let Some(stat) = stat::parse(&text) {
                let _ = (stat.is_dead(), stat.is_stopped());
            }
        }
        1 => {
            for line in maps::lines(&text) {
                assert!(line.start <= line.end && line.path_once().len() <= line.path.len());
                let _ = line.size();
            }
        }
        2 => {
            for lock in text.lines().filter_map(locks::parse) {
                let _ = lock.ino();
            }
        }
        3 => drop(status::parse_cgroup(&text)),
        4 => drop((origin::ids(&text, "Uid:"), origin::ids(&text, "Gid:"))),
        5 => drop(task::stack_pointer_in(&text)),
        _ => {
            let kept = environ::variables(bytes);
            assert!(kept.keys().all(|name| name.starts_with("WRITEGATE_") || name == "LD_PRELOAD"));
        }
    }
});
