"""Delete the statements of a module one at a time and see whether tests notice.

Not a test: a tool for ``docs/mutation.md``, beside cosmic-ray, whose operators change
expressions but delete nothing. Each statement inside a function becomes ``pass``, a
compound one with all it holds; then the command runs, and if it succeeds the deletion
survived. Run it in a copy of the tree, for it writes to the module.

    python tests/delete_statements.py MODULE[:FUNCTION,...] COMMAND ...
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SECONDS = 30.0


def statements(tree: ast.Module, wanted: set[str]) -> Iterator[ast.stmt]:
    """Every statement of the wanted functions (none named: of all)."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        if wanted and function.name not in wanted:
            continue
        for node in ast.walk(function):
            is_docstring = isinstance(node, ast.Expr) and isinstance(
                node.value, ast.Constant
            )
            is_statement = isinstance(node, ast.stmt) and node is not function
            if is_statement and not is_docstring and not isinstance(node, ast.Pass):
                assert isinstance(node, ast.stmt)
                yield node


def without(source: str, statement: ast.stmt) -> str:
    """The source with one statement replaced by ``pass``."""
    lines = source.splitlines(keepends=True)
    assert statement.end_lineno is not None
    first, last = statement.lineno - 1, statement.end_lineno
    indent = lines[first][: statement.col_offset]
    return "".join([*lines[:first], f"{indent}pass\n", *lines[last:]])


def is_noticed(command: list[str]) -> bool:
    """Whether the command fails, or does not end."""
    try:
        run = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return True
    return run.returncode != 0


def main(target: str, *command: str) -> int:
    """Return how many deletions survived."""
    name, _, functions = target.partition(":")
    path = Path(name)
    source = path.read_text()
    if is_noticed(list(command)):
        sys.exit("the command fails without any deletion")
    total, survivors = 0, []
    wanted = {function for function in functions.split(",") if function}
    try:
        for statement in statements(ast.parse(source), wanted):
            mutant = without(source, statement)
            compile(mutant, name, "exec")
            path.write_text(mutant)
            total += 1
            if not is_noticed(list(command)):
                line = source.splitlines()[statement.lineno - 1].strip()
                survivors.append(f"{name}:{statement.lineno}: {line}")
                print(survivors[-1], flush=True)
    finally:
        path.write_text(source)
    print(f"{name}: {total} deletions, {len(survivors)} survive")
    return len(survivors)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) > 0)
