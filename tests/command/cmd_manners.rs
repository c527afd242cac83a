//! The command's manners: pages and completions for every subcommand, help that a
//! newcomer understands, exit codes for usage, colours only where they are wanted.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

fn writegate(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_writegate"));
    command.args(args).env("WRITEGATE_DIR", "/nonexistent/gates").env_remove("WRITEGATE_GATE");
    command.output().expect("writegate")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("writegate-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

/// The subcommands, as `--help` lists them.
fn subcommands() -> Vec<String> {
    let help = text(&writegate(&["--help"]).stdout);
    let list = help.split("Commands:").nth(1).expect(&help).split("Options:").next().unwrap();
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    names.filter(|name| name != "help").collect()
}

/// Past the capture of the test harness, which keeps from the reader what a macro prints.
fn skipped(why: &str) {
    std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes()).unwrap();
}

#[test]
fn every_subcommand_has_a_page_and_is_completed() {
    let names = subcommands();
    assert!(names.len() >= 10, "{names:?}");
    let dir = folder("man");
    let done = writegate(&["man", "--dir", dir.to_str().unwrap()]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(done.stdout.is_empty(), "quiet on success");
    let bash = text(&writegate(&["completions", "bash"]).stdout);
    for name in &names {
        let page = std::fs::read_to_string(dir.join(format!("writegate-{name}.1"))).expect(name);
        assert!(page.starts_with(".ie"), "{name}: no page: {page:.40}");
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}");
        assert!(bash.contains(&format!("writegate,{name})")), "{name} is not completed");
    }
    assert!(dir.join("writegate.1").exists());
    let profile = std::fs::read_to_string(dir.join("writegate.conf.5")).unwrap();
    assert!(profile.starts_with(".TH writegate.conf 5"), "{profile:.40}");
    let pages = std::fs::read_dir(&dir).unwrap().count();
    assert_eq!(pages, names.len() + 2, "a page of nothing");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn the_shells_take_their_completions() {
    for (shell, check) in [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")] {
        let made = writegate(&["completions", shell]);
        assert!(made.status.success() && made.stdout.len() > 1000, "{shell}");
        let file = folder("completions").with_extension(shell);
        std::fs::write(&file, &made.stdout).unwrap();
        match Command::new(check).arg("-n").arg(&file).output() {
            Ok(done) => assert!(done.status.success(), "{shell}: {}", text(&done.stderr)),
            Err(_) => println!("SKIPPED: {shell} is not there to read them"),
        }
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
fn what_is_wrong_is_64_and_says_so() {
    for args in [
        &["no-such-thing"][..],
        &["freeze", "--no-such-option"],
        &["man", "no-such-page"],
        &["hook", "no-such-tool"],
        &["setup"],
        &["doctor", "unit", "--pid", "1"],
        &["setup", "cyrus", "--install", "--remove"],
    ] {
        let done = writegate(args);
        assert_eq!(done.status.code(), Some(64), "{args:?}: {}", text(&done.stderr));
        assert!(!done.stderr.is_empty() && done.stdout.is_empty(), "{args:?}");
    }
    for args in [&["--help"][..], &["--version"], &["help", "setup"], &["doctor", "--help"]] {
        assert_eq!(writegate(args).status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn help_has_examples_where_they_help() {
    for name in ["freeze", "exec", "doctor", "setup", "hook", "man", "completions"] {
        let help = text(&writegate(&[name, "--help"]).stdout);
        assert!(help.contains("Example"), "{name} --help has no example");
        assert!(help.contains(&format!("writegate {name}")), "{name}");
    }
}

#[test]
fn the_table_of_calls_is_the_table() {
    let shown = text(&writegate(&["doctor", "--calls", "--json"]).stdout);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&shown).unwrap();
    assert_eq!(rows.len(), gate::calls::TABLE.len() - 1);
    let table = text(&writegate(&["doctor", "--calls"]).stdout);
    for name in ["pwrite", "renameat2", "fflush", "syscall"] {
        assert!(table.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
    }
}

#[test]
fn colours_for_a_terminal_only_and_not_where_somebody_said_no() {
    let line = format!("{} doctor -g nothing", env!("CARGO_BIN_EXE_writegate"));
    let on_terminal = |no_color: &str| {
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("WRITEGATE_DIR", "/nonexistent/gates");
        command.env("NO_COLOR", no_color).env("TERM", "xterm").output().ok()
    };
    let Some(coloured) = on_terminal("") else {
        skipped("script(1) is not there, so there is no terminal to look at");
        return;
    };
    assert!(text(&coloured.stdout).contains("\x1b[31m"), "{}", text(&coloured.stdout));
    assert!(!text(&on_terminal("1").unwrap().stdout).contains('\x1b'));
    assert!(!text(&writegate(&["doctor", "-g", "nothing"]).stdout).contains('\x1b'));
}
