"""The JSON documents against their tables in docs/admin/report.md: no field without a row, no row without a field."""
import json
import re
import unittest

from rig import CHECKOUT, Rig


def table(heading):
    """The fields of the first table behind these words: {field}, and what stands beside each."""
    page = (CHECKOUT / "docs/admin/report.md").read_text()
    part = page[page.index(heading):]
    rows = re.findall(r"^\|(.*)\|(.*)\|$", part[part.index("|---"):].split("\n\n")[0], re.M)
    fields = {}
    for names, meaning in rows[1:]:
        for name in re.findall(r"`([a-z_0-9]+)`", names):
            fields[name] = set(re.findall(r"`([a-z_0-9]+)`", meaning))
    return fields


class Documents(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.rig.worker("idle")

    def shown(self, *args):
        return json.loads(self.rig.run(*args, "--json").out)

    def nested(self, rows, field, documented):
        self.assertTrue(rows, f"no {field} to look at")
        self.assertLessEqual(set(rows[0]), documented[field], field)

    def test_status(self):
        self.rig.freeze()
        shown = self.shown("status")
        self.assertEqual((set(shown), shown["schema"]), ({"schema", "gates"}, 1))
        documented = table("| field of a gate |")
        self.assertEqual(set(shown["gates"][0]), set(documented))
        self.nested(shown["gates"][0]["processes"], "processes", documented)

    def test_doctor(self):
        shown = self.shown("doctor", "-g", "t")
        documented = table("`writegate doctor --json`:")
        self.assertEqual((set(shown), shown["schema"]), (set(documented), 1))
        self.nested(shown["processes"], "processes", documented)

    def test_rehearse(self):
        shown = self.shown("rehearse", "-g", "t", "-n", "1")
        documented = table("`writegate rehearse --json`:")
        self.assertEqual((set(shown), shown["schema"]), (set(documented), 1))
        for field in "drain_ms", "recommended":
            self.assertEqual(set(shown[field]), documented[field], field)


if __name__ == "__main__":
    unittest.main()
