//! Tests of [`super`].

use super::*;
use crate::census::kinds::ProcessKind;
use crate::census::member::Member;
use crate::evidence::samples::{Stranger, census, census_of_others, me, see};
use crate::linux::look::WhyNot;
use crate::linux::procfs::sleeper::Sleeper;
use crate::places::Places;
use nix::unistd::geteuid;

impl Service {
    /// For tests: of these processes, of whom nothing else is known.
    pub fn with_members(members: impl IntoIterator<Item = i32>) -> Service {
        Service { members: members.into_iter().collect(), ..Service::default() }
    }
}

fn found(census: &Census, service: &Service) -> Vec<(i32, Claim, bool)> {
    let found = ungated(census, service, &Places::default().reach());
    found.into_iter().map(|one| (one.pid, one.why, one.elsewhere)).collect()
}

#[test]
fn a_child_of_a_member_that_is_not_gated_is_found() {
    let child = Sleeper::new();
    let (pid, service) = (child.pid(), Service::with_members([me()]));
    let mut census = census();
    for kind in [ProcessKind::Other, ProcessKind::Undecided, ProcessKind::Outsider(0)] {
        see(&mut census, pid, kind);
        assert_eq!(found(&census, &service), [(pid, Claim::Child, false)], "{kind:?}");
    }
    for kind in [ProcessKind::Member(0, 0), ProcessKind::Kernel, ProcessKind::Dead] {
        see(&mut census, pid, kind);
        assert!(found(&census, &service).is_empty(), "{kind:?}");
    }
    see(&mut census, pid, ProcessKind::Other);
    assert!(found(&census, &Service::default()).is_empty(), "nobody's child");
    census.elsewhere.insert(pid);
    assert_eq!(found(&census, &service), [(pid, Claim::Child, true)], "another gate's");
    census.unseen.insert(pid, WhyNot::Hangs);
    assert!(found(&census, &service).is_empty(), "that is said elsewhere");
}

#[test]
fn what_is_no_more_or_is_the_freezers_own_is_not_found() {
    let child = Sleeper::new();
    let (pid, service) = (child.pid(), Service::with_members([me()]));
    let mut census = census();
    see(&mut census, pid, ProcessKind::Other);
    census.ours.insert(me());
    assert!(found(&census, &service).is_empty(), "a child of our own");
    census.ours.clear();
    census.seen.get_mut(&pid).unwrap().start -= 1;
    assert!(found(&census, &service).is_empty(), "another process has its number now");
    see(&mut census, pid, ProcessKind::Other);
    assert_eq!(found(&census, &service).len(), 1);
    child.end();
    assert!(found(&census, &service).is_empty());
}

#[test]
fn each_claim_has_its_reason_and_nobody_who_does_not_belong_is_claimed() {
    let (child, stranger) = (Sleeper::new(), Stranger::new());
    let none = Service::default();
    let parents = Service::with_members([me()]);
    let programs = Service {
        programs: HashSet::from([procfs::exe(child.pid()).unwrap()]),
        ..Service::default()
    };
    let units =
        Service { units: procfs::cgroup(child.pid()).into_iter().collect(), ..Service::default() };
    let places = Places::default();
    let claims = |census: &Census, service: &Service, pid: i32| {
        let parent = procfs::stat(pid).unwrap().ppid;
        service.claims(census, pid, parent, &places.reach())
    };
    let ours = census();
    assert_eq!(claims(&ours, &none, child.pid()), None);
    assert_eq!(claims(&ours, &parents, child.pid()), Some(Claim::Child));
    assert_eq!(claims(&ours, &programs, child.pid()), Some(Claim::Program));
    let in_unit = procfs::cgroup(child.pid()).map(|_| Claim::Unit);
    assert_eq!(claims(&ours, &units, child.pid()), in_unit);
    let other = Service { units: HashSet::from(["/x.service".into()]), ..Service::default() };
    assert_eq!(claims(&ours, &other, child.pid()), None, "another unit");
    let other = Service { programs: HashSet::from(["/x/imapd".into()]), ..Service::default() };
    assert_eq!(claims(&ours, &other, child.pid()), None, "another program");
    let others = census_of_others();
    for service in [&parents, &programs, &units] {
        assert_eq!(claims(&others, service, stranger.pid()), None, "any user may start that");
    }
    assert!(none.may_be_of(&ours, child.pid()) && !none.may_be_of(&others, stranger.pid()));
}

