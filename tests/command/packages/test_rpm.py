"""The .rpm, installed by rpm's own hand into a clean root, used, installed again under a running process, and removed.
The root is Debian's, for no other can be had here: only that rpm's database knows nothing there of /bin/sh is passed over.
By hand (run.py --all)."""
import subprocess

import machine as machines
import test_package
from test_package import changed, check

LIBRARY = "/usr/lib64/libwritegate.so"


def rpm(machine, *argv):
    """This machine's rpm, on the files of that one; its scripts run in there."""
    done = subprocess.run(["nsenter", "-t", str(machine.pid), "--mount", "rpm", "--force-debian", "--dbpath", "/var/lib/rpm",
                           "--root", machine.work / "root", *argv],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    return done.returncode, done.stdout


def life(release):
    def run(debs, work):
        found = sorted(debs[0].parent.resolve().glob("writegate-[0-9]*.x86_64.rpm"))
        if not found:
            raise machines.Unavailable("no .rpm lies beside the .deb (scripts/package rpm, Debian: rpm)")
        with machines.Machine(release, work) as machine:
            before = machine.etc()
            machine.inside("/var/lib/rpm").mkdir()
            code, said = rpm(machine, "-i", found[0])
            check(code and "/bin/sh" in said and said.count("is needed by") == 1, f"it needs something else: {code}: {said}")
            code, said = rpm(machine, "-i", "--nodeps", found[0])
            check(code == 0 and not said, f"rpm -i: {code}: {said}")
            code, said = rpm(machine, "-V", "--nodeps", "writegate")
            check(code == 0 and not said, f"rpm -V: {code}: {said}")
            check(machine.run("writegate", "exec", "-g", "mail", "--", "/bin/echo", "ran")[1] == "ran\n", "exec")
            test_package.start_worker(machine)
            said = machine.run("writegate", "doctor", "-g", "mail")[1]
            check(f"library {LIBRARY}" in said, f"the doctor does not say which library: {said}")
            test_package.freeze(machine, "after the installation")
            was = machine.inside(LIBRARY).stat().st_ino
            code, said = rpm(machine, "-U", "--nodeps", "--replacepkgs", "--replacefiles", found[0])
            check(code == 0, f"rpm -U: {said}")
            check(machine.inside(LIBRARY).stat().st_ino != was, "written over in place: every process that has it would crash")
            test_package.freeze(machine, "installed again under a running process")

            unit = machine.inside("/etc/systemd/system/store.service")
            unit.parent.mkdir(parents=True, exist_ok=True)
            unit.write_text("[Service]\nExecStart=/bin/sleep 9\n")
            machine.run("writegate", "setup", "store.service", "--install")
            dropin = machine.inside("/etc/systemd/system/store.service.d/writegate.conf").read_text()
            check(LIBRARY in dropin, f"another library is set up: {dropin}")
            code, said = rpm(machine, "-e", "writegate")
            check(code == 0 and "store is still set up" in said, f"removed without a word: {code}: {said}")
            check(not machine.inside(LIBRARY).exists(), "the library is left over")
            rpm(machine, "-i", "--nodeps", found[0])
            machine.run("writegate", "setup", "store", "--remove")
            unit.unlink()
            machine.run("sh", "-c", "kill $(cat /run/worker)", check=False)
            code, said = rpm(machine, "-e", "writegate")
            check(code == 0 and not said, f"rpm -e: {code}: {said}")
            left = changed(before, machine.etc())
            check(not left, f"after rpm -e: {left}")
            left = [str(path) for path in (machine.work / "layer/upper/usr").rglob("*") if path.is_file()]
            check(not left, f"rpm -e leaves {left}")
    return run
