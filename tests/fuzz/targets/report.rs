//! What one command leaves for another, and the helper's messages: JSON of another version, or cut off.
#![no_main]

use libfuzzer_sys::fuzz_target;
use writegate_fuzz::freeze::keeper::Started;
use writegate_fuzz::freeze::last::Last;
use writegate_fuzz::gatedir::history;
use writegate_fuzz::gatedir::stats::Stats;
use writegate_fuzz::linux::helper::protocol::{Reply, Request};
use writegate_fuzz::outcome::record::Record;

fuzz_target!(|data: &[u8]| {
    let Some((file, bytes)) = data.split_first() else { return };
    match file % 7 {
        0 => {
            if let Ok(record) = serde_json::from_slice::<Record>(bytes) {
                let text = serde_json::to_string(&record).unwrap();
                let again: Record = serde_json::from_str(&text).unwrap();
                assert_eq!(serde_json::to_string(&again).unwrap(), text);
            }
        }
        1 => drop(serde_json::from_slice::<Last>(bytes)),
        2 => drop(serde_json::from_slice::<Stats>(bytes)),
        3 => drop(history::parse(&String::from_utf8_lossy(bytes))),
        4 => drop(serde_json::from_slice::<Started>(bytes)),
        5 => drop(serde_json::from_slice::<Request>(bytes)),
        _ => drop(serde_json::from_slice::<Reply>(bytes)),
    }
});
