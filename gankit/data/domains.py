"""Dataset ``domains``: any two installed datasets of images as the two sides of a translation, without pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from gankit.data.files import Root
from gankit.errors import UsageError
from gankit.options.spelling import give
from gankit.plugin import Config, Dataset, DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.events import OnEvent
    from gankit.plugin import Batch

__all__ = ["Domains", "DomainsConfig"]

SIDES = ("a", "b")
OPTIONS = {"a": "first", "b": "second"}


class DomainsConfig(Config):
    """Options of the dataset ``domains``."""

    first: str = ""
    """Name of the dataset whose images are `a`."""
    second: str = ""
    """Name of the dataset whose images are `b`."""
    first_root: Root = ""
    """Directory of the first, if it reads files."""
    second_root: Root = ""
    """Directory of the second, if it reads files."""
    size: int = Field(32, ge=8, le=1024)
    """Width and height that both are brought to."""
    first_half: bool = False
    """Take every second sample of the first alone: where the second is made of the others."""


class Domains(Dataset[DomainsConfig]):
    """Two datasets of images side by side, in streams of their own: ``a`` and ``b``, and their classes.

    Where one is grey and the other in colour both are in colour. Classes are ``label_a`` and ``label_b``; with the
    same names on both sides they are like each other, so that ``gankit eval`` asks whether a translated 7 is a 7.
    """

    Config = DomainsConfig

    def __init__(self, config: DomainsConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self._sides = {side: _opened(config, side, split) for side in SIDES}
        self._images = {side: _only_image(data, side) for side, data in self._sides.items()}
        shapes = {side: data.spec.shape_of(self._images[side]) for side, data in self._sides.items()}
        if shapes["a"][1:] != shapes["b"][1:]:
            sizes = " and ".join(f"{width}x{height}" for _, height, width in shapes.values())
            raise UsageError(
                f"images of {config.first!r} and of {config.second!r} are of {sizes} pixels, which must be equal"
            )
        most = max(channels for channels, _, _ in shapes.values())
        self._channels = {
            side: most if channels in (1, 3) and most <= 4 else channels for side, (channels, _, _) in shapes.items()
        }
        self._classes = {side: key for side, data in self._sides.items() if (key := _class_key(data.spec))}

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        return all(data.in_memory for data in self._sides.values())

    @property
    def spec(self) -> DataSpec:
        specs = {side: data.spec for side, data in self._sides.items()}
        keys = {}
        for side, spec in specs.items():
            shape = self._channels[side], *spec.shape_of(self._images[side])[1:]
            keys[side] = replace(spec[self._images[side]], shape=shape)
        names = {side: specs[side][key].names for side, key in self._classes.items()}
        for side, other in zip(SIDES, reversed(SIDES), strict=True):
            if side in names:
                like = f"label_{other}" if names.get(other) == names[side] else None
                keys[f"label_{side}"] = Key(kind="class", names=names[side], of=side, like=like)
        return DataSpec(keys=keys)

    def streams(self) -> Mapping[str, int]:
        return {side: len(data) // self._every(side) for side, data in self._sides.items()}

    def batch(self, indices: Mapping[str, Tensor]) -> Batch:
        from gankit.data.opacity import widened

        batch: Batch = {}
        for side, chosen in indices.items():
            found = self._sides[side].batch(chosen * self._every(side))
            images = found[self._images[side]]
            batch[side] = widened(images, self._channels[side]).contiguous()
            if side in self._classes:
                batch[f"label_{side}"] = found[self._classes[side]]
        return batch

    def load(self, tell: OnEvent) -> None:
        for data in self._sides.values():
            data.load(tell)

    def notes(self) -> list[str]:
        half = [f"a: every second sample of {self.config.first} is left out"] if self.config.first_half else []
        return half + [f"{side}: {note}" for side, data in self._sides.items() for note in data.notes()]

    def source(self, index: int, stream: str = "") -> str | None:
        return self._sides[stream].source(index * self._every(stream))

    def fingerprint(self) -> str:
        return " ".join(f"{side} {data.fingerprint()}" for side, data in self._sides.items())

    def _every(self, side: str) -> int:
        return 2 if side == "a" and self.config.first_half else 1


def _opened(config: DomainsConfig, side: str, split: Literal["train", "test"]) -> Dataset[Any]:
    from gankit.discovery.entry_points import load_dataset

    option = OPTIONS[side]
    name, root = getattr(config, option), getattr(config, f"{option}_root")
    if not name:
        raise UsageError(f"data.{option}: name a dataset ({give(f'data.{option}', 'mnist')})")
    cls = load_dataset(name)
    if cls is Domains:
        raise UsageError(f"data.{option}: {name} is made of two datasets itself; name one of images")
    fields, options = cls.Config.model_fields, {"size": config.size, "root": root}
    if root and "root" not in fields:
        raise UsageError(f"data.{option}_root: {name} reads no directory; leave it out")
    given = {key: value for key, value in options.items() if key in fields and value}
    try:
        made = cls.Config(**given)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise UsageError(f"data.{where} = {fault['input']!r} is none of {name}'s: {fault['msg']}") from error
    return cls(made, split)


def _only_image(data: Dataset[Any], side: str) -> str:
    images = data.spec.images
    if len(images) != 1 or len(data.streams()) != 1:
        raise UsageError(
            f"data.{side}: a side takes a dataset of one image a sample, not of {', '.join(images) or 'none'}"
        )
    return images[0]


def _class_key(spec: DataSpec) -> str | None:
    try:
        return spec.class_key()
    except UsageError:
        return None
