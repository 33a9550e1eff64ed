"""What a variant or a dataset is, in a line: the first of its own docstring, read from its source."""

from __future__ import annotations

import ast

from gankit.discovery.source import locate, parse

HOPS = 3
"""Modules that are looked through: the entry point's, and those that it takes the class from."""


def summary(value: str) -> str:
    """The first line of the docstring of the class that ``module:attribute`` names; empty if there is none to be read.

    Nothing is imported. A ``from .other import attribute`` is followed within the same package.
    """
    module, _, attribute = value.partition(":")
    attribute = attribute.partition("[")[0].strip()  # extras
    for _ in range(HOPS):
        spec = locate(module)
        try:
            body = parse(spec) if spec is not None else None
        except SyntaxError:
            return ""
        if spec is None or body is None:
            return ""
        package = module if spec.submodule_search_locations is not None else module.rpartition(".")[0]
        bound = [statement for statement in body if _binds(statement, attribute)]
        where = bound[-1] if bound else None
        if not isinstance(where, ast.ImportFrom):
            return _first_line(where) if isinstance(where, ast.ClassDef) else ""
        top = module.partition(".")[0]
        module, attribute = _absolute(where, package), _source(where, attribute)
        if module.partition(".")[0] != top:
            return ""
    return ""


def _binds(statement: ast.stmt, name: str) -> bool:
    if isinstance(statement, ast.ClassDef):
        return statement.name == name
    return isinstance(statement, ast.ImportFrom) and bool(_source(statement, name))


def _source(statement: ast.ImportFrom, name: str) -> str:
    """What `statement` imports as `name`; empty if it does not."""
    return next((alias.name for alias in statement.names if (alias.asname or alias.name) == name), "")


def _absolute(statement: ast.ImportFrom, package: str) -> str:
    """The full name of the module that is imported from."""
    if not statement.level:
        return statement.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - statement.level + 1], *([statement.module] if statement.module else [])])


def _first_line(found: ast.ClassDef) -> str:
    text = (ast.get_docstring(found) or "").strip()
    return text.splitlines()[0].strip().replace("``", "") if text else ""


__all__ = ["summary"]
