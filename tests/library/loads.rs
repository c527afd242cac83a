//! The built library, as a file and inside other programs: what links cleanly may
//! still kill every program at its start (`rust_eh_personality`), need a library
//! that an old system lacks, or export less than the table says.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// The release build of the library; `scripts/test` builds it before the tests.
fn library() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/release");
    let folder = std::env::var_os("WRITEGATE_BIN_DIR").map_or_else(built, PathBuf::from);
    let path = folder.join("libwritegate.so");
    assert!(path.exists(), "build it first: cargo build --release");
    path
}

fn output(command: &str, args: &[&str]) -> String {
    let out = Command::new(command).args(args).arg(library()).output().expect(command);
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Past the capture of the test harness, which keeps from the reader what a macro prints.
fn skipped(why: &str) {
    std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes()).unwrap();
}

#[test]
fn true_starts_and_ends_with_the_library_loaded() {
    let status = Command::new("/bin/true").env("LD_PRELOAD", library()).status().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn nothing_is_needed_but_the_libc_that_is_there() {
    let dynamic = output("readelf", &["--dynamic", "--wide"]);
    assert!(!dynamic.contains("(NEEDED)"), "{dynamic}");
    let symbols = output("nm", &["--dynamic", "--undefined-only"]);
    let strong: Vec<_> =
        symbols.lines().filter_map(|l| l.trim().strip_prefix("U ")).map(str::trim).collect();
    for symbol in &strong {
        assert!(
            ["dl_iterate_phdr", "memcpy", "memset", "memcmp", "memmove", "bcmp"].contains(symbol),
            "{symbol} would have to be in every libc, or comes with a version"
        );
    }
    assert!(strong.contains(&"dl_iterate_phdr"), "this test has lost its eyes: {symbols}");
}

#[test]
fn every_name_of_the_table_is_exported_and_nothing_else() {
    let exported = output("nm", &["--dynamic", "--defined-only", "--format=just-symbols"]);
    let mut exported: Vec<_> = exported.lines().map(str::trim).collect();
    let mut table: Vec<_> =
        gate::calls::TABLE.iter().skip(1).flat_map(|i| i.aliases.iter().chain([&i.name])).collect();
    exported.sort_unstable();
    table.sort();
    assert_eq!(exported, table.into_iter().copied().collect::<Vec<_>>());
}

#[test]
fn the_same_file_runs_under_musl() {
    let dir = std::env::temp_dir().join(format!("writegate-musl-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (source, program) = (dir.join("m.c"), dir.join("m"));
    std::fs::write(
        &source,
        "#include <stdio.h>\nint main(void){printf(\"%s %d %.1f\\n\",\"a\",3,2.5);return 0;}\n",
    )
    .unwrap();
    let built = Command::new("musl-gcc").arg(&source).arg("-o").arg(&program).status();
    if !built.is_ok_and(|status| status.success()) {
        skipped("musl-gcc is not there (Debian: musl-tools)");
        return;
    }
    let out = Command::new(&program)
        .env("LD_PRELOAD", library())
        .env("WRITEGATE_DIR", dir.join("gates"))
        .env("WRITEGATE_GATE", "musl")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "a 3 2.5\n");
    assert!(dir.join("gates/musl/control").exists(), "it was gated: it made the page");
    std::fs::remove_dir_all(&dir).unwrap();
}
