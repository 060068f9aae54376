"""The rules of the house, checked on the source as it stands.

Layering, purity, size, citations and words. Each failure names file, line and rule.
"""

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "reference"
PACKAGE = REFERENCE / "iketcp"
MODULES = sorted(PACKAGE.rglob("*.py"))

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

# Lowest first. A module imports from rows above its own and, in its own row, from its
# own package. A name stands for that module or package with all inside it, unless a
# longer name in another row says otherwise.
FLOORS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("0 numbers, octets, errors", ("", "environment", "errors", "octets", "registry")),
    (
        "1 framing, primitives",
        ("datagram", "stream", "crypto", "inner", "selectors"),
    ),
    ("1 offloads", ("offload",)),
    (
        "1 wire formats, records",
        (
            "child_sa",
            "ike.configuration",
            "ike.distinguished_name",
            "ike.header",
            "ike.identity",
            "ike.keywords",
            "ike.message",
            "ike.payloads",
            "ike.proposals",
            "keylog",
        ),
    ),
    ("1 EAP", ("eap",)),
    ("2 behaviour of IKE and of ESP", ("ike", "esp")),
    ("2 effects", ("effects",)),
    ("3 mapping", ("agenda", "half_open", "mapping")),
    ("4 endpoint", ("endpoint",)),
    ("4 IPsec in the kernel", ("xfrm",)),
    ("4 relay", ("relay",)),
    ("5 sockets and devices", ("net",)),
    ("5 TLS in memory", ("eap.openssl",)),
    ("6 configuration", ("config",)),
    ("6 threads", ("peers",)),
    ("7 captures, vectors", ("capture", "vectorlib")),
    ("7 demo", ("demo",)),
    ("7 benchmarks", ("bench",)),
    (
        "7 command line",
        (
            "bench_command",
            "console",
            "relay_command",
            "status_view",
            "cli",
            "__main__",
        ),
    ),
)
LAST_PURE_ROW = [name for name, _ in FLOORS].index("4 relay")

IMPURE = frozenset(
    {
        "_thread",
        "asyncio",
        "concurrent",
        "logging",
        "multiprocessing",
        "os",
        "queue",
        "random",
        "secrets",
        "select",
        "selectors",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "threading",
        "time",
    }
)

# MD4 and DES, which MS-CHAPv2 is made of, are in the second one only.
LIBRARIES = ("cryptography", "Cryptodome")

# What sums and compares many packets in one step.
OWN_LIBRARIES = {"offload": ("numpy",), "esp.alike": ("numpy",)}

# Floors that are ours by design and come from no section of any RFC.
WITHOUT_SOURCE = {
    "agenda",
    "environment",
    "effects",
    "offload",
    "offload.alike",
    "offload.coalescing",
    "offload.fair_queue",
    "offload.rows",
    "offload.segmentation",
    "offload.vnet_header",
}

# Programs that talk to a terminal.
MAY_PRINT = ("cli", "demo", "vectorlib")

# IDi and IDr, TSi and TSr: two payload types of one form, and what tells them apart.
MAY_SAY_IS_INITIATOR = {
    "IdPayload",
    "TsPayload",
    "_decode_id",
    "_decode_ts",
    "find_identity",
}

CITATION = re.compile(
    r"RFC\s+(?P<rfc>\d{3,5})(?P<sections>"
    r"\s+(?:§|App\.)\s?\w[\w.]*(?:(?:,|\s+and|\s+to)\s+(?:§|App\.)\s?\w[\w.]*)*)"
)
SECTION = re.compile(r"(?:§|App\.)\s?(\w+(?:\.\w+)*)")
SOURCE_OF_NOTHING = re.compile(r"(?<!class )\bSource:(?!\s+RFC\s+\d{3,5}\b)")
MACHINE_PATH = re.compile(r"(?<![\w.:}])/(?:home|root|tmp|work|Users|opt|mnt)/\w")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b(?!.*\[\d{4}-[\w.-]+\])")
RFC_IN_NAME = re.compile(r"rfc_?(?!822)\d{3}", re.I)  # RFC822 is IANA's word
SPELLINGS = {
    r"(?<!CREATE_)CHILD_SA(?!_NOT_FOUND)": "write Child SA (only the exchange and "
    "the Notify have CHILD_SA in their names)",
    r"\b[Rr]e-key": "write rekey",
}


