#!/usr/bin/env python3
"""The short slice of scripts/evaluate exim, for scripts/test.

    tests/servers/exim/smoke.py          WRITEGATE_BIN_DIR names the binaries if not target/release
"""
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]     # servers, lab
from exim import evaluate                    # noqa: E402
from mta import report, smoke, trial            # noqa: E402


def main():
    count = smoke.Count()
    smoke.unit_tests(count, "mta/test_conserve.py", "exim/test_spool.py")
    smoke.trials(count, evaluate.SERVER, [
        report.Part("without the gate the checker goes red",
                    trial.Options(count=2, gated=False), must="red"),
        report.Part("under the gate mail is conserved, a restore too",
                    trial.Options(count=4, restores=1, profile=str(evaluate.PROFILE)),
                    must="conserve"),       # a delivery asleep for a busy mbox is NOT_DRAINED
    ])
    return count.close()


if __name__ == "__main__":
    sys.exit(main())
