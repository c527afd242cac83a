"""`status --prom` is Prometheus' text format, and the dashboard asks for nothing else."""
import json
import re
import shutil
import subprocess
import unittest

from rig import CHECKOUT, Rig

DASHBOARD = CHECKOUT / "contrib/grafana/writegate.json"
SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)\{(.*)\} (\S+)$')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


class Family:
    """One metric: its type, its help, its samples as (name, labels, value)."""

    def __init__(self, name):
        self.name, self.type, self.help, self.samples = name, None, None, []


def parse(text):
    """The text format, strictly; {name: Family}."""
    assert text.endswith("\n") and not text.endswith("\n\n"), "one newline at the end"
    families, family, seen = {}, None, set()
    for line in text.splitlines():
        if line.startswith("# "):
            _, what, name, words = line.split(" ", 3)
            if family is None or family.name != name:
                assert name not in families, f"{name} stands in two places"
                family = families[name] = Family(name)
            assert not family.samples and words, line
            assert what in ("HELP", "TYPE") and getattr(family, what.lower()) is None, line
            setattr(family, what.lower(), words)
            continue
        found = SAMPLE.match(line)
        assert found, f"not a sample: {line}"
        name, labels, value = found.groups()
        pairs = LABEL.findall(labels)
        assert ",".join(f'{k}="{v}"' for k, v in pairs) == labels, line
        assert (name, labels) not in seen, f"twice: {line}"
        seen.add((name, labels))
        suffixes = ("_bucket", "_sum", "_count") if family.type == "histogram" else ("",)
        assert name in [family.name + suffix for suffix in suffixes], f"{line} below {family.name}"
        family.samples.append((name, dict(pairs), float(value)))
    for family in families.values():
        assert family.type in ("gauge", "counter", "histogram") and family.help, family.name
        assert (family.type == "counter") == family.name.endswith("_total"), family.name
        if family.type == "histogram":
            check_histogram(family)
    return families


def check_histogram(family):
    """Buckets grow, end at +Inf, and that is the count."""
    for gate in {labels["gate"] for _, labels, _ in family.samples}:
        of = [(n, labels, v) for n, labels, v in family.samples if labels["gate"] == gate]
        buckets = [(float(labels["le"]), v) for n, labels, v in of if n.endswith("_bucket")]
        assert buckets == sorted(buckets) and buckets[-1][0] == float("inf"), buckets
        counts = [v for _, v in buckets]
        assert counts == sorted(counts), counts
        assert [v for n, _, v in of if n.endswith("_count")] == [counts[-1]]
        assert len([n for n, _, _ in of if n.endswith("_sum")]) == 1


def queries(dashboard):
    """Every expression that it sends to Prometheus."""
    found = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    return found + [v["query"]["query"] for v in dashboard["templating"]["list"]
                    if v["type"] == "query"]


class Prometheus(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.rig.worker("ungated-child")
        self.rig.worker("work", self.rig.file("a"))
        self.rig.make_gate("u-2.x@y")
        self.rig.worker("idle", gate="u-2.x@y")
        for _ in range(2):
            self.rig.freeze("--accept", "partial", "-g", "u-2.x@y", command=["sleep", "0.05"])
        self.rig.freeze("--accept", "partial", "-t", "100ms", command=["sleep", "0.3"])
        self.text = self.rig.run("status", "--prom").out
        self.dashboard = json.loads(DASHBOARD.read_text())

    def value(self, name, **labels):
        found = [v for n, have, v in parse(self.text)[name.removesuffix("_count")].samples
                 if n == name and have == labels]
        self.assertEqual(len(found), 1, (name, labels, self.text))
        return found[0]

    def test_it_parses_and_says_what_happened(self):
        for gate, verdict, count in (("t", "CONSISTENT", 2), ("t", "EXPIRED", 1),
                                     ("u-2.x@y", "CONSISTENT", 2)):
            self.assertEqual(self.value("writegate_freezes_total", gate=gate, verdict=verdict),
                             count)
        self.assertEqual(self.value("writegate_held_seconds_count", gate="t"), 3)
        self.assertEqual(self.value("writegate_drain_seconds_count", gate="u-2.x@y"), 2)
        self.assertEqual(self.value("writegate_processes", gate="t"), 2)
        self.assertEqual(self.value("writegate_ungated_processes", gate="t"), 1)
        self.assertEqual(self.value("writegate_ungated_processes", gate="u-2.x@y"), 0)

    def test_promtool_takes_it(self):
        promtool = shutil.which("promtool")
        if not promtool:
            self.skipTest("promtool (Debian: prometheus) is not there")
        done = subprocess.run([promtool, "check", "metrics"], input=self.text, text=True,
                              capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_parser_here_is_strict(self):
        for wrong in (self.text.replace('le="+Inf"', 'le="9"'),
                      self.text.replace("# TYPE writegate_processes gauge\n", ""),
                      self.text + "nonsense\n", self.text + self.text,
                      self.text.replace('gate="t"', 'gate="t', 1)):
            with self.assertRaises((AssertionError, ValueError)):
                parse(wrong)

    def test_the_dashboard_asks_for_what_there_is_and_for_all_of_it(self):
        families = parse(self.text)
        there = {name for family in families.values() for name, _, _ in family.samples}
        labels = {name: have for family in families.values() for name, have, _ in family.samples}
        asked = set()
        for expression in queries(self.dashboard):
            names = re.findall(r"\bwritegate_\w+", expression)
            self.assertTrue(names, expression)
            asked.update(names)
            for name in names:
                self.assertIn(name, there, expression)
            selected = re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", expression)
            grouped = [g.strip() for by in re.findall(r"by \(([^)]*)\)", expression)
                       for g in by.split(",")]
            for label in selected + grouped:
                self.assertIn(label, labels[names[0]], expression)
        self.assertEqual(there - asked, set(), "emitted, and shown nowhere")
        page = (CHECKOUT / "docs/admin/monitoring.md").read_text()
        documented = set(re.findall(r"^\| `(writegate_\w+)", page, re.M))
        self.assertEqual(documented, set(families))

    def test_the_dashboard_is_one(self):
        panels = self.dashboard["panels"]
        self.assertEqual(len({p["id"] for p in panels}), len(panels))
        taken = set()
        for panel in panels:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                     for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, f"{panel['title']} lies over another")
            self.assertLessEqual(at["x"] + at["w"], 24)
            taken |= cells
        text = DASHBOARD.read_text()
        self.assertEqual(set(re.findall(r'"uid": "(\$?[^"]*)"', text)),
                         {"${datasource}", "writegate"}, "no data source of somebody's own")
        for variable in set(re.findall(r"\$\{?(\w+)\}?", text)) - {"__range", "__rate_interval",
                                                                 "__all"}:
            self.assertIn(variable, [v["name"] for v in self.dashboard["templating"]["list"]])
