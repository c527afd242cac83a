"""What is the freezer's is the freezer's alone, whatever umask it was started with: no other user opens, locks,
fills, removes or answers it. Asked as another local user, as the service's own user (a process that was taken over), and
as root of a user namespace (a container)."""
import os
import shutil
import subprocess
import unittest

from rig import LIBRARY, MAIL, NOBODY, WRITEGATE, Rig

# What one tries, and how it went: a line each. `0` is success.
TRY = r"""
import fcntl, os, socket, sys
gate = sys.argv[1]
def raise_the_barrier():
    os.pwrite(os.open(gate + "/control", os.O_RDWR), b"\xff" * 8, 32)
def hold_the_lock():
    fcntl.flock(os.open(gate + "/lock", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
def answer_for_the_keeper():
    socket.socket(socket.AF_UNIX).connect(gate + "/keeper")
def add_a_file():
    open(gate + "/new", "w").close()
def remove_the_page():
    os.unlink(gate + "/control")
def replace_the_gate():
    os.rename(gate, gate + "-gone")
for act in raise_the_barrier, hold_the_lock, answer_for_the_keeper, add_a_file, remove_the_page, replace_the_gate:
    try:
        act()
        print(act.__name__, 0)
    except OSError as e:
        print(act.__name__, e.errno)
"""
ACTS = 6
REFUSED = (1, 13)                                       # EPERM, EACCES


class Rights(unittest.TestCase):
    """A gate whose page, lock and socket were made by a root without any umask."""

    def setUp(self):
        self.rig = Rig(service=False)
        self.addCleanup(self.rig.close)
        gates = self.rig.work / "open"
        done = subprocess.run(["sh", "-c", 'umask 0; exec "$@"', "sh", WRITEGATE, "exec", "-g", "t", "--library", LIBRARY, "--",
                               "true"], env=self.rig.env(WRITEGATE_DIR=str(gates)), capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done)
        self.rig.dir = gates
        self.rig.service = self.rig.honest(2)

    def frozen(self):
        """A freeze that stands: its token."""
        done = subprocess.run(["sh", "-c", 'umask 0; exec "$@"', "sh", WRITEGATE, "freeze", "-g", "t", "-t", "30s"],
                              env=self.rig.env(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout.strip()

    def tried(self, *become):
        said = subprocess.run([*become, "python3", "-S", "-c", TRY, self.rig.dir / "t"], capture_output=True, text=True,
                              env=self.rig.env(), timeout=60, check=False)
        how = dict(line.split() for line in said.stdout.splitlines())
        self.assertEqual(len(how), ACTS, said)
        return {act: int(number) for act, number in how.items()}

    def stands_and_is_refused(self, *become):
        token = self.frozen()
        for act, error in self.tried(*become).items():
            self.assertIn(error, REFUSED, f"{act} as {become}")
        self.assertNotEqual(self.rig.barrier(), 0, "the freeze stands")
        said = self.rig.run("thaw", token)
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)

    def test_another_local_user(self):
        self.stands_and_is_refused("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")

    def test_the_services_own_user(self):
        self.stands_and_is_refused("setpriv", f"--reuid={MAIL}", f"--regid={MAIL}", "--clear-groups")

    def test_root_of_a_user_namespace(self):
        become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "unshare", "-r")
        if subprocess.run([*become, "true"], capture_output=True, check=False).returncode:
            self.skipTest("no user namespaces for users here")
        self.stands_and_is_refused(*become)

    def test_what_root_may_do_the_others_were_refused(self):
        """The tries themselves are right: root succeeds in each."""
        self.frozen()
        how = self.tried()
        lock = how.pop("hold_the_lock")
        self.assertEqual(set(how.values()), {0}, how)
        self.assertEqual(lock, 11, "the freezer has it")

    def test_a_stranger_has_the_token(self):
        """Read off a screen, or out of a log."""
        token = self.frozen()
        env = self.rig.env()
        said = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", WRITEGATE, "thaw", token],
                              env=env, capture_output=True, text=True, timeout=60, check=False)
        self.assertNotEqual(said.returncode, 0, said)
        self.assertNotIn("CONSISTENT", said.stdout + said.stderr)
        self.assertNotEqual(self.rig.barrier(), 0, "the freeze stands")
        said = self.rig.run("thaw", token)
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)


class Report(unittest.TestCase):
    def test_a_report_into_a_folder_of_another_user(self):
        """It lays links where root is about to write: nothing of root's is written through them."""
        rig = Rig()
        self.addCleanup(rig.close)
        mine = rig.work / "root's"
        mine.write_text("root's own")
        script = (f'for n in $(seq $(($$ - 5)) $(($$ + 40))); do ln -s "{mine}" {rig.theirs}/r.json.$n; done; '
                  f'chown -h {NOBODY}:{NOBODY} {rig.theirs}/*; exec "$@"')
        said = subprocess.run(["sh", "-c", script, "sh", WRITEGATE, "freeze", "-g", "t", "--report", rig.theirs / "r.json", "--", "true"],
                              env=rig.env(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(mine.read_text(), "root's own", said)
        self.assertEqual(said.returncode, 0, said)
        self.assertIn('"verdict"', (rig.theirs / "r.json").read_text())


SET_ID = "#include <unistd.h>\nint main(void) { return write(1, \"ran\\n\", 4) != 4; }\n"


class SetId(unittest.TestCase):
    def test_a_set_id_program_believes_no_variable(self):
        """The library in root's set-id program: whoever starts that may not say where it makes files."""
        rig = Rig(service=False)
        self.addCleanup(rig.close)
        source, program = rig.work / "p.c", rig.work / "p"
        source.write_text(SET_ID)
        library = rig.work / "library"
        library.mkdir()
        shutil.copy(LIBRARY, library)
        subprocess.run(["gcc", "-o", program, source, library / LIBRARY.name, f"-Wl,--no-as-needed,-rpath,{library}"], check=True)
        os.chmod(rig.theirs, 0o777)
        env = rig.env(WRITEGATE_DIR=str(rig.theirs), WRITEGATE_GATE="made")

        def made(*become):
            said = subprocess.run([*become, program], env=env, capture_output=True, timeout=30, check=False)
            self.assertEqual((said.returncode, said.stdout), (0, b"ran\n"), said)
            there = (rig.theirs / "made").exists()
            shutil.rmtree(rig.theirs / "made", ignore_errors=True)
            return there
        self.assertTrue(made(), "the library is in it, and makes a gate where it is told to")
        os.chmod(program, 0o4755)
        become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        probe = shutil.copy(shutil.which("id"), rig.work / "id")
        os.chmod(probe, 0o4755)
        if subprocess.run([*become, probe, "-u"], capture_output=True, check=False).stdout.strip() != b"0":
            self.skipTest("set-id programs have no effect here")
        self.assertFalse(made(*become), "it believed WRITEGATE_DIR")


if __name__ == "__main__":
    unittest.main()
