"""Facts about systems: their own kernels, which no cell runs (a system of its own shares this machine's kernel), and systems that
could not be had at all."""
from dataclasses import dataclass

# The first kernel that has it, and the row of docs/admin/systems.md that one without it is like.
LACKS = (((4, 16), "Linux 3.10", "membarrier for other processes"), ((5, 9), "fanotify without names", "fanotify with names"))
EVERYTHING = "everything there"


def like(kernel):
    """The row of docs/admin/systems.md that says what to expect of it."""
    at = tuple(int(part) for part in kernel.split(".")[:2])
    return next((row for first, row, _ in LACKS if at < first), EVERYTHING)


@dataclass(frozen=True)
class System:
    name: str
    kernel: str
    libc: str
    why: str = ""                                       # it was not tried


TRIED = {"bullseye": System("Debian 11", "5.10", "2.31"), "bookworm": System("Debian 12", "6.1", "2.36"),
         "trixie": System("Debian 13", "6.12", "2.41")}
MIRROR = "no mirror of it is reached from here"
NOT_TRIED = (
    System("Debian 10", "4.19", "2.28", "gone from Debian's mirrors"),
    System("Ubuntu 20.04 LTS", "5.4", "2.31", MIRROR),
    System("Ubuntu 22.04 LTS", "5.15", "2.35", MIRROR),
    System("Ubuntu 24.04 LTS", "6.8", "2.39", MIRROR),
    System("RHEL 7, CentOS 7", "3.10", "2.17", MIRROR),
    System("RHEL 8, Rocky, Alma", "4.18", "2.28", MIRROR),
    System("RHEL 9, Rocky, Alma", "5.14", "2.34", MIRROR),
    System("RHEL 10, Rocky, Alma", "6.12", "2.39", MIRROR),
)
