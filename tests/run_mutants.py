"""Change functions one place at a time and see whether vectors or scenarios notice.

Not a test: the tool of ``docs/mutation.md``. Every statement inside a function is
deleted once, a compound one with all it holds; with cosmic-ray on the path, its
operators change comparisons, conditions, arithmetic, constants and loops as well. Then
the files in ``vectors/`` are checked; if they notice nothing, the scenarios on a
scripted clock among the tests are run. Nothing is written: a process forked from one
with all libraries loaded imports the changed module.

    python tests/run_mutants.py [MODULE ...]

MODULE is one of ``TARGETS``, such as ``iketcp.stream``; none named: all.
"""

import ast
import importlib
import importlib.util
import json
import os
import re
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_SECONDS = 60
"""Of processor time; what takes longer counts as noticed."""
MOST_OCTETS = 4 << 30


@dataclass(frozen=True)
class Target:
    """A module, or some of its functions, and who is asked about it first.

    ``files`` are the vectors asked before the mapping scenarios and all others;
    ``tests`` are those with a scripted clock, asked at the end.
    """

    module: str
    functions: frozenset[str] = frozenset()
    files: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


MAPPING_TESTS = ("mapping", "mapping_scenarios", "endpoint_*")
EXCHANGE_TESTS = (
    "message_window",
    "fragments",
    "exchange_*",
    "endpoint_*",
    "datagram_scenarios",
)

TARGETS = (
    Target("iketcp.stream", files=("stream_framing",), tests=("stream",)),
    Target("iketcp.mapping", tests=MAPPING_TESTS),
    Target("iketcp.half_open", tests=MAPPING_TESTS),
    Target("iketcp.ike.message_window", files=("message_ids",), tests=EXCHANGE_TESTS),
    Target(
        "iketcp.ike.engine",
        frozenset(
            {
                "repeat_request",
                "resume",
                "receive",
                "_accepted",
                "_check_authenticated",
                "_take_response",
            }
        ),
        tests=EXCHANGE_TESTS,
    ),
    Target("iketcp.ike.reception", files=("ike_fragments",), tests=EXCHANGE_TESTS),
    Target("iketcp.ike.retransmission", tests=EXCHANGE_TESTS),
)

LEFT_OUT = re.compile(
    r"ReplaceBinaryOperator_BitOr_"  # `|` joins types here, and nothing else
    r"|ReplaceBinaryOperator_.*_(Div|FloorDiv|Mod|Pow|LShift|RShift|Bit.*)"
    r"|ReplaceComparisonOperator_(Eq|NotEq|Lt|LtE|Gt|GtE)_Is"
    r"|ReplaceComparisonOperator_Is(Not)?_(Eq|NotEq|Lt|LtE|Gt|GtE)$"
    r"|RemoveDecorator"
)
"""The third and further replacements of an arithmetic operator say nothing new;
identity in place of equality is the interpreter's affair, decorators are mypy's."""


@dataclass(frozen=True)
class Mutant:
    """A changed module."""

    kind: str
    line: int
    change: str
    source: str


# --- mutants --------------------------------------------------------------------------


def functions(tree: ast.Module, wanted: Set[str]) -> Iterator[ast.FunctionDef]:
    """Every wanted function (none named: all)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (not wanted or node.name in wanted):
            yield node


def deletions(source: str, wanted: Set[str]) -> Iterator[Mutant]:
    """Put ``pass`` in place of each statement but docstrings."""
    lines = source.splitlines(keepends=True)
    for function in functions(ast.parse(source), wanted):
        for node in ast.walk(function):
            if not isinstance(node, ast.stmt) or node is function:
                continue
            is_docstring = isinstance(node, ast.Expr) and isinstance(
                node.value, ast.Constant
            )
            if is_docstring or isinstance(node, ast.Pass):
                continue
            assert node.end_lineno is not None
            first, last = node.lineno - 1, node.end_lineno
            indent = lines[first][: node.col_offset]
            changed = "".join([*lines[:first], f"{indent}pass\n", *lines[last:]])
            text = lines[first].strip()
            yield Mutant("deleted", node.lineno, text, changed)


def replacements(source: str, wanted: Set[str]) -> Iterator[Mutant]:
    """Apply cosmic-ray's operators, each at each of its places."""
    trees, plugins = map(
        importlib.import_module, ("cosmic_ray.ast", "cosmic_ray.plugins")
    )
    spans = [
        (function.lineno, function.end_lineno or 0)
        for function in functions(ast.parse(source), wanted)
    ]
    for name in plugins.operator_names():
        operator_class = plugins.get_operator(name)
        if LEFT_OUT.search(name) or operator_class.arguments():
            continue
        operator, seen = operator_class(), set()
        for number, node in enumerate(trees.ast_nodes(trees.get_ast(source))):
            places = list(operator.mutation_positions(node))
            for index, ((line, _), _) in enumerate(places):
                if not any(a <= line <= b for a, b in spans):
                    continue
                changed = _replaced(trees, source, operator, number, index)
                if changed != source and changed not in seen:
                    seen.add(changed)
                    change = _difference(source, changed)
                    yield Mutant(name.split("/")[1], line, change, changed)


