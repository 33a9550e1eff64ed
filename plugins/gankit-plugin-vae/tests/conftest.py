"""What the tests of both variants share."""

from pathlib import Path

import pytest

from gankit.plugin import DataSpec, Key


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges of the tests are kept for the time of the tests, and nowhere else."""
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def grey() -> DataSpec:
    """Images of 28x28 in grey."""
    return DataSpec(keys={"image": Key(kind="image", shape=(1, 28, 28))})
