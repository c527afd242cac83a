//! Faults, patterns and names.

use super::*;

#[test]
fn a_fault_has_its_line_and_column() {
    let text = "# fine\npath = /srv\n\n  exlude = *.log\n";
    assert_eq!(check(text), Err(Wrong { line: 4, column: 3, what: "unknown key" }));
    assert_eq!(check("path = srv").unwrap_err().column, 8);
    assert_eq!(check("path =").unwrap_err().what, "the value is missing");
    assert_eq!(check("path /srv").unwrap_err().line, 1);
    for wait in ["200", "0ms", "1001ms", "-1ms", "1s", "ms"] {
        assert!(check(&std::format!("first-wait = {wait}")).is_err(), "{wait}");
    }
    assert_eq!(check("first-wait = 200ms\nfirst-wait = rest"), Ok(()));
    let waits = |text| first_wait(text);
    let at_most = FirstWait::AtMost(200_000_000);
    assert_eq!(waits("first = x\nfirst-wait = 200ms # why"), Some(at_most));
    assert_eq!(waits("first-wait = rest"), Some(FirstWait::Quiesced));
    assert_eq!(waits("first = x"), None);
    for all in ["exclude = *", "exclude = /*", "lifetime-lock = **", "parkable = ?*"] {
        assert!(check(all).is_err(), "{all}");
    }
    for (key, value) in BUILT_IN {
        let name = KEYS.iter().find(|(_, k)| *k == key).unwrap().0;
        assert_eq!(check(&std::format!("{name} = {value}")), Ok(()));
    }
}

#[test]
fn patterns_match_as_described() {
    assert!(glob(b"*-H", b"/q/input/1abc-H"));
    assert!(!glob(b"*-H", b"/q/input/1abc-D"));
    assert!(glob(b"a*b*c", b"aXbYbZc"));
    assert!(!glob(b"a*b*c", b"aXbYbZ"));
    assert!(glob(b"*", b""));
    assert!(!glob(b"?", b""));
    assert!(matches("", Key::LifetimeLock, b"/run/cyrus/cyrus-master.pid"));
    assert!(!matches("", Key::LifetimeLock, b"/run/cyrus/lock/user/cupid.lock"));
    assert!(matches("exclude = /q/msglog/*", Key::Exclude, b"/q/msglog/1abc"));
    let many = "exclude = x\n".repeat(LINES_MAX + 1);
    assert!(Index::of(&many).is_none(), "a profile that does not fit is refused whole");
}

#[test]
fn lock_names() {
    assert_eq!(lock_like(b"/m/dovecot-uidlist.lock"), Some(LockName::Lock));
    assert_eq!(lock_like(b"/m/bob.lock.host.4f.1"), Some(LockName::HitchingPost));
    assert_eq!(lock_like(b"/m/.lock"), Some(LockName::Lock));
    assert_eq!(lock_like(b"/m/lock"), None);
    assert_eq!(lock_like(b"/m.lock/cur"), None);
}
