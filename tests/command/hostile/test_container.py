"""Root of a container (user, mount and process namespaces of its own) is another user here, whatever it looks like inside."""
import os
import subprocess
import unittest

from rig import LIBRARY, NOBODY, Rig, built, children_of, maps, wait_for

INTO = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "unshare", "--user", "--map-root-user",
        "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")


class Container(unittest.TestCase):
    def setUp(self):
        if subprocess.run([*INTO, "true"], capture_output=True, check=False).returncode:
            self.skipTest("no user namespaces for users here")
        self.rig = Rig()
        self.addCleanup(self.rig.close)

    def inside(self, argv, env=None, **kw):
        """A program as root of a container; its process id out here."""
        child = self.rig.start([*INTO, *argv], env or self.rig.env(), **kw)
        return wait_for(lambda: next(iter(children_of(child.pid)), None), what="the container"), child

    def stands(self, said):
        self.assertEqual((said.code, said.verdict, said.fields["procs"]), (0, "CONSISTENT", "4"), said)
        self.assertEqual(said.fields["coverage"], "full", said)

    def test_it_shows_what_never_goes_idle(self):
        """It is 0 in there, and its process 1."""
        _, attack = self.inside([built("attacker"), self.rig.control, "restless"], stdout=subprocess.PIPE)
        self.assertEqual(attack.stdout.readline(), b"ready\n")
        self.stands(self.rig.freeze())

    def test_it_puts_itself_behind_the_gate(self):
        pid, _ = self.inside(["sleep", "1000"], self.rig.gated())
        wait_for(lambda: b"libwritegate" in maps(pid) and b"/sleep" in maps(pid), what="the library")
        self.stands(self.rig.freeze())

    def test_it_writes_here_behind_a_page_of_its_own(self):
        """Its own file system is mounted where our gates are: a page there is not ours."""
        os.chmod(self.rig.data / "a", 0o666)
        writer = self.rig.attack("page-name", self.rig.theirs, self.rig.data / "a")
        said = self.rig.freeze()
        self.assertEqual((said.code, said.verdict), (65, "UNGATED"), said)
        self.assertIn(str(writer.pid).encode(), said.err)

    def test_it_writes_here_with_the_library_of_another_gate(self):
        """A gate of its own, on a tmpfs of its own, where it can do as it likes."""
        os.chmod(self.rig.data / "a", 0o666)
        env = {**self.rig.gated(), "WRITEGATE_DIR": str(self.rig.theirs)}
        script = f'mount -t tmpfs none {self.rig.theirs} && exec sh -c "exec sleep 1000 >> {self.rig.data / "a"}"'
        pid, _ = self.inside(["env", "-u", "LD_PRELOAD", "sh", "-c", f"export LD_PRELOAD={LIBRARY}; {script}"],
                             {k: v for k, v in env.items() if k != "LD_PRELOAD"})
        wait_for(lambda: b"/sleep" in maps(pid) and b"libwritegate" in maps(pid), what="the writer")
        said = self.rig.freeze()
        self.assertEqual((said.code, said.verdict), (65, "UNGATED"), said)
        self.assertIn(str(pid).encode(), said.err)


if __name__ == "__main__":
    unittest.main()
