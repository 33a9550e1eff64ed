from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("flowers", Path(__file__).with_name("flowers.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
flowers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(flowers)


@pytest.fixture(scope="session")
def roses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 drawn roses in eleven kinds of file, and 3 broken files."""
    root = tmp_path_factory.mktemp("pictures") / "roses"
    flowers.write(root)
    return root
