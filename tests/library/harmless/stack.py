"""How much stack the hooks need, under a closed barrier: what docs/protocol.md says, and no more.

The deepest touched byte of a thread's stack, less what the same call needs bare.
"""
import subprocess
import threading
import time

import rig

# docs/developer/protocol.md: "Hooks".
MOST = 2048


def _depths(program, work, env, page=None):
    data = work / "stack-data"
    data.unlink(missing_ok=True)
    p = subprocess.Popen([program, work], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    done = threading.Event()

    def raise_again():
        # Each call meets a closed barrier, and passes it at the first deadline that it met.
        while not done.wait(0.004):
            rig.close_barrier(page, 0.01)

    p.stdout.readline()
    thread = None
    if page:
        rig.close_barrier(page, 0.01)
        thread = threading.Thread(target=raise_again)
        thread.start()
    try:
        p.stdin.write(b"\n")
        p.stdin.close()
        p.wait(timeout=60)
    finally:
        done.set()
        if thread:
            thread.join()
            rig.open_barrier(page)
        p.kill()
        p.wait()
    lines = [line.split() for line in data.read_text().replace("x", "\n").splitlines() if " " in line]
    return {name: int(size) for name, size in lines}


def cases(work):
    program = rig.build(work, "stack.c")
    bare = _depths(program, work, rig.clean())
    with rig.Tmpfs() as gates:
        page = rig.make_page(gates)
        for where, closed in (("closed", page), ("open", None)):
            most = {}
            for _ in range(4 if closed else 1):
                time.sleep(0.02)
                gated = _depths(program, work, rig.loaded(gates, WRITEGATE_PATHS=str(work)), closed)
                for name, size in gated.items():
                    most[name] = max(most.get(name, 0), size - bare[name])
            need = max(most.values(), default=0)
            text = ", ".join(f"{name} {size}" for name, size in sorted(most.items(), key=lambda x: -x[1]))
            bad = None if len(most) == len(bare) > 10 and need <= MOST else f"{need} bytes, {len(most)} of {len(bare)} calls"
            yield f"barrier {where}: bytes of stack: {text}", bad
