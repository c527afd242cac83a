"""What is linked into the command and the library, and under which licences: the copyright file and the SBOM
(CycloneDX 1.5), both from Cargo's own list. Everything is linked statically, so all of it is in the files."""
import json
import subprocess
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def crates():
    """[(name, version, licence, folder)] of every crate that is linked in or runs while compiling."""
    listed = json.loads(subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    packages = {package["id"]: package for package in listed["packages"]}
    edges = {node["id"]: [d["pkg"] for d in node["deps"] if any(k["kind"] is None for k in d["dep_kinds"])]
             for node in listed["resolve"]["nodes"]}
    names = {"writegate", "writegate-preload"}
    queue = [i for i, package in packages.items() if package["name"] in names and package["source"] is None]
    seen = set()
    while queue:
        if (one := queue.pop()) not in seen:
            seen.add(one)
            queue += edges[one]
    found = [packages[one] for one in seen if packages[one]["source"]]
    return sorted((p["name"], p["version"], p["license"] or "?", Path(p["manifest_path"]).parent) for p in found)


def own_text(folder):
    """A crate's own MIT text, where that is the licence taken."""
    for name in "LICENSE-MIT", "LICENSE", "LICENSE.txt", "LICENSE.md", "LICENSE-MIT.txt":
        if (folder / name).exists():
            return (folder / name).read_text(errors="replace")
    raise SystemExit(f"{folder.name} brings no licence text: its licence must be copied by hand")


def indented(text):
    return "\n".join(" " + (line.rstrip() or ".") for line in text.strip().splitlines())


def copyright_file(maintainer):
    """Debian's machine-readable form."""
    parts = ["Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/",
             f"Upstream-Name: writegate\nUpstream-Contact: {maintainer}",
             "", "Files: *\nCopyright: the writegate developers\nLicense: Expat",
             "", "License: Expat\n" + indented((ROOT / "LICENSE").read_text().partition("Permission")[1]
                                               + (ROOT / "LICENSE").read_text().partition("Permission")[2])]
    comment = ["What is linked into /usr/bin/writegate and libwritegate.so, statically:",
               "the GNU C Library (command only), LGPL-2.1-or-later; /usr/share/common-licenses/LGPL-2.1.",
               "  To link it anew with another one: scripts/build-portable of the source.",
               "the standard library of Rust, MIT or Apache-2.0."]
    texts = []
    for name, version, licence, folder in crates():
        comment.append(f"{name} {version}, {licence}")
        if "Apache-2.0" not in licence:
            texts.append(f"{name} {version}:\n\n{own_text(folder)}")
    comment.append("Where one can choose, it is Apache-2.0: /usr/share/common-licenses/Apache-2.0.")
    parts[4:4] = ["Comment:\n" + indented("\n".join(comment) + "\n\n" + "\n\n".join(texts))]
    return "\n".join(parts[:2]) + "\n" + parts[4] + "\n" + "\n".join(parts[2:4] + parts[5:]) + "\n"


def sbom(version):
    """CycloneDX, without a time in it: the same source gives the same bytes."""
    components = [{"type": "library", "name": name, "version": number, "licenses": [{"expression": licence.replace("/", " OR ")}],
                   "purl": f"pkg:cargo/{name}@{number}"} for name, number, licence, _ in crates()]
    glibc = {"type": "library", "name": "glibc", "licenses": [{"license": {"id": "LGPL-2.1-or-later"}}],
             "description": "linked into the command; its version is that of the machine that built it"}
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components))
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{serial}", "version": 1,
                       "metadata": {"component": {"type": "application", "name": "writegate", "version": version,
                                                  "licenses": [{"license": {"id": "MIT"}}]}},
                       "components": [*components, glibc]}, indent=1) + "\n"