def _replaced(trees: Any, source: str, operator: Any, number: int, index: int) -> str:
    """Change the node with this number in a fresh tree, and write the tree."""
    tree = trees.get_ast(source)
    node = next(n for at, n in enumerate(trees.ast_nodes(tree)) if at == number)
    parent, new = node.parent, operator.mutate(node, index)
    if new is not node and parent is not None:
        at = next(i for i, child in enumerate(parent.children) if child is node)
        parent.children[at : at + 1] = [] if new is None else [new]
    return str(tree.get_code())


def _difference(before: str, after: str) -> str:
    old, new = before.splitlines(), after.splitlines()
    pairs = zip(old, new, strict=False)
    return next((f"{a.strip()}  ->  {b.strip()}" for a, b in pairs if a != b), "")


# --- what notices ---------------------------------------------------------------------


class ChangedModule(MetaPathFinder, InspectLoader):
    """Gives one module a source of its own."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for the one module."""
        if fullname != self.name:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def get_source(self, fullname: str) -> str:
        """Return the changed source."""
        return self.source

    def get_code(self, fullname: str) -> CodeType:
        """Compile it."""
        return compile(self.source, fullname, "exec")


def documents(target: Target) -> list[Any]:
    """Load the vector files, those that notice most first."""
    files = {
        path.name.removesuffix("_test.json"): path
        for path in sorted((ROOT / "vectors").glob("*_test.json"))
    }
    order = [*target.files, "connection_mapping", "exchange_transcripts"]
    names = [*order, *(name for name in files if name not in order)]
    return [json.loads(files[name].read_text("utf-8")) for name in names]


def has_problems(vectors: list[Any]) -> bool:
    """Whether our implementation fails a vector."""
    table = importlib.import_module("iketcp.vectorlib.checkers").CHECKERS
    for document in vectors:
        kinds = (group["type"] for group in document["testGroups"])
        for run in dict.fromkeys(table[kind] for kind in kinds):
            for _ in run(document):
                return True
    return False


def fails_tests(target: Target) -> bool:
    """Whether a scenario among the tests fails."""
    paths = [
        str(path)
        for name in target.tests
        for path in sorted((ROOT / "tests").glob(f"test_{name}.py"))
        if "fuzz" not in path.name
    ]
    return pytest.main(["-x", "-q", "-p", "no:cacheprovider", *paths]) != 0


def is_noticed(target: Target, source: str, ask: Callable[[], bool]) -> bool:
    """Whether ``ask`` says so, or ends otherwise, with a changed module."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] != 0
    status = 1
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MOST_OCTETS, MOST_OCTETS))
        sys.meta_path.insert(0, ChangedModule(target.module, source))
        status = int(ask())
    finally:
        os._exit(status)


# --- the run --------------------------------------------------------------------------


def forget_iketcp() -> None:
    """Make the next import take our modules from their files, or changed."""
    for name in [name for name in sys.modules if name.startswith("iketcp")]:
        del sys.modules[name]


def run(target: Target) -> None:
    """Print each mutant that no vector notices, and how many there were."""
    spec = importlib.util.find_spec(target.module)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text("utf-8")
    vectors = documents(target)
    mutants = [*deletions(source, target.functions)]
    if importlib.util.find_spec("cosmic_ray") is not None:
        mutants += replacements(source, target.functions)
    forget_iketcp()

    def ask_vectors() -> bool:
        return has_problems(vectors)

    def ask_tests() -> bool:
        return fails_tests(target)

    for ask in (ask_vectors, ask_tests):
        if is_noticed(target, source, ask):
            sys.exit(f"{target.module}: fails without any change: {ask.__name__}")
    counts: Counter[tuple[str, str]] = Counter()
    for mutant in mutants:
        verdict = "by vectors"
        if not is_noticed(target, mutant.source, ask_vectors):
            by_tests = is_noticed(target, mutant.source, ask_tests)
            verdict = "by tests" if by_tests else "SURVIVES"
            where = f"{target.module}:{mutant.line}: {mutant.kind}"
            print(f"{verdict}: {where}: {mutant.change}", flush=True)
        what = "deletion" if mutant.kind == "deleted" else "replacement"
        counts[what, verdict] += 1
    for (what, verdict), count in sorted(counts.items()):
        print(f"{target.module}: {what}s {verdict}: {count}", flush=True)


def main(*modules: str) -> None:
    """Change the modules named, or all."""
    importlib.import_module("iketcp.vectorlib.checkers")  # loads the libraries
    sys.path.insert(0, str(ROOT / "tests"))
    for target in TARGETS:
        if not modules or target.module in modules:
            run(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
