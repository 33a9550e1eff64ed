"""A dataset and variants small enough to be judged in a second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gankit.plugin import Config, Dataset, DataSpec, Key, Phase, SampleRequest, Variant

SHAPE, INK = ("bar", "column", "frame"), ("dark", "light")


def draw_shape(shape: Tensor, ink: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 (N, 1, 16, 16): noise, and in it a bar, a column or a frame, dark or light, somewhere."""
    n = len(shape)
    images = 110 + 36 * torch.rand(n, 1, 16, 16, generator=generator)
    offset = torch.randint(-2, 3, (n,), generator=generator)
    for i in range(n):
        value, at = (40.0, 215.0)[int(ink[i])], 7 + int(offset[i])
        if shape[i] == 0:
            images[i, 0, at : at + 3] = value
        elif shape[i] == 1:
            images[i, 0, :, at : at + 3] = value
        else:
            images[i, 0, [at - 4, at + 4], at - 4 : at + 5] = value
            images[i, 0, at - 4 : at + 5, [at - 4, at + 4]] = value
    return images.to(torch.uint8)


class ShapesConfig(Config):
    count: int = 240
    held_out: int = 60
    classes: bool = True


class Shapes(Dataset[ShapesConfig]):
    Config = ShapesConfig

    def __init__(self, config: ShapesConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        generator = torch.Generator().manual_seed(0 if split == "train" else 1)
        count = config.count if split == "train" else config.held_out
        self.shape = torch.arange(count) % 3
        self.ink = torch.randint(2, (count,), generator=generator)
        self.images = draw_shape(self.shape, self.ink, generator)
        words = [f"a {INK[j]} {SHAPE[i]}".ljust(16, "\0").encode() for i, j in zip(self.shape, self.ink, strict=True)]
        self.text = torch.tensor([list(word) for word in words], dtype=torch.uint8).view(count, 16)

    @property
    def spec(self) -> DataSpec:
        keys = {"image": Key(kind="image", shape=(1, 16, 16))}
        if self.config.classes:
            keys |= {"shape": Key(kind="class", names=SHAPE), "ink": Key(kind="class", names=INK)}
            keys["text"] = Key(kind="text", shape=(16,))
        return DataSpec(keys=keys)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        found = {"image": self.images[indices]}
        if self.config.classes:
            found |= {"shape": self.shape[indices], "ink": self.ink[indices], "text": self.text[indices]}
        return found


class Painter(Variant[Config]):
    """Draws what it is asked for, with a pencil instead of a network; subclasses draw badly."""

    dataset = "shapes"
    conditions = frozenset({"shape"})
    metric = "accuracy"

    def __init__(self) -> None:
        super().__init__(Config())

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        return {"generator": nn.Dropout()}

    def phases(self) -> Sequence[Phase]:
        return ()

    def sample(self, networks: Mapping[str, nn.Module], request: SampleRequest) -> Tensor:
        assert not networks["generator"].training
        shape, ink = self.wanted(request.batch, request.n)
        return draw_shape(shape, ink, request.generator).float() / 127.5 - 1

    def wanted(self, batch: dict[str, Tensor], n: int) -> tuple[Tensor, Tensor]:
        return batch["shape"], torch.arange(n) % 2


class Reader(Painter):
    """Draws what a text asks for."""

    conditions = frozenset({"text"})

    def wanted(self, batch: dict[str, Tensor], n: int) -> tuple[Tensor, Tensor]:
        words = [bytes(row.tolist()).rstrip(b"\0").decode().split() for row in batch["text"]]
        shape = torch.tensor([SHAPE.index(word[2]) for word in words])
        return shape, torch.tensor([INK.index(word[1]) for word in words])


class Constant(Painter):
    """Draws one value everywhere, whatever it is asked for."""

    def __init__(self, value: float = 0.0, size: tuple[int, int] = (16, 16)) -> None:
        super().__init__()
        self.value, self.size = value, size

    def sample(self, networks: Mapping[str, nn.Module], request: SampleRequest) -> Tensor:
        return torch.full((request.n, 1, *self.size), self.value)


class Free(Painter):
    """Draws anything: has no conditions."""

    conditions = frozenset()
    metric = "swd"

    def wanted(self, batch: dict[str, Tensor], n: int) -> tuple[Tensor, Tensor]:
        return torch.arange(n) % 3, torch.arange(n) % 2


class Copier(Free):
    """Repeats training images."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = images

    def sample(self, networks: Mapping[str, nn.Module], request: SampleRequest) -> Tensor:
        rows = torch.randint(len(self.images), (request.n,), generator=request.generator)
        return self.images[rows].float() / 127.5 - 1


def parts(variant: Painter, **options: Any) -> tuple[Any, ...]:
    """The positional arguments of ``evaluate``."""
    train, test = Shapes(ShapesConfig(**options)), Shapes(ShapesConfig(**options), "test")
    return variant, variant.networks(train.spec), train.spec, train, test


class SidesConfig(Config):
    a: int = 150
    b: int = 240
    held_out: int = 40


class Sides(Dataset[SidesConfig]):
    """Two unpaired sides in streams of their own: light shapes on grey (a), and dark ones, their negatives (b)."""

    Config = SidesConfig

    def __init__(self, config: SidesConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        generator = torch.Generator().manual_seed(2 if split == "train" else 3)
        self.images, self.shapes = {}, {}
        for side in ("a", "b"):
            count = (getattr(config, side) if split == "train" else config.held_out) + (side == "b")
            self.shapes[side] = torch.randint(3, (count,), generator=generator)
            images = draw_shape(self.shapes[side], torch.ones(count, dtype=torch.int64), generator)
            self.images[side] = images if side == "a" else 255 - images

    @property
    def spec(self) -> DataSpec:
        image = Key(kind="image", shape=(1, 16, 16))
        return DataSpec(
            keys={
                "a": image,
                "b": image,
                "a_shape": Key(kind="class", names=SHAPE, of="a", like="b_shape"),
                "b_shape": Key(kind="class", names=SHAPE, of="b"),
                "only_a": Key(kind="class", names=("x", "y"), of="a"),
            }
        )

    def streams(self) -> dict[str, int]:
        return {side: len(images) for side, images in self.images.items()}

    def batch(self, indices: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = {}
        for side, rows in indices.items():
            found |= {side: self.images[side][rows], f"{side}_shape": self.shapes[side][rows]}
            if side == "a":
                found["only_a"] = rows % 2
        return found


class Translator(Painter):
    """Makes b of a, and a of b: the negative. Subclasses translate badly."""

    requires = frozenset({"a", "b"})
    conditions = frozenset()
    produces = ("b", "a")
    random = False

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        source = "a" if produces == "b" else "b"
        return {source: spec[source]}

    def sample(self, networks: Mapping[str, nn.Module], request: SampleRequest) -> Tensor:
        return self.translated(request.batch["a" if request.produces == "b" else "b"])

    def translated(self, images: Tensor) -> Tensor:
        return -images


class Unchanged(Translator):
    """Returns what it was given."""

    def translated(self, images: Tensor) -> Tensor:
        return images


class Turner(Translator):
    """Translates, but lays bars upright and columns flat."""

    def translated(self, images: Tensor) -> Tensor:
        return -images.transpose(2, 3)


class Changer(Painter):
    """Redraws an image as the shape that it is told to."""

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        return {"image": spec["image"], "shape": replace(spec["shape"], target=True)}


class Refuser(Changer):
    """Returns the image that it was to change."""

    def sample(self, networks: Mapping[str, nn.Module], request: SampleRequest) -> Tensor:
        return request.batch["image"]


class Spots(Dataset[ShapesConfig]):
    """Points of the plane, no images."""

    Config = ShapesConfig

    @property
    def spec(self) -> DataSpec:
        return DataSpec(keys={"point": Key(kind="vector", shape=(2,)), "half": Key(kind="class", names=("a", "b"))})

    def __len__(self) -> int:
        return self.config.count if self.split == "train" else self.config.held_out

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1)
        points = torch.randn(1000, 2, generator=generator)[indices]
        return {"point": points, "half": (points[:, 0] > 0).long()}


class Thrower(Painter):
    """Draws points, and knows itself how far their mean is from that of real ones."""

    requires = frozenset({"point"})
    conditions = frozenset()
    produces = ("point",)
    metric = "off"
    metrics: ClassVar = {"off": "smaller", "seen": "larger"}

    def sample(self, networks: Mapping[str, nn.Module], request: SampleRequest) -> Tensor:
        return request.noise(request.n, 2)

    def measure(
        self, networks: Mapping[str, nn.Module], batches: Iterable[dict[str, Tensor]], generator: torch.Generator
    ) -> dict[str, Any]:
        assert not networks["generator"].training
        points = torch.cat([batch["point"] for batch in batches])
        drawn = torch.randn(len(points), 2, generator=generator)
        return {"off": (points.mean(0) - drawn.mean(0)).norm(), "seen": len(points)}


def sides(variant: Painter, **options: Any) -> tuple[Any, ...]:
    """The positional arguments of ``evaluate``, of two unpaired sides."""
    train, test = Sides(SidesConfig(**options)), Sides(SidesConfig(**options), "test")
    return variant, variant.networks(train.spec), train.spec, train, test


def spots(variant: Painter, **options: Any) -> tuple[Any, ...]:
    """The positional arguments of ``evaluate``, of points."""
    train, test = Spots(ShapesConfig(**options)), Spots(ShapesConfig(**options), "test")
    return variant, variant.networks(train.spec), train.spec, train, test
