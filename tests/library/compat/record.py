"""Puts a suite's outcome into results/compat.json, and all of it as text beside it."""
import json
import os
import platform
import time


def put(path, suite, arguments, report):
    data = {}
    if os.path.exists(path):
        with open(path) as f:
            data = json.load(f)
    data[suite] = {"command": "scripts/compat-suites " + arguments, "date": time.strftime("%Y-%m-%d"),
                   "kernel": ".".join(platform.release().split(".")[:2]), "libc": " ".join(platform.libc_ver()), **report}
    with open(path, "w") as f:
        json.dump(data, f, indent=1, sort_keys=True)
        f.write("\n")
    with open(os.path.splitext(path)[0] + ".txt", "w") as f:
        f.write(text(data))


def text(data):
    lines = ["Third-party suites: bare, with the library and the barrier down (gated), and with a freezer that raises",
             "the barrier for 20 ms every 100 ms (cycling). A difference is a result that was not the bare one's, in",
             "that run and in two more of the same programs; unsteady is what differed once and not always.", ""]
    for suite, r in sorted(data.items()):
        lines.append(f"{suite}  ({r['date']}, Linux {r['kernel']}, {r['libc']})")
        lines.append(f"  {r['command']}")
        for mode in ("bare", "gated", "cycling"):
            m = r.get(mode)
            if not m:
                continue
            line = f"  {mode:8} {m['programs']} programs, {m['ended well']} ended well, {m['results']} results, {m['seconds']} s"
            if mode != "bare":
                line += f", {len(m.get('different', []))} different, {len(m.get('unsteady', []))} unsteady"
            if m.get("freezes"):
                line += "; freezes: " + ", ".join(f"{n} exit {c}" for c, n in m["freezes"].items())
            lines.append(line)
            for what in ("left out", "different", "unsteady"):
                lines += [f"    {what}: {x}" for x in m.get(what, [])]
        lines.append("")
    return "\n".join(lines)
