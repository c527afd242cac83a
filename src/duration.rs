//! Durations as people write them: always with a unit.
//!
//! A bare `300` once became 30 s in silence (velero 2599): here it is an error.

use std::time::Duration;

/// Reads `5s`, `250ms`, `1.5s`, `2m`, `100us`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let value: f64 =
        number.parse().map_err(|_| format!("`{text}` is not a duration; write for example 5s"))?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "" => return Err(format!("`{text}` has no unit; write {text}s or {text}ms")),
        _ => return Err(format!("`{unit}` is not a unit; use us, ms, s or m")),
    };
    Duration::try_from_secs_f64(value * seconds).map_err(|e| e.to_string())
}

/// Nanoseconds of a duration.
pub fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// Milliseconds as the verdict line shows them.
pub fn show_ms(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    if ms < 100.0 { format!("{ms:.1}ms") } else { format!("{ms:.0}ms") }
}

/// As people say how long ago something was: `3 days`, `5 h 12 min`, `40 s`.
pub fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600, seconds / 60) {
        (days, ..) if days > 2 => format!("{days} days"),
        (_, hours, minutes) if hours > 0 => format!("{hours} h {} min", minutes % 60),
        (_, _, minutes) if minutes > 0 => format!("{minutes} min"),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_unit() {
        assert_eq!(parse("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert!(parse("300").unwrap_err().contains("no unit"));
        assert!(parse("3h").unwrap_err().contains("not a unit"));
        assert!(parse("s").is_err() && parse("").is_err() && parse("-1s").is_err());
    }
}
