"""The witness: what the kernel saw of a freeze, and whether that agrees with the verdict.

It knows nothing of writegate's protocol and nothing of any mail format. `scripts/witness` is its command.

| file | duty |
|---|---|
| `events.py` | which of the kernel's events are recorded |
| `tracefs.py` | an instance of the kernel's tracing of its own |
| `recorder.py` | runs a command and records it |
| `instant.sh`, `wrapper.py` | a freeze says its own instants in the record |
| `raw.py` | reads a record back |
| `descriptors.py` | who has which descriptor |
| `kernel_locks.py` | which locks are held |
| `world.py` | replays the events: tasks, descriptors, locks, changes |
| `freezes.py` | the freezes of a record |
| `exemptions.py` | what the gate allows on purpose |
| `judge.py` | the rules |
| `verdict.py` | what is said of a record |
"""
