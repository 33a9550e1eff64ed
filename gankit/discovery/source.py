"""The source of an installed module, found and parsed without importing anything."""

from __future__ import annotations

import ast
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path


def locate(module: str) -> ModuleSpec | None:
    """Where a module is; unlike importlib's own `find_spec`, without importing the packages that it is in."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
        for i in range(len(rest)):
            if spec is None:
                return None
            spec = PathFinder.find_spec(".".join([top, *rest[: i + 1]]), spec.submodule_search_locations)
    except (ImportError, ValueError, AttributeError):
        return None
    return spec


def parse(spec: ModuleSpec) -> list[ast.stmt] | None:
    """The statements of a module; None if it is not written in Python or cannot be read. SyntaxError as it is."""
    if spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        return _parsed(spec.origin, Path(spec.origin).read_bytes())
    except SyntaxError:
        raise
    except (OSError, ValueError, RecursionError, MemoryError):  # the last two: of nesting that is too deep
        return None


@lru_cache(maxsize=16)  # a plugin's variant and its datasets often stand in one module
def _parsed(path: str, content: bytes) -> list[ast.stmt]:
    return ast.parse(content, path).body


__all__ = ["locate", "parse"]
