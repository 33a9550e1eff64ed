"""A directory of captioned images, drawn by the tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

NAMES = tuple(f"{number}.png" for number in range(10))


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread: None) -> None:
    """For all tests here."""


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    """Ten images, each with the caption "grey <tone>" in metadata.jsonl."""
    root = tmp_path / "captioned"
    root.mkdir()
    lines = []
    for number, name in enumerate(NAMES):
        Image.new("RGB", (20, 24), (20 * number,) * 3).save(root / name)
        lines.append(json.dumps({"file_name": name, "text": f"grey {20 * number}"}))
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return root