#[test]
fn a_service_is_its_members_and_their_programs_but_for_common_ones() {
    let child = Sleeper::new();
    let mut census = census();
    for pid in [me(), child.pid()] {
        census.gates[0].push(Member::new(pid, procfs::stat(pid).unwrap()));
    }
    let service = Service::of(&census, 0);
    assert_eq!(service.members, HashSet::from([me(), child.pid()]));
    assert_eq!(service.programs, HashSet::from([procfs::exe(me()).unwrap()]), "no sleep");
    assert_eq!(service.gate(), 0);
    assert!(service.units.iter().all(|unit| unit.ends_with(".service")));
    assert_eq!(Service { gate: 3, ..Service::default() }.gate(), 3);
}

#[test]
fn a_members_user_is_the_services_unless_it_is_root() {
    let (child, stranger) = (Sleeper::new(), Stranger::new());
    let census = census();
    let of_us = Service::with_members([child.pid()]);
    let is_root = geteuid().is_root();
    assert_eq!(of_us.has_user_of(&census, me()), !is_root);
    let of_stranger = Service::with_members([stranger.pid()]);
    assert!(of_stranger.has_user_of(&census, stranger.pid()));
    assert_eq!(of_stranger.has_user_of(&census, me()), !is_root);
    let pid = child.pid();
    child.end();
    assert!(of_stranger.has_user_of(&census, pid), "that cannot be told");
}

#[test]
fn another_layout_is_found_where_the_gate_is_asked_for_or_the_service_claims_it() {
    let child = Sleeper::new();
    let stat = procfs::stat(child.pid()).unwrap();
    let one = Detached {
        pid: child.pid(),
        comm: stat.comm,
        parent: stat.ppid,
        other_layout: Some(LibraryLayout::Unmarked),
        asks_for: None,
        old_page: None,
        hears_another: false,
    };
    let (none, parents) = (Service::default(), Service::with_members([me()]));
    let mut census = census();
    let found = |census: &mut Census, one: &Detached, service: &Service, profile: &str| {
        census.detached.insert(one.pid, one.clone());
        other_layouts(census, service, profile, &Places::default().reach()).len()
    };
    assert_eq!(found(&mut census, &one, &parents, ""), 1);
    assert_eq!(found(&mut census, &one, &none, ""), 0);
    let asks = Detached { asks_for: Some(0), ..one.clone() };
    assert_eq!(found(&mut census, &asks, &none, ""), 1);
    assert_eq!(found(&mut census, &asks, &none, "program = /usr/lib/cyrus/bin/*\n"), 0);
    assert_eq!(found(&mut census, &asks, &none, "program = x\nprogram = sleep\n"), 1);
    let asks_another = Detached { asks_for: Some(1), ..one.clone() };
    assert_eq!(found(&mut census, &asks_another, &none, ""), 0);
    let ours = Detached { other_layout: None, ..one.clone() };
    assert_eq!(found(&mut census, &ours, &parents, ""), 0);
    let old = Detached { old_page: Some(0), ..one.clone() };
    assert_eq!(found(&mut census, &old, &parents, ""), 0, "that is said by its page");
    census.ours.insert(me());
    assert_eq!(found(&mut census, &one, &parents, ""), 0, "a child of our own");
    let stranger = Stranger::new();
    let mut others = census_of_others();
    let asks = Detached { pid: stranger.pid(), ..asks };
    assert_eq!(found(&mut others, &asks, &none, ""), 0, "its environment is its own word");
}

#[test]
fn a_program_that_the_profile_does_not_name_is_left_out() {
    let child = Sleeper::new();
    let pid = child.pid();
    assert!(!left_out(pid, "") && !left_out(pid, "exclude = *.log\n"), "none is named");
    assert!(!left_out(pid, "program = sleep\n") && left_out(pid, "program = imapd\n"));
    child.end();
    assert!(!left_out(pid, "program = imapd\n"), "of one that is gone nothing is known");
}

#[test]
fn common_programs_say_nothing_of_a_service() {
    for common in ["/bin/sh", "/usr/bin/python3.11", "/usr/bin/perl", "/usr/bin/perl5.36.0"] {
        assert!(is_common(Path::new(common)), "{common}");
    }
    for own in ["/usr/lib/cyrus/bin/imapd", "/usr/bin/shx", "/opt/sh/imapd", "/", "/x/3.11"] {
        assert!(!is_common(Path::new(own)), "{own}");
    }
}

#[test]
fn who_runs_this_command_is_told_by_its_file() {
    let child = Sleeper::new();
    assert!(runs_this_command(me()) && !runs_this_command(child.pid()));
    assert!(!checks_passwords(me()) && !checks_passwords(child.pid()));
    let pid = child.pid();
    child.end();
    assert!(!runs_this_command(pid), "it is gone");
}
