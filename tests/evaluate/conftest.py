"""Judges of the tests are kept for the time of the tests, and nowhere else."""

import sys
from pathlib import Path

import pytest

from gankit.evaluate import cache, judge

sys.path.insert(0, str(Path(__file__).parent))  # for evaluation_toys.py

QUICK = judge.JudgeConfig(width=8, steps=120, batch_size=48)


@pytest.fixture(scope="session")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judges")


@pytest.fixture(autouse=True)
def quick_judge(judges: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small judge, which is enough for the toy data."""
    monkeypatch.setenv("GANKIT_CACHE", str(judges))
    monkeypatch.setattr(cache, "JudgeConfig", lambda: QUICK)
