"""Weights of StackGAN-Pytorch for ``stackgan``: ``netG_epoch_90.pth`` and ``netD_epoch_last.pth`` of either stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gankit.errors import UsageError
from gankit.foreign import Asked, Foreign, Renaming, WeightFile, WeightFormat
from gankit.options.spelling import give
from gankit.plugin import DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Published"]

FIRST = "STAGE1_G."
"""Before the names of a stage-I generator that stands in one of stage II."""
TEXT_LENGTH = 200
"""Bytes of a caption, which is looked up among those of the embeddings."""


class Published(WeightFormat):
    """StackGAN-Pytorch, of either stage, told embeddings that are in a file (--text.file)."""

    def read(self, files: Sequence[WeightFile], asked: Asked) -> Foreign | None:
        generators = [file for file in files if file.shape("ca_net.fc.weight")]
        judges = [file for file in files if file.shape("get_cond_logits.outlogits.0.weight")]
        if not generators or len(generators) + len(judges) < len(files):
            return None
        if len(generators) > 1 or len(judges) > 1:
            names = ", ".join(file.name for file in (generators if len(generators) > 1 else judges))
            raise UsageError(f"a stage of stackgan has one generator and one discriminator; of one kind are {names}.")
        if not asked.options.get("text.file"):
            what = f"the weights are told embeddings of {generators[0].shape('ca_net.fc.weight')[1]} numbers"
            raise UsageError(f"{what}: give a file that has them, with their captions ({give('text.file', 'FILE')}).")
        stage = _stage(generators[0])
        weights, options = dict(stage.weights), dict(stage.options)
        for judge in judges:
            weights["discriminator"] = _discriminator(judge)
            options["d_width"] = judge.shape("encode_img.0.weight")[0]
        image = Key(kind="image", shape=(stage.channels, stage.size, stage.size))
        return Foreign(
            spec=DataSpec(keys={"image": image, "text": Key(kind="text", shape=(TEXT_LENGTH,))}),
            weights=weights,
            options={
                **options,
                "projection": "relu",
                "text.encoder": "precomputed",
                "text.unscaled": True,
                "data.size": stage.size,
                "data.text_length": TEXT_LENGTH,
            },
            dataset="captioned-folder",
            preset="paper",
        )


@dataclass(frozen=True)
class _Stage:
    weights: Mapping[str, Mapping[str, Tensor]]
    options: Mapping[str, Any]
    channels: int
    size: int


def _stage(file: WeightFile) -> _Stage:
    inner = {key.removeprefix(FIRST): value for key, value in file.tensors.items() if key.startswith(FIRST)}
    if not inner:
        weights, options, low = _first(file)
        # the data's images may be larger than those of the stage: of the published model four times
        return _Stage({"generator": weights}, {**options, "stage": 1, "low": low}, _channels(file), low)
    stage1, options, low = _first(WeightFile(name=file.name, tensors=inner))
    own = {key: value for key, value in file.tensors.items() if not key.startswith(FIRST)}
    second, more, size = _second(WeightFile(name=file.name, tensors=own), low)
    both = {"stage1": stage1, "generator": second}
    return _Stage(both, {**options, **more, "stage": 2, "low": low}, _channels(file), size)


def _channels(file: WeightFile) -> int:
    return file.shape("img.0.weight")[0]


def _first(file: WeightFile) -> tuple[dict[str, Tensor], dict[str, Any], int]:
    """Weights, options, and the side of the images of a stage-I generator."""
    import torch

    names = Renaming()
    names.layer("ca_net.fc", "augmentation.project")
    names.layer("fc.0", "start", bias=False)
    names.batch_norm("fc.1", "start_norm")
    doublings = _ups(file, names)
    names.layer("img.0", "image", bias=False)
    weights = names.apply(file)
    condition = file.shape("ca_net.fc.weight")[0] // 2
    wide, joined = file.shape("fc.0.weight")
    z = joined - condition
    # theirs begins with the noise, ours with the condition
    weights["start.weight"] = torch.cat([weights["start.weight"][:, z:], weights["start.weight"][:, :z]], 1)
    options = {"z": z, "condition": condition, "g1_width": (wide // 16) >> (doublings - 1)}
    return weights, options, 4 << doublings


def _second(file: WeightFile, low: int) -> tuple[dict[str, Tensor], dict[str, Any], int]:
    """The same of what a stage-II generator adds to images of side `low`."""
    names = Renaming()
    names.layer("ca_net.fc", "augmentation.project")
    names.layer("encoder.0", "encoder.0", bias=False)
    halvings = sum(len(file.shape(f"encoder.{n}.weight")) == 4 for n in file.numbers(r"encoder\.(\d+)\.weight")) - 1
    for place in range(2, 2 + 3 * halvings, 3):
        names.layer(f"encoder.{place}", f"encoder.{place}", bias=False)
        names.batch_norm(f"encoder.{place + 1}", f"encoder.{place + 1}")
    names.layer("hr_joint.0", "joint.0", bias=False)
    names.batch_norm("hr_joint.1", "joint.1")
    blocks = len(file.numbers(r"residual\.(\d+)\.block\.0\.weight"))
    for theirs, ours in ((f"residual.{i}.block", f"residual.{i}.body") for i in range(blocks)):
        for place in (0, 3):
            names.layer(f"{theirs}.{place}", f"{ours}.{place}", bias=False)
            names.batch_norm(f"{theirs}.{place + 1}", f"{ours}.{place + 1}")
    doublings = _ups(file, names)
    names.layer("img.0", "image", bias=False)
    options = {"g2_width": file.shape("encoder.0.weight")[:1][0], "halvings": halvings, "blocks": blocks, "onto": False}
    return names.apply(file), options, (low >> halvings) << doublings


def _ups(file: WeightFile, names: Renaming) -> int:
    """How many doublings there are, which are named."""
    found = file.numbers(r"upsample(\d+)\.1\.weight")
    for number in found:
        names.layer(f"upsample{number}.1", f"ups.{3 * number - 3}", bias=False)
        names.batch_norm(f"upsample{number}.2", f"ups.{3 * number - 2}")
    return len(found)


def _discriminator(file: WeightFile) -> dict[str, Tensor]:
    names = Renaming()
    for place in file.numbers(r"encode_img\.(\d+)\.weight"):
        if len(file.shape(f"encode_img.{place}.weight")) == 4:
            names.layer(f"encode_img.{place}", f"encoder.{place}", bias=False)
        else:
            names.batch_norm(f"encode_img.{place}", f"encoder.{place}")
    names.layer("get_cond_logits.outlogits.0", "joint.0", bias=False)
    names.batch_norm("get_cond_logits.outlogits.1", "joint.1")
    names.layer("get_cond_logits.outlogits.3", "joint.3")
    if file.shape("get_uncond_logits.outlogits.0.weight"):
        names.layer("get_uncond_logits.outlogits.0", "alone")
    return names.apply(file)
