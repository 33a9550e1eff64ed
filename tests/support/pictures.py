"""Small folders of pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from gankit.data.folder import FolderConfig, ImageFolder


def open_folder(root: Path, split: str = "train", **options: object) -> ImageFolder:
    return ImageFolder(FolderConfig.model_validate({"root": str(root), "size": 16, **options}), split)  # type: ignore[arg-type]


def paint(path: Path, tone: int, size: tuple[int, int] = (20, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (tone, tone, tone)).save(path)
