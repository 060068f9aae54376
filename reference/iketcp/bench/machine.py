"""On what a benchmark ran: as much as figures need, and nothing that names the host."""

from __future__ import annotations

import os
import platform
import ssl
from importlib.metadata import version
from pathlib import Path

import iketcp

CPU_INFORMATION = Path("/proc/cpuinfo")
LIBRARIES = ("cryptography", "numpy")


def describe() -> dict[str, object]:
    """Return processor, kernel and versions."""
    return {
        "processor": processor_model(),
        "processors": os.cpu_count(),
        "system": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "iketcp": iketcp.__version__,
        **{name: version(name) for name in LIBRARIES},
    }


def processor_model(path: Path = CPU_INFORMATION) -> str:
    """Name of the processor's model, or of its architecture where none is told."""
    if path.exists():
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.machine()


__all__ = ["describe", "processor_model"]
