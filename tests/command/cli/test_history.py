"""When was the last good one? What `status` and the Nagios plugin say of a gate's past."""
import json
import subprocess
import unittest

from rig import BIN, CHECKOUT, Rig

PLUGIN = CHECKOUT / "contrib/nagios/check_writegate"


class History(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)

    def status(self):
        return self.rig.run("status").out, json.loads(self.rig.run("status", "--json").out)["gates"][0]

    def plugin(self, *args):
        env = self.rig.env(PATH=f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin")
        done = subprocess.run([PLUGIN, *args], env=env, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout

    def age(self, seconds):
        """Everything that is known happened so much earlier."""
        file = self.rig.dir / "t/history"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            line["at"] -= seconds
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def test_no_freeze_a_good_one_and_then_a_bad_one(self):
        self.rig.worker("idle")
        text, gate = self.status()
        self.assertIn("no freeze of it is known", text)
        self.assertEqual([gate[key] for key in ("last_freeze", "last_consistent", "last_line")], [None] * 3)
        self.assertEqual(self.plugin()[0], 2, "never is critical")

        self.rig.freeze(command=["true"])
        self.age(7200)
        text, gate = self.status()
        self.assertIn("last CONSISTENT freeze: 2 h 0 min ago", text)
        self.assertIn("verdict=CONSISTENT", gate["last_line"])
        self.assertEqual(gate["last_freeze"], gate["last_consistent"])
        code, said = self.plugin("-g", "t")
        self.assertEqual((code, said[:28]), (0, "OK: t: last CONSISTENT freeze"[:28]), said)
        self.assertEqual(self.plugin("-w", "1")[0], 1)
        self.assertEqual(self.plugin("-w", "1", "-c", "1")[0], 2)

        self.rig.freeze("-t", "100ms", command=["sleep", "0.3"])
        text, gate = self.status()
        self.assertIn("ago; the last freeze, ", text)
        self.assertGreater(gate["last_freeze"], gate["last_consistent"])
        self.assertIn("verdict=EXPIRED", gate["last_line"])

    def test_a_server_that_is_not_gated_is_a_warning(self):
        self.rig.worker("ungated-child")
        self.rig.freeze("--accept", "partial", command=["true"])
        code, said = self.plugin()
        self.assertEqual(code, 1, said)
        self.assertIn("not gated (writegate doctor -g t)", said)

    def test_what_the_plugin_cannot_ask_is_unknown(self):
        self.assertEqual(self.plugin("-g", "no-such-gate")[0], 3)
        self.assertEqual(self.plugin("-z")[0], 3)
