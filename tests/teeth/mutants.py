"""Damaged copies of a source file: one statement, condition, operand or constant changed at a time.

Left alone: docstrings, annotations, imports, what stands at the level of the module or of a class (a missing
name is noticed by everything), and the texts of errors.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Mutant", "mutants_of"]

DELETABLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.Return, ast.Raise, ast.Delete, ast.Break, ast.Continue)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change."""

    place: str
    """The function it is in, with its class."""
    line: int
    """Where in the undamaged file."""
    change: str
    """What was done, such as `delete: gate.open()`; with the place it names the mutant for good."""
    source: str
    """The whole damaged file."""

    @property
    def name(self) -> str:
        """`ThreadRing.leave: delete: gate.open()`."""
        return f"{self.place}: {self.change}"


def mutants_of(source: str) -> list[Mutant]:
    """Every change of the functions in `source`; two that read the same are numbered."""
    tree = ast.parse(source)
    found: list[Mutant] = []
    known: dict[str, int] = {}
    for place, function in _functions(tree):
        for node, change, edit in _changes(function):
            name = f"{place}: {change}"
            known[name] = known.get(name, 0) + 1
            if known[name] > 1:
                change = f"{change} [{known[name]}]"
            found.append(
                Mutant(place=place, line=node.lineno, change=change, source=_damaged(tree, node, edit))
            )
    return found


Edit = Callable[[ast.AST], ast.AST]
Change = tuple[ast.expr | ast.stmt, str, Edit]


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from (
                (f"{node.name}.{inner.name}", inner)
                for inner in node.body
                if isinstance(inner, ast.FunctionDef)
            )


def _changes(function: ast.FunctionDef) -> Iterator[Change]:
    texts = {
        id(inner)
        for node in ast.walk(function)
        if isinstance(node, ast.JoinedStr)
        for inner in ast.walk(node)
    }
    annotations = {
        id(inner)
        for node in ast.walk(function)
        for kind in ("annotation", "returns")
        for inner in ast.walk(getattr(node, kind, None) or ast.Pass())
    }
    for node in ast.walk(function):
        if id(node) in texts or id(node) in annotations:
            continue
        if isinstance(node, DELETABLE) and not _is_text(node):
            yield node, f"delete: {_short(node)}", lambda old: ast.Pass()
        for condition in _conditions(node):
            yield condition, f"negate: {_short(condition)}", _negated
        if isinstance(node, ast.BoolOp):
            yield from _dropped(node)
        if isinstance(node, ast.Constant) and node.value in (0, 1):
            yield _swapped(node)


def _negated(old: ast.AST) -> ast.AST:
    assert isinstance(old, ast.expr)
    return ast.UnaryOp(op=ast.Not(), operand=old)


def _dropped(node: ast.BoolOp) -> Iterator[Change]:
    for index, operand in enumerate(node.values):

        def without(old: ast.AST, index: int = index) -> ast.AST:
            assert isinstance(old, ast.BoolOp)
            rest = [*old.values[:index], *old.values[index + 1 :]]
            return rest[0] if len(rest) == 1 else ast.BoolOp(op=old.op, values=rest)

        yield node, f"drop: {_short(operand)} of: {_short(node)}", without


def _swapped(node: ast.Constant) -> Change:
    value: Any = node.value
    other = (not value) if isinstance(value, bool) else 1 - int(value)
    return (
        node,
        f"constant: {value} -> {other} at column {node.col_offset}",
        lambda old: ast.Constant(other),
    )


def _conditions(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, (ast.If, ast.While, ast.IfExp)):
        return [node.test]
    return list(node.ifs) if isinstance(node, ast.comprehension) else []


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 70 else text[:67] + "..."


def _damaged(tree: ast.Module, node: ast.AST, edit: Edit) -> str:
    """The file with `node` replaced."""

    class Replace(ast.NodeTransformer):
        def visit(self, current: ast.AST) -> ast.AST:
            if getattr(current, "_chosen", False):
                del current._chosen  # type: ignore[attr-defined]
                return ast.copy_location(edit(current), current)
            return self.generic_visit(current)

    node._chosen = True  # type: ignore[attr-defined]
    copied = copy.deepcopy(tree)
    del node._chosen  # type: ignore[attr-defined]
    return ast.unparse(ast.fix_missing_locations(Replace().visit(copied)))
