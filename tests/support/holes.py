"""Images, masks that any of them may get, and a variant that fills what a mask hides."""

from __future__ import annotations

import torch
from tiny_gan import BlobsConfig, TinyConfig
from torch import nn

from gankit.plugin import Dataset, DataSpec, Key, Phase, Variant


class Holes(Dataset[BlobsConfig]):
    Config = BlobsConfig
    spec = DataSpec(
        keys={
            "image": Key(kind="image", shape=(1, 8, 8)),
            "label": Key(kind="class", names=("dark", "light")),
            "mask": Key(kind="mask", shape=(1, 8, 8)),
        }
    )

    def streams(self):
        return {"image": 20, "mask": 3}

    def batch(self, indices):
        found = {}
        if "image" in indices:
            rows = indices["image"]
            level = (rows % 2 * 100 + rows).to(torch.uint8)
            found |= {"image": level.view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous(), "label": rows % 2}
        if "mask" in indices:
            columns = torch.arange(8) // 2 == indices["mask"][:, None]
            found["mask"] = columns.to(torch.uint8).view(-1, 1, 1, 8).expand(-1, 1, 8, 8).mul(255)
        return found


class Filler(Variant[TinyConfig]):
    """Paints white what the mask hides, and spoils the rest a little."""

    Config = TinyConfig
    requires = frozenset({"image", "label", "mask"})
    conditions = frozenset({"image", "mask"})
    random = False
    keeps = "mask"

    def networks(self, spec):
        return {"net": nn.Conv2d(1, 1, 1)}

    def phases(self):
        def loss(step):
            return {"loss": step.networks["net"](step.batch["image"] * step.batch["mask"]).square().mean()}

        return [Phase(name="net", updates=("net",), loss=loss)]

    def sample(self, networks, request):
        image, mask = request.batch["image"], request.batch["mask"]
        return torch.where(mask > 0, torch.ones_like(image), image * 0.5)

    def panels(self, networks, request):
        image, mask = request.batch["image"], request.batch["mask"]
        return {"hole": image * (1 - mask), "filled": self.sample(networks, request)}


class Labelled(Filler):
    """Its panels show the class of each image, which is known of the data's alone."""

    def panels(self, networks, request):
        return {"label": request.batch["label"].view(-1, 1, 1, 1).expand(-1, 1, 8, 8).float()}


class Anywhere(Filler):
    """Of data without masks: fills the left half where none is given."""

    requires = frozenset({"image"})
    conditions = frozenset()

    def phases(self):
        def loss(step):
            return {"loss": step.networks["net"](step.batch[self.produces[0]]).square().mean()}

        return [Phase(name="net", updates=("net",), loss=loss)]

    def asks(self, spec, produces):
        return {produces: spec[produces], "mask": Key(kind="mask", shape=(1, 8, 8))}

    def _filled(self, request):
        image = request.batch[request.produces]
        left = (torch.arange(8) < 4).float().expand_as(image)
        return torch.where(request.batch.get("mask", left) > 0, torch.ones_like(image), image * 0.5)

    def sample(self, networks, request):
        return self._filled(request)

    def panels(self, networks, request):
        return {"before": request.batch[request.produces], "after": self._filled(request)}


class Chosen(Anywhere):
    """The same of images under another key, which it says itself."""

    def __init__(self, config):
        super().__init__(config)
        self.requires, self.produces = frozenset({"photo"}), ("photo",)


class Photos(Holes):
    """Images under the key ``photo``, and nothing else."""

    spec = DataSpec(keys={"photo": Holes.spec["image"]})

    def streams(self):
        return {"": 20}

    def batch(self, indices):
        return {"photo": super().batch({"image": indices})["image"]}
