//! Tests of [`super`]: machines as they are, with a stranger beside the service.

use super::*;

const MAIL: &str = "/system.slice/mail.service";
const CYRUS: u32 = 108;
const ALICE: u32 = 1000;

/// A machine: process, parent, user, control group, gated, program.
#[derive(Default)]
struct Machine(HashMap<i32, (Origin, bool, &'static str)>);

impl Machine {
    fn with(mut self, pid: i32, parent: i32, user: u32, at: &str, gated: &'static str) -> Self {
        let origin = Origin {
            start: pid as u64,
            parent,
            users: [user; 4],
            set_id: None,
            login: None,
            cgroup: at.into(),
        };
        let (gated, program) = match gated.strip_prefix('-') {
            Some(program) => (false, program),
            None => (true, gated),
        };
        self.0.insert(pid, (origin, gated, program));
        self
    }

    fn change(mut self, pid: i32, change: impl FnOnce(&mut Origin)) -> Self {
        change(&mut self.0.get_mut(&pid).unwrap().0);
        self
    }

    fn reasons(&self) -> HashMap<i32, Option<Reason>> {
        let gated = self.0.iter().filter(|(_, (_, gated, _))| *gated).map(|(pid, _)| *pid);
        Service::new([], None, "").admit(&gated.collect::<Vec<_>>(), self)
    }
}

impl Facts for Machine {
    fn origin(&self, pid: i32) -> Option<Origin> {
        self.0.get(&pid).map(|(origin, ..)| origin.clone())
    }

    fn program(&self, pid: i32) -> Option<PathBuf> {
        self.0.get(&pid).map(|(.., program)| program.into())
    }

    fn all(&self) -> Vec<(i32, bool)> {
        self.0.iter().map(|(pid, (_, gated, _))| (*pid, *gated)).collect()
    }
}

#[test]
fn a_master_its_workers_and_deliveries_as_any_mail_user() {
    let mail = Machine::default()
        .with(10, 1, 0, MAIL, "master")
        .with(11, 10, 101, MAIL, "smtpd")
        .with(12, 10, ALICE, MAIL, "local")
        .with(13, 12, ALICE, MAIL, "-sh")
        .with(14, 13, ALICE, MAIL, "procmail");
    let reasons = mail.reasons();
    assert_eq!(reasons[&10], Some(Reason::Root));
    for child in [11, 12, 14] {
        assert_eq!(reasons[&child], Some(Reason::Lineage), "{child}");
    }
}

#[test]
fn a_user_that_puts_its_program_behind_the_gate_is_outside() {
    let session = "/user.slice/user-1000.slice/session-3.scope";
    let own = "/user.slice/user-1000.slice/user@1000.service/app.slice/mail.service";
    let mail = Machine::default()
        .with(10, 1, 0, MAIL, "master")
        .with(20, 1, ALICE, session, "master")
        .with(21, 1, ALICE, own, "master")
        .with(22, 1, ALICE, "/", "sleep")
        .with(23, 1, 65_534, MAIL, "evil");
    let reasons = mail.reasons();
    for stranger in [20, 21, 22, 23] {
        assert_eq!(reasons[&stranger], None, "{stranger}");
    }
}

#[test]
fn a_child_that_lost_its_parent_still_belongs() {
    let left = |machine: Machine, user, at| {
        machine.with(10, 1, 0, at, "master").with(30, 1, user, at, "master").reasons()[&30]
    };
    assert_eq!(left(Machine::default(), CYRUS, MAIL), Some(Reason::Unit));
    assert_eq!(left(Machine::default(), CYRUS, "/"), Some(Reason::Account), "no systemd");
    // Dovecot's mail processes of one virtual user, after their master was started anew.
    assert_eq!(left(Machine::default(), 5000, MAIL), Some(Reason::Unit));
}

#[test]
fn a_service_without_root_is_known_by_its_oldest_process() {
    let unit = "/system.slice/imap.service";
    for user in [CYRUS, 5000] {
        let mail =
            Machine::default().with(10, 1, user, unit, "imapd").with(11, 1, user, unit, "imapd");
        assert_eq!(mail.reasons()[&11], Some(Reason::Unit));
    }
    let php = "/system.slice/php-fpm.service";
    let web = Machine::default()
        .with(10, 1, CYRUS, unit, "imapd")
        .with(40, 1, 0, php, "-php-fpm")
        .with(41, 40, 33, php, "php-fpm")
        .with(42, 40, 1001, php, "php-fpm");
    let reasons = web.reasons();
    assert_eq!((reasons[&41], reasons[&42]), (None, None), "another service's");
    assert_eq!(reasons[&10], Some(Reason::Unit));
}

#[test]
fn an_administrators_tool_a_cron_job_a_set_id_program_belong() {
    let mail = Machine::default()
        .with(10, 1, 0, MAIL, "master")
        .with(11, 10, CYRUS, MAIL, "imapd")
        .with(50, 2, 0, "/user.slice/user-0.slice/session-1.scope", "doveadm")
        .with(5, 1, 0, "/system.slice/cron.service", "-cron")
        .with(51, 5, CYRUS, "/system.slice/cron.service", "cyr_expire")
        .with(52, 1, ALICE, "/user.slice/x", "postdrop")
        .change(52, |origin| origin.set_id = Some(0));
    let reasons = mail.reasons();
    assert_eq!(reasons[&50], Some(Reason::Root));
    assert_eq!(reasons[&51], Some(Reason::Account));
    assert_eq!(reasons[&52], Some(Reason::SetId));
}

#[test]
fn a_login_ends_a_lineage() {
    let login = |user| {
        Machine::default()
            .with(10, 1, 0, "/", "sshd")
            .with(11, 10, ALICE, "/", "sh")
            .change(11, |origin| origin.login = user)
            .reasons()[&11]
    };
    assert_eq!(login(Some(ALICE)), None);
    assert_eq!(login(None), Some(Reason::Lineage));
    let by_hand = Machine::default()
        .with(10, 1, 0, "/", "exim")
        .change(10, |origin| origin.login = Some(ALICE))
        .with(11, 10, 1001, "/", "exim")
        .change(11, |origin| origin.login = Some(ALICE));
    assert_eq!(by_hand.reasons()[&11], Some(Reason::Lineage), "started by sudo");
}

#[test]
fn a_child_in_another_unit_is_another_ones() {
    let session = "/user.slice/user-1000.slice/session-3.scope";
    let mail = Machine::default()
        .with(10, 1, 0, MAIL, "master")
        .with(11, 10, ALICE, MAIL, "local")
        .with(12, 11, ALICE, session, "sh");
    let reasons = mail.reasons();
    assert_eq!((reasons[&11], reasons[&12]), (Some(Reason::Lineage), None));
}

#[test]
fn ancestors_in_a_circle_are_none() {
    // Two looks at different moments: the numbers were given to others meanwhile.
    let odd = Machine::default().with(20, 21, ALICE, "/", "a").with(21, 20, ALICE, "/", "b");
    assert_eq!(odd.reasons()[&20], None);
}

#[test]
fn where_the_profile_names_programs_a_users_own_is_outside() {
    let mail = Machine::default()
        .with(10, 1, 0, MAIL, "/usr/sbin/master")
        .with(11, 10, ALICE, MAIL, "/usr/bin/procmail")
        .with(12, 10, ALICE, MAIL, "/home/alice/evil")
        .with(13, 10, CYRUS, MAIL, "/opt/else");
    let mut service = Service::new([], None, "program = /usr/*\n");
    let reasons = service.admit(&[10, 11, 12, 13], &mail);
    assert_eq!((reasons[&11], reasons[&12]), (Some(Reason::Lineage), None));
    assert_eq!(reasons[&13], Some(Reason::Lineage));
}

#[test]
fn users_that_are_named_are_all_that_counts() {
    let mail = Machine::default()
        .with(10, 1, 0, MAIL, "master")
        .with(11, 10, CYRUS, MAIL, "imapd")
        .with(12, 1, ALICE, "/", "test");
    let named = HashSet::from([ALICE]);
    let reasons = Service::new([], Some(&named), "").admit(&[10, 11, 12], &mail);
    assert_eq!(reasons[&10], Some(Reason::Named));
    assert_eq!((reasons[&11], reasons[&12]), (None, Some(Reason::Named)));
}

#[test]
fn what_names_a_unit() {
    assert_eq!(unit_of(MAIL), Some(MAIL));
    assert_eq!(unit_of("/system.slice/mail.service/worker"), Some(MAIL));
    let docker = "/system.slice/docker-1.scope";
    assert_eq!(unit_of(docker), Some(docker));
    for none in ["/", "/user.slice/user-1.slice/user@1.service/x.service", "/x/session-2.scope"] {
        assert_eq!(unit_of(none), None, "{none}");
    }
}
