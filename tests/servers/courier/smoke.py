#!/usr/bin/env python3
"""The short slice of scripts/evaluate courier, for scripts/test.

    tests/servers/courier/smoke.py          WRITEGATE_BIN_DIR names the binaries if not target/release
"""
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]     # servers, lab
from mta import report, smoke, trial            # noqa: E402
from courier import evaluate                    # noqa: E402


def main():
    count = smoke.Count()
    smoke.unit_tests(count, "courier/test_queuedir.py")
    smoke.trials(count, evaluate.SERVER, [
        # No control: of six snapshots without the gate too few go wrong here to count on it
        # (scripts/evaluate courier takes 30).
        report.Part("under the gate mail is conserved",
                    # On a starved machine the rest may not come in time: NOT_DRAINED then is honest.
                    trial.Options(count=2, retries=1, profile=str(evaluate.PROFILE))),
    ])
    return count.close()


if __name__ == "__main__":
    sys.exit(main())
