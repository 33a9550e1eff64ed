"""Plugins made up by the tests: a module and the metadata of an installed distribution, on sys.path."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from made_up import Site

from gankit.cli.main import main

GOOD = (Path(__file__).parent / "toy_plugin.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread: None) -> None:
    """For all tests here."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(folder) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.fixture
def toy(site: Site) -> str:
    """A good plugin."""
    return site.add("toy", GOOD)


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def gankit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """The command line, run in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GANKIT_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path / "cache"))

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def run(gankit: Callable[..., Outcome], toy: str, tmp_path: Path) -> Path:
    """A run of six steps."""
    outcome = gankit("run", toy, "--json")
    assert outcome.code == 0, outcome.err
    return tmp_path / outcome.data["run"]
