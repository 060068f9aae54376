"""Packaging of iketcp: ``pip install .`` (tool configuration: pyproject.toml)."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
PACKAGE = HERE / "reference" / "iketcp"

version = re.search(
    r'^__version__ = "(.+)"$', (PACKAGE / "__init__.py").read_text("utf-8"), re.M
)
if version is None:
    raise SystemExit("no __version__ in reference/iketcp/__init__.py")

TEST = [
    "hypothesis>=6.100",
    "jsonschema>=4.18",
    "pytest>=8.2",
    "pytest-cov>=5",
    "pytest-xdist>=3.6",
    "scapy>=2.6",
]

setup(
    name="iketcp",
    version=version[1],
    description="Reference implementation of IKE and IPsec over TCP (RFC 9329)",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    package_dir={"": "reference"},
    packages=find_packages("reference"),
    package_data={"iketcp": ["py.typed"]},
    python_requires=">=3.11",
    install_requires=[
        "cryptography>=47",
        "numpy>=1.26",
        "pycryptodomex>=3.15",
        "pyOpenSSL>=25.1",
        "pyroute2>=0.7",
        "python-pytun>=2.4; sys_platform == 'linux'",
        "rich>=13",
        "typer>=0.12",
    ],
    extras_require={
        "test": TEST,
        "dev": [*TEST, "mypy>=1.13", "ruff>=0.8"],
    },
    entry_points={"console_scripts": ["iketcp = iketcp.cli:main"]},
    zip_safe=False,
)
