"""The tables say what the lines say, a cell without a line says so, and the page is the one that the lines make."""
import unittest

from evaluation import every
from evaluation.legacy import cell, main, page, systems


def record(**more):
    series = {"snapshots": 3, "taken": 3, "torn": 0, "drains_ms": [], "quiet": [], "clients_failed": 0, "first_errors": [],
              "said": []}
    return {"system": "bullseye", "server": "exim", "snapshots": 3, "seed": 1,
            "build": {"checkout": "abc", "libwritegate.so": "l", "writegate": "w"},
            "libc_needs": {"versions": [], "libraries": []},
            "environment": {"name": "Debian GNU/Linux 11 (bullseye)", "libc": "2.31-13", "load_average_1min": 2.4, "cores": 2,
                            "cpu": "x", "kernel": "6.1", "package": "exim4-daemon-light 4.94.2-7+deb11u3"},
            "ungated": {**series, "torn": 2}, "setup": {"exit": 0, "verdict": "CONSISTENT", "doctor_before": 65, "doctor_after": 0},
            "gated": {**series, "drains_ms": [5.0, 7.0, 30.0]}, **more}


class Page(unittest.TestCase):
    def test_a_row(self):
        self.assertEqual(page.row(record()), ["Debian 11 (bullseye)", "glibc 2.31", "Exim 4.94.2", "CONSISTENT, green", "2 of 3",
                                              "0 of 3", "3 of 3", "7.0", "30", "2"])

    def test_what_has_no_line_was_not_tried(self):
        rows = list(page.cells([record()]))
        self.assertEqual(sum(page.NOT_TRIED in row for row in rows), len(rows) - 1)
        self.assertEqual(len(rows), 4 * 4 + 1)

    def test_the_set_up_failed(self):
        shown = page.row(record(gated=None, setup={"exit": 78, "verdict": "NONE", "doctor_before": 65, "doctor_after": 65}))
        self.assertEqual(shown[3:], ["NONE, exit code 65", "2 of 3", "-", "-", "-", "-", "2"])

    def test_the_last_line_counts_but_for_a_shorter_run(self):
        longer, shorter = record(), record(snapshots=2)
        self.assertIs(page.latest([longer, shorter])["bullseye", "exim"], longer)
        self.assertIs(page.latest([shorter, longer])["bullseye", "exim"], longer)

    def test_versions(self):
        self.assertEqual([page.upstream(v) for v in ("1:2.3.13+dfsg1-2+deb11u2", "3.2.6-2", "4.94.2-7", "3.12.1~rc1-1")],
                         ["2.3.13", "3.2.6", "4.94.2", "3.12.1"])

    def test_kernels(self):
        self.assertEqual([systems.like(k) for k in ("3.10", "4.18", "5.8", "5.9", "5.10", "6.8")],
                         ["Linux 3.10", "fanotify without names", "fanotify without names", *[systems.EVERYTHING] * 3])

    def test_only_what_is_between_the_marks_is_made(self):
        text = f"before\n{page.BEGIN}\nold\n{page.END}\nbehind\n"
        made = page.page(text, [record()])
        self.assertTrue(made.startswith("before\n") and made.endswith("\nbehind\n") and "old\n" not in made)
        self.assertEqual(page.page(made, [record()]), made)
        with self.assertRaises(ValueError):
            page.page("no marks", [])

    def test_the_page_is_the_one_that_the_lines_make(self):
        text = page.PAGE.read_text()
        self.assertEqual(page.page(text, every.lines(main.RESULTS)), text, "run: scripts/evaluate legacy --table")


class Wrong(unittest.TestCase):
    def test_a_cell_as_it_must_be(self):
        self.assertEqual(cell.wrong(record()), [])

    def test_each_thing_that_is_not(self):
        good = record()
        for what, more in (("torn", {"gated": {**good["gated"], "torn": 1, "first_wrong": ["x"]}}),
                           ("not CONSISTENT", {"gated": {**good["gated"], "taken": 2}}),
                           ("shows nothing", {"ungated": {**good["ungated"], "torn": 0}}),
                           ("at rest", {"ungated": {**good["ungated"], "quiet": ["x"]}}),
                           ("failed operations", {"gated": {**good["gated"], "clients_failed": 1}}),
                           ("doctor is not green", {"setup": {**good["setup"], "doctor_after": 65, "doctor_said": ""}}),
                           ("blind", {"setup": {**good["setup"], "doctor_before": 0}}),
                           ("exit code 78", {"setup": {**good["setup"], "exit": 78}})):
            with self.subTest(what):
                self.assertIn(what, " ".join(cell.wrong(record(**more))))


if __name__ == "__main__":
    unittest.main()
