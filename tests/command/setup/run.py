#!/usr/bin/env python3
"""`writegate setup` against golden trees: NN-name/{args,before,expected} or {args,before,refused}; also
`directories` that are there before (git keeps no empty ones), and what must be `said` on stderr, line by line.

    run.py [--only PATTERN] [--bless]

For each: --print changes nothing; --install makes `expected` of `before`, byte for byte and with the modes
kept; a second --install finds nothing to do; --remove makes `before` again, to the byte, and leaves nothing.
Where `refused` stands, nothing at all may be changed, and the message must hold its line. `--bless` writes
`expected` anew: look at the difference before you commit it. Binaries: $WRITEGATE_BIN_DIR, else target/release.
"""
import argparse
import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(os.environ.get("WRITEGATE_BIN_DIR") or HERE.parents[2] / "target/release")
LIBRARY = "/usr/lib/x86_64-linux-gnu/libwritegate.so"
RECORD = "var/lib/writegate"


def setup(root, line, action, *more):
    return subprocess.run([BIN / "writegate", "setup", *shlex.split(line), action, "--root", root,
                           "--library", LIBRARY, *more], capture_output=True, text=True, timeout=60)


def tree(root, record=True):
    """{path: (mode, content)}; directories have no content."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if not record and (name.startswith(RECORD) or RECORD.startswith(name)):
            continue
        found[name] = (path.lstat().st_mode, path.read_bytes() if path.is_file() else None)
    return found


def differ(a, b):
    """The first difference between two trees, in words."""
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            show = [t.get(name) and (t[name][0] if isinstance(t[name][0], str) else oct(t[name][0]), t[name][1])
                    for t in (a, b)]
            return f"{name}: {show[0]} is not {show[1]}"
    return None


def contents(t):
    """Git keeps neither modes nor empty directories; a profile's text is not this test's business."""
    return {name: ("file", without_profiles(content)) for name, (_, content) in t.items()
            if content is not None and not name.endswith("/libwritegate.so")}


def without_profiles(content):
    """A profile's text stands for itself, but for the directories that it names."""
    for profile in (HERE.parents[2] / "profiles").glob("*.conf"):
        before, usual, after = re.split(rb"((?:^# path = .*\n)+)", profile.read_bytes().strip(), flags=re.M)
        found = re.search(re.escape(before) + rb"((?:^(?:# )?path = .*\n)+)" + re.escape(after), content, flags=re.M)
        if found:
            named = b"" if found[1] == usual else b"\n" + found[1].strip()
            content = content.replace(found[0], f"@profiles/{profile.name}@".encode() + named)
    return content


def put_library(root, path=LIBRARY):
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(BIN / "libwritegate.so", target)
    target.chmod(0o644)
    return target


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def lines_of(file):
    return file.read_text().splitlines() if file.exists() else []


