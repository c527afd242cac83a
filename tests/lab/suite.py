"""One way to choose tests, to run them and to count them, for every runner of this tree.

`--only PATTERN` is a shell pattern for a case's name; of a unit test it is compared with the whole name, the module,
the class and the test. A pattern that matches nothing is an error: exit 64, so that no run of nothing looks green.
The last line reads `N passed, N failed, N skipped`.

  tests/lab/suite.py FOLDER [--only PATTERN]     the test_*.py of a folder that has no runner of its own
"""
import argparse
import fnmatch
import sys
import unittest
import warnings
from pathlib import Path

NOTHING = 64


def parser(doc):
    """The options that every runner has."""
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--only", default="*", metavar="PATTERN", help="run only what has such a name")
    return found


def fits(name, pattern):
    """Is this the name of a case that is meant?"""
    return any(fnmatch.fnmatchcase(part, pattern) for part in (name, *name.split(".")))


def nothing(pattern, names):
    """Says that nothing was run; the exit code for that."""
    print(f"no case matches {pattern!r}: nothing was run; there are: {' '.join(names)}", file=sys.stderr)
    return NOTHING


def tests_of(suite):
    """All tests of a suite, however deep."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_of(test)
        else:
            yield test


def of_folder(folder, prefix=""):
    """The tests of a folder's test_*.py, as modules of that prefix."""
    names = [prefix + path.stem for path in sorted(Path(folder).glob("test_*.py"))]
    return unittest.defaultTestLoader.loadTestsFromNames(names)


def of_main():
    """The tests of the program itself."""
    return unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])


def count(suite, pattern, verbosity=2):
    """Runs what is meant: (passed, failed, skipped); none if nothing is meant."""
    every = list(tests_of(suite))
    broken = [test for test in every if isinstance(test, unittest.loader._FailedTest)]
    chosen = broken + [test for test in every if test not in broken and fits(test.id(), pattern)]
    if not chosen:
        return None
    warnings.simplefilter("ignore", ResourceWarning)
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=verbosity, warnings="ignore")
    result = runner.run(unittest.TestSuite(chosen))
    # A test with several bad subtests is one bad test.
    bad = {getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors}
    bad |= {test.id() for test in result.unexpectedSuccesses}
    for test, why in result.skipped:
        print(f"skipped: {test.id()}: {why}")
    failed, skipped = len(bad), len(result.skipped)
    return max(0, result.testsRun - failed - skipped), failed, skipped


def run(suite, pattern, verbosity=2):
    """Runs what is meant, prints the last line: the exit code."""
    suite = list(tests_of(suite))
    found = count(suite, pattern, verbosity)
    if found is None:
        return nothing(pattern, sorted({test.id().split(".")[-1] for test in suite}))
    passed, failed, skipped = found
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed + skipped else 0


def main():
    options = parser(__doc__)
    options.add_argument("folder", type=Path)
    options = options.parse_args()
    # As a package where it is one, so that its tests may import their neighbours.
    package = (options.folder / "__init__.py").exists()
    sys.path.insert(0, str(options.folder.resolve().parent if package else options.folder.resolve()))
    return run(of_folder(options.folder, f"{options.folder.name}." if package else ""), options.only)


if __name__ == "__main__":
    sys.exit(main())
