//! Tests of `diagnose`: each cause is told from the others.

use super::super::diagnosis::Membership;
use super::super::observation::PreloadFault;
use super::*;
use crate::linux::library::LibraryLayout;
use crate::linux::program_file::ProgramFile;
use gate::layout::LAYOUT;
use std::collections::BTreeMap;

fn diagnose_one(process: Observation) -> Diagnosis {
    let all = BTreeMap::from([(
        1,
        Observation {
            pid: 1,
            program: "master".into(),
            library: Some("/l".into()),
            ..Observation::default()
        },
    )]);
    diagnose(
        &process,
        &Context {
            gate: "mail",
            dir: "/run/writegate/mail",
            page_fault: None,
            page_layout: None,
            page_ino: 5,
            page_made_ns: 1000,
            profile: "",
            observed: &all,
            dropins: &BTreeMap::from([("x.service".into(), 50_000_000_000)]),
            regions: &BTreeMap::from([(
                7,
                RegionSeen::Read {
                    flags: region::FLAG_AIO | region::FLAG_CALLS_MISSING,
                    absent_calls: vec!["gets"],
                },
            )]),
        },
    )
}

fn plain() -> Observation {
    Observation {
        pid: 7,
        program_file: Some(ProgramFile { bits: 64, is_static: false, set_id: false }),
        secure_mode: Some(false),
        environment: Some(BTreeMap::new()),
        started_ns: 9_000_000_000,
        ..Observation::default()
    }
}

#[test]
fn gated_with_gaps() {
    let page = Some(("/run/writegate/mail/control".into(), 5));
    let good = diagnose_one(Observation { control_page: page, ..plain() });
    assert_eq!(good.membership, Membership::Gated);
    assert_eq!((good.gaps.len(), good.absent_calls), (1, vec!["gets"]));
}

#[test]
fn an_exim_whose_deliveries_are_outside_is_not_green() {
    let exim = |library_for_set_id| {
        let page = Some(("/run/writegate/mail/control".into(), 5));
        let exe = Some("/usr/sbin/exim4".into());
        diagnose_one(Observation { control_page: page, exe, library_for_set_id, ..plain() })
            .membership
    };
    assert_eq!(exim(false), Membership::NotGated);
    assert_eq!(exim(true), Membership::Gated);
}

#[test]
fn each_cause_is_told_from_the_others() {
    let library = || Some("/usr/lib/libwritegate.so".to_owned());
    let page = |path: &str| Some((path.to_owned(), 4));
    let program = |bits, is_static, set_id| Some(ProgramFile { bits, is_static, set_id });
    let asked = BTreeMap::from([("LD_PRELOAD".into(), "/l/libwritegate.so".into())]);
    for (cause, process) in [
        ("hung", Observation { hung: true, ..plain() }),
        ("unseen", Observation { maps_error: Some(libc::EACCES), ..plain() }),
        (
            "old-page",
            Observation {
                library: library(),
                control_page: page("/run/writegate/mail/control"),
                ..plain()
            },
        ),
        (
            "other-gate",
            Observation {
                library: library(),
                control_page: page("/run/writegate/b/control"),
                ..plain()
            },
        ),
        ("time-namespace", Observation { library: library(), clock_offset: true, ..plain() }),
        ("page-hidden", Observation { library: library(), page_hidden: true, ..plain() }),
        ("boot-id", Observation { library: library(), boot_id_hidden: true, ..plain() }),
        ("secure-gate", Observation { library: library(), secure_mode: Some(true), ..plain() }),
        ("detached", Observation { library: library(), ..plain() }),
        (
            "other-layout",
            Observation {
                library: library(),
                library_layout: Some(LibraryLayout::Noted(LAYOUT ^ 1)),
                ..plain()
            },
        ),
        (
            "other-layout",
            Observation {
                library: library(),
                library_layout: Some(LibraryLayout::Unmarked),
                ..plain()
            },
        ),
        ("word-size", Observation { program_file: program(32, true, false), ..plain() }),
        ("static", Observation { program_file: program(64, true, false), ..plain() }),
        (
            "set-id",
            Observation {
                program_file: program(64, false, true),
                secure_mode: Some(true),
                ..plain()
            },
        ),
        (
            "library-missing",
            Observation { preload_fault: Some(PreloadFault::Missing("/l".into())), ..plain() },
        ),
        (
            "library-unreadable",
            Observation { preload_fault: Some(PreloadFault::Unreadable("/l".into())), ..plain() },
        ),
        (
            "confined",
            Observation {
                environment: Some(asked.clone()),
                label: Some("imapd (enforce)".into()),
                ..plain()
            },
        ),
        ("not-loaded", Observation { environment: Some(asked), ..plain() }),
        ("scrubbed", Observation { parent: 1, ..plain() }),
        ("not-restarted", Observation { cgroup: "/system.slice/x.service".into(), ..plain() }),
        ("not-asked", plain()),
    ] {
        let got = diagnose_one(process);
        assert_eq!(got.cause.word(), cause, "{}", got.reason);
        assert_ne!(got.membership, Membership::Gated);
        assert!(!got.reason.is_empty() && !got.cure.is_empty() && !got.reason.ends_with('.'));
    }
}

#[test]
fn the_line_for_that_servers_configuration() {
    let of =
        |exe: &str| diagnose_one(Observation { parent: 1, exe: Some(exe.into()), ..plain() }).cure;
    assert!(of("/usr/lib/dovecot/imap").starts_with("dovecot.conf: import_environment"));
    assert!(of("/usr/lib/postfix/sbin/qmgr").starts_with("main.cf: import_environment"));
    assert!(of("/usr/sbin/exim4").starts_with("exim.conf: add_environment"));
}
