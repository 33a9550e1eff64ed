"""What the datasets of drawn emoji have in common: a selection of drawings, split, drawn and named."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator

from gankit.errors import UsageError
from gankit.plugin import Config, Dataset
from gankit_plugin_emoji.catalogue import Drawing, font_file

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.events import OnEvent
    from gankit_plugin_emoji.drawings import Drawings

__all__ = ["DrawnConfig", "DrawnEmoji", "chosen"]

T = TypeVar("T")


class DrawnConfig(Config):
    """Options of drawn emoji."""

    size: int = Field(64, ge=16, le=512)
    """Width and height that emoji are drawn at."""
    background: str = "white"
    """Colour around the drawings: white, black, grey, or #rrggbb."""
    zoom: float = Field(1.0, ge=1, le=2)
    """1 shows all of the square that OpenMoji draws in; 1.2 cuts a twelfth off each side, where few draw anything."""
    cache: bool = True
    """Keep what is drawn on disk, for all runs (GANKIT_CACHE says where)."""

    @field_validator("background")
    @classmethod
    def _a_colour(cls, colour: str) -> str:
        if colour not in ("white", "black", "grey") and not re.fullmatch("#[0-9a-fA-F]{6}", colour):
            raise ValueError("must be white, black, grey, or #rrggbb in hexadecimal")
        return colour


class DrawnEmoji(Dataset[Any]):
    """Images of the emoji that :meth:`select` chooses, one of ten held out with what differs in skin tone or sex."""

    reading: ClassVar = frozenset({"cache"})

    def __init__(self, config: DrawnConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self.members = [drawing for drawing in self.select() if drawing.split == split]
        self._drawings  # noqa: B018  # opened here, so that what is missing is said before anything begins

    @abstractmethod
    def select(self) -> Sequence[Drawing]:
        """The drawings of both splits."""

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        """Whether a batch is only copied: all are drawn, and the file of them is mapped into memory."""
        return self._drawings.ready

    def __len__(self) -> int:
        return len(self.members)

    def load(self, tell: OnEvent) -> None:
        self._drawings.load(tell)

    def images(self, indices: Tensor) -> Tensor:
        """uint8 (N, 3, size, size)."""
        return self._drawings.read(indices)

    def notes(self) -> list[str]:
        return self._drawings.notes()

    def source(self, index: int, stream: str = "") -> str:
        drawing = self.members[index]
        return f"{drawing.name} {drawing.text}"

    def fingerprint(self) -> str:
        made = blake2b(font_file().read_bytes(), digest_size=16)
        made.update(repr([drawing.codes for drawing in self.members]).encode())
        return f"emoji {len(self)} {made.hexdigest()}"

    @cached_property
    def _drawings(self) -> Drawings:
        from gankit_plugin_emoji.drawings import Drawings

        config = self.config
        return Drawings(self.members, config.size, background=config.background, zoom=config.zoom, disk=config.cache)


def chosen(option: str, asked: Sequence[T], known: Sequence[T]) -> tuple[T, ...]:
    """Those of `known` that are `asked` for, in their order. :class:`UsageError` if there is none."""
    if not asked:
        raise UsageError(f"data.{option} names nothing; choose from {', '.join(map(str, known))}")
    return tuple(word for word in known if word in asked)
