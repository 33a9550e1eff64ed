"""What a class is, read from its source."""

from __future__ import annotations

import sys

import pytest

from gankit.discovery.summary import summary


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**files: str) -> None:
        (tmp_path / "pack_age").mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / "pack_age" / f"{name}.py").write_text(text, encoding="utf-8")

    yield write
    assert not any(name.startswith("pack_age") for name in sys.modules)  # nothing was imported


CLASS = 'class Thing:\n    """\n    What it is.\n\n    More.\n    """\n'


def test_the_class_itself(package):
    package(__init__="raise RuntimeError\n" + CLASS + "class Bare: ...\n")
    assert summary("pack_age:Thing") == "What it is."
    assert summary("pack_age:Thing[extra]") == "What it is."
    assert summary("pack_age:Bare") == ""
    assert summary("pack_age:Other") == ""


@pytest.mark.parametrize(
    "first",
    [
        "from .deep import Thing",
        "from pack_age.deep import Thing",
        "from . import nothing\nfrom .deep import It as Thing",
        "Thing = None\nfrom .deep import Thing",
    ],
)
def test_what_is_imported_from_the_same_package(package, first):
    package(__init__=first, deep="from .deeper import Thing\nfrom .deeper import Thing as It", deeper=CLASS)
    assert summary("pack_age:Thing") == "What it is."


@pytest.mark.parametrize(
    "files",
    [
        {"__init__": "from .deep import Thing", "deep": "from . import Thing"},  # in a circle
        {"__init__": "from collections import OrderedDict as Thing"},
        {"__init__": "from .nowhere import Thing"},
        {"__init__": "from ...above import Thing"},
        {"__init__": "from .deep import Thing", "deep": "def :"},
        {"__init__": "Thing = 3"},
        {"__init__": "x = " + "(" * 5000 + ")" * 5000},
        {"__init__": "\0"},
    ],
)
def test_nothing_is_said_where_nothing_is_found(package, files):
    package(**files)
    assert summary("pack_age:Thing") == ""


def test_modules_that_are_none():
    for value in ("no_such_module:Thing", "sys:Thing", "", ":", "a..b:C", "json"):
        assert summary(value) == ""
