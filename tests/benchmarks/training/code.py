"""Which source files decide a figure: those that are really imported, found without running them.

A figure is kept under the digest of these files, so that a change elsewhere, such as in a report or in another kind of model,
does not throw away fits that took minutes. Comments, docstrings, layout and the words of errors do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_TOLD = (".md", ".svg", ".jsonl", ".typed", ".pyc")
"""Suffixes of files beside the code that nothing computes with; every other one, such as weights, counts as code."""


def code_digest(modules: Collection[str], root: Path = ROOT) -> str:
    """SHA-256 over what these modules say, and over the data files in the folders of their packages."""
    digest = hashlib.sha256()
    packages = {path.parent for module in modules if (path := _file(module, root)) and path.name == "__init__.py"}
    for module in sorted(modules):
        path = _file(module, root)
        assert path is not None  # `closure` gives only modules that have one
        digest.update(f"{module}\n{_meaning(path.read_bytes())}\n".encode())
    for path in sorted(file for package in packages for file in package.iterdir()):
        if path.is_file() and path.suffix != ".py" and path.suffix not in _TOLD:
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def closure(roots: Iterable[str], without: Collection[str] = (), root: Path = ROOT) -> frozenset[str]:
    """The modules below `root` that importing `roots` brings in, also by imports inside functions, and their packages.

    What only `without` imports is left out with it: give modules that choose among others by a name, where it is known which
    is chosen, and modules whose result is known. Raises KeyError if there is no such module.
    """
    found: set[str] = set()
    waiting = list(roots)
    for module in waiting:
        if _file(module, root) is None:
            raise KeyError(f"there is no module {module} below {root}")
    while waiting:
        module = waiting.pop()
        if module in found or module in without:
            continue
        path = _file(module, root)
        if path is None:
            continue
        found.add(module)
        if "." in module:
            waiting.append(module.rpartition(".")[0])
        waiting += _imported(path.read_bytes())
    return frozenset(found)


def _file(module: str, root: Path) -> Path | None:
    place = root.joinpath(*module.split("."))
    for path in (place / "__init__.py", place.with_suffix(".py")):
        if path.is_file():
            return path
    return None


@cache
def _meaning(source: bytes) -> str:
    """The module without comments, layout, docstrings and what its errors say."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)]
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _imported(source: bytes) -> tuple[str, ...]:
    """Names that may be modules; absolute imports only, as everywhere in this project."""
    return tuple(_names(ast.parse(source)))


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        return
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        yield node.module
        yield from (f"{node.module}.{name.name}" for name in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _names(child)
