from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth colour picture, uint8 (30, 40, 3), of which each corner can be told."""
    rows, columns = np.mgrid[0:30, 0:40]
    return np.stack([rows * 8, columns * 6, 255 - rows * 4 - columns * 3], axis=-1).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path, picture: np.ndarray) -> Path:
    """Twelve images of different sizes, of which two are broken, and a text file."""
    root = tmp_path / "pictures"
    root.mkdir()
    for number in range(10):
        Image.fromarray(np.roll(picture, number, axis=1)[: 20 + number]).save(root / f"{number:02}.png")
    whole = (root / "00.png").read_bytes()
    (root / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (root / "EMPTY.JPG").write_bytes(b"")
    (root / "notes.txt").write_text("not an image")
    return root


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes to the user's cache, or finds what another left there."""
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
