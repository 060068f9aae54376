"""Processor time of families of processes, and of everybody else.

What the kernel does for network packets is counted nowhere here unless it does it in
the middle of a process's own system call: interrupts and kernel threads work for
whoever has the load, which is us. So only processes count as others, and what a
hypervisor took. Time of a process that has ended lives on in its parent.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_KERNEL_THREAD = 0x00200000
_STOLEN = 8
"""Place of the hypervisor's time in the line of all processors."""


@dataclass(frozen=True, slots=True)
class Process:
    """What the kernel tells of one.

    Parameters
    ----------
    parent : int
        Its parent's number.
    seconds : float
        Processor time that it and its ended children took, user and system.
    is_kernel_thread : bool
        Whether it is a part of the kernel.
    """

    parent: int
    seconds: float
    is_kernel_thread: bool


def parse_process(text: str) -> Process:
    """Read ``/proc/PID/stat``; the name in parentheses may hold anything."""
    fields = text.rpartition(")")[2].split()
    seconds = sum(map(int, fields[11:15])) / _TICKS
    return Process(int(fields[1]), seconds, bool(int(fields[6]) & _KERNEL_THREAD))


def processes() -> dict[int, Process]:
    """Return all processes that there are, by number."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                text = Path("/proc", name, "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            found[int(name)] = parse_process(text)
    return found


def family(root: int, among: dict[int, Process]) -> set[int]:
    """Return a process, its children, theirs, and so on."""
    children = defaultdict(list)
    for number, process in among.items():
        children[process.parent].append(number)
    found, ahead = set(), [root]
    while ahead:
        number = ahead.pop()
        found.add(number)
        ahead += children[number]
    return found


def seconds_of(root: int) -> float:
    """Processor time that a process and its descendants have taken."""
    among = processes()
    return sum(among[each].seconds for each in family(root, among) if each in among)


def seconds_of_others() -> float:
    """Processor time that all have taken who are not our descendants, and not we."""
    among = processes()
    ours = family(os.getpid(), among)
    theirs = sum(
        process.seconds
        for number, process in among.items()
        if number not in ours and not process.is_kernel_thread
    )
    return theirs + stolen_seconds(Path("/proc/stat").read_text())


def stolen_seconds(text: str) -> float:
    """Read from ``/proc/stat`` the time that a hypervisor gave to other machines."""
    return int(text.split(maxsplit=_STOLEN + 1)[_STOLEN]) / _TICKS


__all__ = [
    "Process",
    "family",
    "parse_process",
    "processes",
    "seconds_of",
    "seconds_of_others",
    "stolen_seconds",
]