def golden(case, root, bless):
    lines = (case / "args").read_text().splitlines()
    for directory in lines_of(case / "directories"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    for file in root.rglob("*.conf"):
        file.chmod(0o640)                               # a mode to be kept
    before = tree(root)
    refused, said = case / "refused", ""
    for line in lines:
        done = setup(root, line, "--print")
        check(refused.exists() or done.returncode == 0, f"--print: {done.stderr}")
    check(not differ(before, tree(root)), f"--print changed {differ(before, tree(root))}")
    if refused.exists():
        done = setup(root, lines[0], "--install")
        check(done.returncode == 78, f"exit code {done.returncode}: {done.stdout}")
        check(refused.read_text().strip() in done.stderr, f"the message is: {done.stderr}")
        check(not differ(before, tree(root)), f"refused, and changed: {differ(before, tree(root))}")
        return
    for line in lines:
        done = setup(root, line, "--install")
        check(done.returncode == 0, f"--install {line}: {done.stderr}")
        check("--- " in done.stdout and "restart" in done.stdout, f"no diff, no restart: {done.stdout}")
        said += done.stderr
    unsaid = [line for line in lines_of(case / "said") if line not in said]
    check(not unsaid, f"not said: {unsaid}; but: {said}")
    after = tree(root, record=False)
    if bless:
        shutil.rmtree(case / "expected", ignore_errors=True)
        for name, (_, content) in after.items():
            if content is not None and not name.endswith("/libwritegate.so"):
                (case / "expected" / name).parent.mkdir(parents=True, exist_ok=True)
                (case / "expected" / name).write_bytes(without_profiles(content))
    wrong = differ(contents(after), contents(tree(case / "expected")))
    check(not wrong, f"after --install {wrong}")
    whole = tree(root)
    kept = [n for n in before if before[n][0] != whole.get(n, (None,))[0]]
    check(not kept, f"mode or presence changed: {kept}")
    for line in lines:
        done = setup(root, line, "--install")
        check("nothing to change" in done.stdout, f"a second time: {done.stdout}{done.stderr}")
        check(done.stderr in said, f"a second time it says {done.stderr}")
    check(not differ(whole, tree(root)), "a second --install changed something")
    for line in lines:
        done = setup(root, line, "--remove")
        check(done.returncode == 0, f"--remove {line}: {done.stderr}")
    wrong = differ(before, tree(root))
    check(not wrong, f"after --remove {wrong}")


def edited_since(root, bless):
    """Somebody edits what was installed: his edits stay, our part goes."""
    setup(root, "postfix", "--install")
    main = root / "etc/postfix/main.cf"
    main.write_text("first = line\n" + main.read_text() + "last = line\n")
    dropin = root / "etc/tmpfiles.d/writegate-postfix.conf"
    dropin.write_text(dropin.read_text() + "# mine\n")
    done = setup(root, "postfix", "--remove")
    check(done.returncode == 0, done.stderr)
    original = (HERE / "03-postfix/before/etc/postfix/main.cf").read_text()
    check(main.read_text() == f"first = line\n{original}\nlast = line\n", f"main.cf: {main.read_text()}")
    check(dropin.exists() and "edited since and is kept" in done.stderr, done.stderr)


def another_library(root, bless):
    """A second --install with other values updates, and --remove still finds the original."""
    put_library(root, "/opt/libwritegate.so")
    before = tree(root)
    setup(root, "postfix", "--install")
    done = subprocess.run([BIN / "writegate", "setup", "postfix", "--install", "--root", root, "--library",
                           "/opt/libwritegate.so"], capture_output=True, text=True)
    check(done.returncode == 0, done.stderr)
    text = (root / "etc/postfix/main.cf").read_text()
    check("/opt/libwritegate.so" in text and text.count("import_environment") == 1, text)
    setup(root, "postfix", "--remove")
    check(not differ(before, tree(root)), differ(before, tree(root)))


def edited_profile(root, bless):
    """A profile is there to be edited: neither --install nor --remove may lose that."""
    setup(root, "postfix", "--install")
    profile = root / "etc/writegate/postfix.conf"
    profile.write_text(profile.read_text().replace("path = /var/spool/postfix", "path = /srv/mail"))
    mine = profile.read_text()
    check("path = /srv/mail" in mine, mine)
    done = setup(root, "postfix", "--install")
    check("nothing to change" in done.stdout, "written over?")
    check("add `path = /var/spool/postfix`" in done.stderr, f"what it lacks is not said: {done.stderr}")
    done = setup(root, "postfix", "--remove")
    check(profile.read_text() == mine and "postfix.conf was edited since and is kept" in done.stderr, done.stderr)


def by_its_unit(root, bless):
    """A server's unit, or its name in capitals, means that server, and no unit of which nothing is known."""
    for tree_of, names in (("01-cyrus", ("cyrus-imapd", "cyrus-imapd.service", "CYRUS")), ("02-dovecot", ("dovecot.service",)),
                           ("33-debian12-postfix", ("postfix@-.service", "postfix.service"))):
        own = (HERE / tree_of / "args").read_text().split()[0]
        for name in names:
            shutil.rmtree(root)
            shutil.copytree(HERE / tree_of / "before", root)
            put_library(root)
            before = tree(root)
            done = setup(root, name, "--install")
            wrong = differ(contents(tree(root, record=False)), contents(tree(HERE / tree_of / "expected")))
            check(done.returncode == 0 and not wrong, f"{name}: {wrong}: {done.stderr}")
            check((root / RECORD / "setup" / f"{own}.json").exists(), f"{name}: recorded under another name")
            setup(root, name, "--remove")
            wrong = differ(before, tree(root))
            check(not wrong, f"--remove of {name}: {wrong}")


def masked(root, bless):
    """`systemctl mask` puts a link to /dev/null before the unit: the server is the same one."""
    unit = root / "etc/systemd/system/postfix.service"
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.symlink_to("/dev/null")
    shown = setup(root, "postfix", "--print").stdout
    unit.unlink()
    check(shown == setup(root, "postfix", "--print").stdout, f"masked, it is another server: {shown}")


def library_on_this_machine_alone(root, bless):
    """An image that is given the library later: set up, and said each time; a typo is refused."""
    put_library(root).unlink()
    with tempfile.TemporaryDirectory(prefix="wg-library-") as folder:
        library = Path(folder) / "libwritegate.so"
        shutil.copyfile(BIN / "libwritegate.so", library)
        for _ in "ab":
            done = subprocess.run([BIN / "writegate", "setup", "postfix", "--install", "--root", root, "--library", library],
                                  capture_output=True, text=True)
            check(done.returncode == 0, done.stderr)
            check(f"{root}{library} is not there yet: nothing is gated until it is" in done.stderr, done.stderr)
        before = tree(root)
        done = subprocess.run([BIN / "writegate", "setup", "postfix", "--install", "--root", root, "--library",
                               f"{folder}/libwritgate.so"], capture_output=True, text=True)
        check(done.returncode == 78 and "No such file" in done.stderr, done.stderr)
        check(not differ(before, tree(root)), "a typo changed something")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="*")
    parser.add_argument("--bless", action="store_true")
    args = parser.parse_args()
    if not (BIN / "writegate").exists():
        sys.exit(f"{BIN}/writegate is missing: cargo build --release, or set WRITEGATE_BIN_DIR")
    cases = [(case.name, case, golden) for case in sorted(HERE.iterdir()) if (case / "args").exists()]
    cases += [("edited-profile", HERE / "03-postfix", lambda c, r, b: edited_profile(r, b)),
              ("by-its-unit", HERE / "03-postfix", lambda c, r, b: by_its_unit(r, b)),
              ("masked", HERE / "33-debian12-postfix", lambda c, r, b: masked(r, b)),
              ("edited-since", HERE / "03-postfix", lambda c, r, b: edited_since(r, b)),
              ("library-elsewhere", HERE / "03-postfix", lambda c, r, b: library_on_this_machine_alone(r, b)),
              ("another-library", HERE / "03-postfix", lambda c, r, b: another_library(r, b))]
    passed = failed = 0
    for name, case, run in cases:
        if not fnmatch.fnmatch(name, args.only):
            continue
        with tempfile.TemporaryDirectory(prefix="wg-setup-") as folder:
            root = Path(folder) / "root"
            shutil.copytree(case / "before", root)
            put_library(root)
            try:
                run(case, root, args.bless)
            except AssertionError as error:
                print(f"FAILED  {name}: {error}", flush=True)
                failed += 1
            else:
                print(f"ok      {name}", flush=True)
                passed += 1
    if not passed + failed:
        print(f"no case matches {args.only!r}: nothing was run", file=sys.stderr)
        return 64
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
