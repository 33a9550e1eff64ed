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
