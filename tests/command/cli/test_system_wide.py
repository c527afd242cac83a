"""/etc/ld.so.preload: the library comes into every program, this command among them."""
import os
import shutil
import subprocess
import unittest

from rig import LIBRARY, Rig, WRITEGATE

WHY_NOT = ("needs root" if os.geteuid() != 0 else
           None if shutil.which("unshare") else "needs unshare")


@unittest.skipIf(WHY_NOT, WHY_NOT)
class SystemWide(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)

    def inside(self, script):
        """Runs it where /etc is a copy whose ld.so.preload names the library."""
        etc = self.rig.work / "etc"
        shutil.copytree("/etc", etc, symlinks=True)
        (etc / "ld.so.preload").write_text(f"{LIBRARY}\n")
        env = self.rig.env(WRITEGATE_GATE="t", WRITEGATE_PATHS=str(self.rig.data))
        return subprocess.run(["unshare", "-m", "sh", "-c", f"mount --bind {etc} /etc && {script}"],
                              env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60)

    def test_the_command_is_not_gated(self):
        """It holds the gate's lock and maps its page: gated, it would be one of those it waits for."""
        self.rig.make_gate("t")
        wrapped = f"{WRITEGATE} freeze -g t -t 2s --retries 0 -- sh -c 'echo >> {self.rig.file('x')}'"
        in_two = (f"token=$({WRITEGATE} freeze -g t -t 2s --retries 0 | head -1) && "
                  f"{WRITEGATE} status -g t && {WRITEGATE} thaw $token")
        said = self.inside(f"sleep 20 & sleep 0.5; {wrapped} && {in_two}; code=$?; kill $!; exit $code")
        self.assertEqual(said.returncode, 0, said.stdout)
        self.assertEqual(said.stdout.count("verdict=CONSISTENT coverage=full"), 2, said.stdout)
        # sleep is; neither the command nor its helper and keeper.
        self.assertIn(" sleep ", said.stdout)
        self.assertNotIn("writegate-", said.stdout)
        self.assertIn("procs=1 ", said.stdout)
