"""A plugin whose pictures say what they were asked with: TOY stands for its name.

TOY paints a box in the colour of its class, on a ground as light as its tone, with a white rim if its text asks for a
frame, and noise in one pixel. TOY-negative makes negatives of images.
"""

import torch
from torch import nn

from gankit.data.text import decode_text, encode_text
from gankit.plugin import Config, Dataset, DataSpec, Key, Phase, Variant

SIDE = 16
QUICK = {"steps": 2, "batch_size": 2, "log_every": 1, "sample_n": 4, "checkpoint_every": 1, "workers": 0}


class Dots(Dataset):
    in_memory = True

    @property
    def spec(self):
        return DataSpec(
            keys={
                "image": Key(kind="image", shape=(3, SIDE, SIDE)),
                "label": Key(kind="class", names=("red", "green", "<b>blue</b>")),
                "text": Key(kind="text", shape=(40,)),
                "box": Key(kind="box", shape=(4,)),
            }
        )

    def __len__(self):
        return 6

    def batch(self, indices):
        n = len(indices)
        return {
            "image": (indices * 37 % 200).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE).contiguous(),
            "label": indices % 3,
            "text": encode_text(["plain"] * n, 40),
            "box": torch.tensor([0.25, 0.25, 0.75, 0.75]).expand(n, 4).contiguous(),
        }


class Sides(Dots):
    @property
    def spec(self):
        return DataSpec(keys={name: Key(kind="image", shape=(3, SIDE, SIDE)) for name in ("a", "b")})

    def batch(self, indices):
        images = super().batch(indices)["image"]
        return {"a": images, "b": 255 - images}


class Still(nn.Module):
    """One weight, which is trained towards 1."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


class Toy(Variant):
    """Paints what it is asked for."""

    class Config(Config):
        pass

    dataset = "TOY-dots"
    requires = frozenset({"image", "label", "text", "box"})
    conditions = frozenset({"label", "text", "box"})
    presets = {"default": QUICK}  # noqa: RUF012

    def networks(self, spec):
        return {"generator": Still()}

    def phases(self):
        return [Phase(name="generator", updates=("generator",), loss=self.loss)]

    def loss(self, step):
        return {"loss": (step.networks["generator"].weight - 1).square().sum()}

    def asks(self, spec, produces):
        return {**super().asks(spec, produces), "tone": Key(kind="vector")}

    def codes(self, request):
        return request.noise(request.n, 1)

    def decode(self, networks, codes, request):
        asked = request.batch
        tone = asked.get("tone", torch.full((request.n,), -1.0)).reshape(-1, 1, 1, 1)
        images = tone.clamp(-1, 1).expand(-1, 3, SIDE, SIDE).clone()
        for image, label, box in zip(images, asked["label"], (asked["box"] * SIDE).round().int(), strict=True):
            left, top, right, bottom = box.tolist()
            image[:, top:bottom, left:right] = -1
            image[label, top:bottom, left:right] = 1
        for image, text in zip(images, decode_text(asked["text"].cpu()), strict=True):
            if "frame" in text:
                image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1] = 1, 1, 1, 1
        images[:, 0, 0, 0] = codes[:, 0].tanh()
        return images


class Negative(Variant):
    """Makes negatives."""

    class Config(Config):
        pass

    dataset = "TOY-sides"
    requires = frozenset({"a", "b"})
    produces = ("b", "a")
    random = False
    presets = {"default": QUICK}  # noqa: RUF012

    def networks(self, spec):
        return {"generator": Still()}

    def phases(self):
        return [Phase(name="generator", updates=("generator",), loss=self.loss)]

    def loss(self, step):
        return {"loss": (step.networks["generator"].weight - 1).square().sum()}

    def asks(self, spec, produces):
        source = "a" if produces == "b" else "b"
        return {source: spec[source]}

    def sample(self, networks, request):
        return -request.batch["a" if request.produces == "b" else "b"]