def module_name(path: Path) -> str:
    """Name below ``iketcp``: ``ike.keys``; the package itself is the empty string."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(name: str) -> int | None:
    """Row of ``FLOORS`` with the longest match for a module, or ``None``."""
    best, row = -1, None
    for index, (_, members) in enumerate(FLOORS):
        for member in members:
            is_inside = name == member or (member and name.startswith(member + "."))
            if is_inside and len(member) > best:
                best, row = len(member), index
    return row


def room_of(name: str) -> str:
    """Outermost package of a module; the empty string at the top level."""
    head = name.partition(".")[0]
    return head if (PACKAGE / head).is_dir() else ""


def is_pure(name: str) -> bool:
    """Whether a module belongs to a floor without I/O."""
    row = floor_of(name)
    return row is not None and row <= LAST_PURE_ROW


@cache
def text_of(path: Path) -> str:
    """Content of a file."""
    return path.read_text("utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    """Syntax tree of a module."""
    return ast.parse(text_of(path), str(path))


def where(path: Path, line: int, rule: str) -> str:
    """One finding, in the form editors can follow."""
    return f"{path.relative_to(ROOT)}:{line}: {rule}"


def line_of(text: str, offset: int) -> int:
    """Line number of an offset."""
    return text.count("\n", 0, offset) + 1


def report(findings: Iterable[str]) -> None:
    """Fail with every finding on a line of its own."""
    found = sorted(set(findings))
    if found:
        pytest.fail("\n" + "\n".join(found), pytrace=False)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything a module imports, wherever it does so."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, where(path, node.lineno, "relative import")
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def house_import(name: str) -> str | None:
    """Name below ``iketcp`` of the module that an imported name lies in."""
    top, *parts = name.split(".")
    if top != "iketcp":
        return None
    while parts:
        path = PACKAGE.joinpath(*parts)
        if path.is_dir() or path.with_suffix(".py").is_file():
            break
        parts.pop()
    return ".".join(parts)


def texts() -> list[Path]:
    """Everything people read: the package, the tests, the documents."""
    found = [*MODULES, *(ROOT / "tests").rglob("*.py"), *ROOT.glob("*.md")]
    for suffix in ("*.md", "*.toml"):
        found += (ROOT / "docs").rglob(suffix)
    return found


# --- layering ---------------------------------------------------------------


def test_every_module_is_on_a_floor() -> None:
    """The table of floors covers the package, and nothing that is not there."""
    names = {module_name(path) for path in MODULES}
    findings = [
        where(path, 1, "on no floor: add it to FLOORS in tests/test_house_rules.py")
        for path in MODULES
        if floor_of(module_name(path)) is None
    ]
    findings += [
        f"FLOORS names {member!r}, and there is no such module"
        for _, members in FLOORS
        for member in members
        if not any(n == member or n.startswith(member + ".") for n in names)
    ]
    report(findings)


def test_every_folder_is_a_package() -> None:
    """A folder without ``__init__.py`` would be left out of the installation."""
    report(
        where(path, 1, "its folder has no __init__.py")
        for path in MODULES
        if not (path.parent / "__init__.py").is_file()
    )


def test_imports_go_down() -> None:
    """A module imports from lower floors, and on its own floor from its own package."""
    findings = []
    for path in MODULES:
        name = module_name(path)
        row = floor_of(name)
        for line, imported in imports(path):
            target = house_import(imported)
            there = None if target is None else floor_of(target)
            if row is None or target is None or there is None:
                continue
            is_neighbour = there == row and room_of(target) != room_of(name)
            if there > row or is_neighbour:
                findings.append(
                    where(
                        path,
                        line,
                        f"floor {FLOORS[row][0]!r} imports iketcp.{target} "
                        f"of floor {FLOORS[there][0]!r}",
                    )
                )
    report(findings)


def test_pure_floors_touch_nothing() -> None:
    """No I/O, no clock, no chance up to the endpoint, and few libraries."""
    findings = []
    for path in MODULES:
        name = module_name(path)
        if not is_pure(name):
            continue
        known = {*sys.stdlib_module_names, "iketcp", *LIBRARIES}
        for part, libraries in OWN_LIBRARIES.items():
            if f"{name}.".startswith(f"{part}."):
                known.update(libraries)
        for line, imported in imports(path):
            top = imported.split(".")[0]
            if top in IMPURE:
                findings.append(where(path, line, f"a pure floor imports {top}"))
            elif top not in known:
                findings.append(where(path, line, f"a pure floor depends on {top}"))
    report(findings)


# --- size -------------------------------------------------------------------


def test_files_and_functions_are_small() -> None:
    """A file has fewer than 500 lines, a function at most 60."""
    findings = []
    for path in MODULES:
        lines = len(text_of(path).splitlines())
        if lines >= MAX_FILE_LINES:
            findings.append(where(path, lines, f"{lines} lines in one file"))
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > MAX_FUNCTION_LINES:
                    rule = f"{node.name} has {size} lines"
                    findings.append(where(path, node.lineno, rule))
    report(findings)


# --- citations --------------------------------------------------------------


@cache
def known_sections() -> dict[str, frozenset[str]]:
    """Section numbers and appendix letters that exist, by RFC."""
    tables = json.loads(text_of(ROOT / "tests" / "rfc_sections.json"))
    del tables["comment"]
    return {rfc: frozenset(sections) for rfc, sections in tables.items()}


def wrong_citations(text: str) -> Iterator[tuple[int, str]]:
    """Line of each citation of a section that does not exist, and what is wrong."""
    # A citation may go on in the next line of a docstring or comment.
    text = re.sub(r"(?<=\n)[ #]+", lambda match: " " * len(match[0]), text)
    for match in CITATION.finditer(text):
        rfc = match["rfc"]
        line = line_of(text, match.start())
        known = known_sections().get(rfc)
        if known is None:
            yield line, f"RFC {rfc} is not in tests/rfc_sections.json"
            continue
        for section in SECTION.findall(match["sections"]):
            if section not in known:
                yield line, f"RFC {rfc} has no section {section}"


def test_cited_sections_exist() -> None:
    """Every ``RFC n §x`` and ``RFC n App. X`` names a section that exists."""
    report(
        where(path, line, rule)
        for path in [*texts(), *(ROOT / "vectors").glob("*.json")]
        for line, rule in wrong_citations(text_of(path))
    )


def test_citation_check_finds_what_is_wrong() -> None:
    """The check above can fail: lists, line ends, appendices and unknown RFCs."""
    sign, appendix = "§", "App."  # apart, so that this file passes its own check
    text = "\n".join(
        (
            f"RFC 9329 {sign}6.1, {sign}6.99",
            f'    """Words of RFC\n    9329 {appendix} Z."""',
            f"# as RFC 7296\n# {sign}2.21.9 says",
            f"RFC 99999 {sign}1",
            f"RFC 7296 {sign}1 to {sign}3, RFC 4303 {appendix} A2.1",
        )
    )
    assert list(wrong_citations(text)) == [
        (1, "RFC 9329 has no section 6.99"),
        (2, "RFC 9329 has no section Z"),
        (4, "RFC 7296 has no section 2.21.9"),
        (6, "RFC 99999 is not in tests/rfc_sections.json"),
    ]


def test_pure_modules_say_where_they_come_from() -> None:
    """Each module of the pure floors has a ``Source:`` line in its docstring."""
    findings = []
    for path in MODULES:
        name = module_name(path)
        docstring = ast.get_docstring(tree_of(path)) or ""
        has_source = re.search(r"^Source: RFC \d+", docstring, re.M)
        if is_pure(name) and name not in WITHOUT_SOURCE and not has_source:
            findings.append(where(path, 1, "no 'Source: RFC n §x' line"))
    report(findings)


def test_source_lines_have_one_form() -> None:
    """``Source:`` goes on with ``RFC n``; what sections follow is checked above."""
    report(
        where(path, line_of(text_of(path), match.start()), "'Source:' without an RFC")
        for path in MODULES
        for match in SOURCE_OF_NOTHING.finditer(text_of(path))
    )


# --- words and habits -------------------------------------------------------


def test_assert_is_for_invariants() -> None:
    """Input is checked and refused, never asserted; ``# invariant`` marks our own."""
    findings = []
    for path in MODULES:
        lines = text_of(path).splitlines()
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Assert):
                source = lines[node.lineno - 1 : node.end_lineno]
                if not any("# invariant" in line for line in source):
                    rule = "assert without '# invariant'"
                    findings.append(where(path, node.lineno, rule))
    report(findings)


