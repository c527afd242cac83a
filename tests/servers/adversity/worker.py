"""A gated writer for the tests beside it: does what its one argument says, step by step.

    worker.py SCRIPT        Python; `say(word)` prints, `wait()` returns when a line comes in

Started by `gated()`; it ends with its input.
"""
import os
import subprocess
import sys


def wait():
    if not sys.stdin.readline():
        os._exit(0)


def say(word):
    print(word, flush=True)


class Gated:
    """A worker under the gate (or bare, gate=None), and the two ends of its pipes."""

    def __init__(self, gate, script, cwd):
        env = gate.environment() if gate else dict(os.environ)
        self.process = subprocess.Popen([sys.executable, __file__, script], cwd=cwd, env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid

    def expect(self, word):
        line = self.process.stdout.readline().strip()
        assert line == word, f"the worker said {line!r}, not {word!r}"

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


if __name__ == "__main__":
    import fcntl  # noqa: F401 (for the script)
    exec(sys.argv[1])                                   # the test's own text
    wait()