def test_only_programs_print() -> None:
    """``print`` belongs to the command line; all others return or log."""
    report(
        where(path, node.lineno, "print() outside the command line")
        for path in MODULES
        if module_name(path).split(".")[0] not in MAY_PRINT
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    )


def test_no_path_of_one_machine() -> None:
    """No file names a folder that exists on one machine only."""
    others = [ROOT / name for name in ("Makefile", "setup.py", ".ci/run")]
    report(
        where(path, line_of(text_of(path), match.start()), f"path {match[0]}…")
        for path in [*texts(), *others]
        for match in MACHINE_PATH.finditer(text_of(path))
    )


def test_nothing_is_left_unfinished_without_an_id() -> None:
    """What is left to do names its rule in the requirements ledger."""
    report(
        where(path, line_of(text_of(path), match.start()), f"{match[0]} without an id")
        for path in MODULES
        for match in UNFINISHED.finditer(text_of(path))
    )


def test_spelling() -> None:
    """The RFC's words, in its current edition."""
    report(
        where(path, line_of(text_of(path), match.start()), advice)
        for path in texts()
        if path != Path(__file__).resolve()
        for pattern, advice in SPELLINGS.items()
        for match in re.finditer(pattern, text_of(path))
    )


def names_bound(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Line, name and enclosing class or function of each name a module introduces."""

    def walk(node: ast.AST, owner: str) -> Iterator[tuple[int, str, str]]:
        for child in ast.iter_child_nodes(node):
            inside = owner
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                yield child.lineno, child.name, owner
                inside = child.name
            elif isinstance(child, ast.arg):
                yield child.lineno, child.arg, owner
            elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                yield child.lineno, child.id, owner
            elif isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store):
                yield child.lineno, child.attr, owner
            yield from walk(child, inside)

    return walk(tree, "")


def test_names() -> None:
    """Three roles have three names; RFC numbers live in docstrings."""
    findings = []
    for path in MODULES:
        for line, name, owner in names_bound(tree_of(path)):
            if name == "is_initiator" and owner not in MAY_SAY_IS_INITIATOR:
                rule = (
                    "is_initiator: say is_original_initiator, is_exchange_initiator "
                    "or is_tcp_originator"
                )
                findings.append(where(path, line, rule))
            if RFC_IN_NAME.search(name):
                findings.append(where(path, line, f"{name}: an RFC number in a name"))
    report(findings)
