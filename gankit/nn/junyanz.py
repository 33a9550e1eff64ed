"""What pytorch-CycleGAN-and-pix2pix calls the weights of blocks that are the same here: by names and shapes alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from gankit.errors import UsageError
from gankit.foreign import Renaming, WeightFile
from gankit.nn.norm_act import Norm

__all__ = ["Block", "read_patch", "read_resnet", "read_unet"]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A network that was recognised in a file."""

    file: WeightFile
    inputs: int
    outputs: int
    width: int
    """Channels after the first layer."""
    depth: int
    """Residual blocks, or halvings."""
    norm: Norm
    weights: dict[str, Tensor] = field(repr=False)
    """As the block of gankit calls them."""


def read_resnet(file: WeightFile) -> Block | None:
    """`gankit.nn.ResNetGenerator` of instance norm; None if `file` holds none. :class:`UsageError` for another norm."""
    blocks = file.numbers(r"model\.(\d+)\.conv_block\.1\.weight")
    if not blocks or not file.shape("model.1.weight"):
        return None
    if file.shape("model.2.weight") or not file.shape("model.1.bias"):
        raise UsageError(f"{file.name} has a norm with weights; residual generators here have instance norm without.")
    if file.shape(f"model.{blocks[0]}.conv_block.6.weight"):
        raise UsageError(f"{file.name} has dropout in its residual blocks, which those of gankit have not.")
    names, end = Renaming(), 10 + len(blocks)
    for there, here in {1: 1, 4: 3, 7: 5, end: end - 3, end + 3: end - 1}.items():
        names.layer(f"model.{there}", f"layers.{here}")
        names.instance_norm(f"model.{there + 1}")
    for i in range(len(blocks)):
        theirs, ours = f"model.{10 + i}.conv_block", f"layers.{7 + i}"
        names.layer(f"{theirs}.1", f"{ours}.first")
        names.instance_norm(f"{theirs}.2")
        names.layer(f"{theirs}.5", f"{ours}.second")
        names.instance_norm(f"{theirs}.6")
    names.layer(f"model.{end + 7}", f"layers.{end + 2}")
    weights = names.apply(file)
    width, inputs = file.shape("model.1.weight")[:2]
    outputs = file.shape(f"model.{end + 7}.weight")[0]
    return Block(
        file=file, inputs=inputs, outputs=outputs, width=width, depth=len(blocks), norm="instance", weights=weights
    )


def read_unet(file: WeightFile, norm: Norm | None = None) -> Block | None:
    """`gankit.nn.UNetGenerator`; None if `file` holds none.

    Batch norm may be read as another `norm` that has a scale and a shift of each channel; its averages are left out.
    """
    places = ["model.model"]
    while file.shape(f"{places[-1]}.{3 if places[1:] else 1}.model.1.weight"):
        places.append(f"{places[-1]}.{3 if places[1:] else 1}.model")
    downs, first = len(places), file.shape("model.model.0.weight")
    if downs < 2 or len(first) != 4 or not (last := file.shape("model.model.3.weight")):
        return None
    norm = _norm(file, f"{places[-1]}.4", norm)
    bias, names = norm == "instance", Renaming()
    names.layer("model.model.0", "downs.0.0", "downs.0.1.bias" if bias else False)
    names.layer("model.model.3", "last.0")
    for k, place in enumerate(places[1:], 1):
        inner, up = k == downs - 1, f"ups.{downs - 1 - k}"
        names.layer(f"{place}.1", f"downs.{k}.0", f"downs.{k}.1.bias" if bias and inner else bias)
        if not inner:
            _normed(names, norm, f"{place}.2", f"downs.{k}.1")
        names.layer(f"{place}.{3 if inner else 5}", f"{up}.up", bias)
        _normed(names, norm, f"{place}.{4 if inner else 6}", f"{up}.norm_relu")
    weights = names.apply(file)
    return Block(file=file, inputs=first[1], outputs=last[1], width=first[0], depth=downs, norm=norm, weights=weights)


def read_patch(file: WeightFile, norm: Norm | None = None) -> Block | None:
    """`gankit.nn.PatchDiscriminator`, of patches or of pixels; None if `file` holds none. For `norm` see the other."""
    stem = "net" if file.shape("net.0.weight") else "model"
    places = [n for n in file.numbers(rf"{stem}\.(\d+)\.weight") if len(file.shape(f"{stem}.{n}.weight")) == 4]
    middle = len(places) - 2
    if middle < 1 or places != [0, *(2 + 3 * i for i in range(middle + 1))]:
        return None
    first, last = (file.shape(f"{stem}.{places[i]}.weight") for i in (0, -1))
    side = 1 if stem == "net" else 4
    if first[2:] != (side, side) or last[0] != 1:
        return None
    norm = _norm(file, f"{stem}.3", norm)
    names = Renaming()
    names.layer(f"{stem}.0", "layers.0", "layers.1.bias")
    for i in range(middle):
        names.layer(f"{stem}.{2 + 3 * i}", f"layers.{2 + 2 * i}", norm == "instance")
        _normed(names, norm, f"{stem}.{3 + 3 * i}", f"layers.{3 + 2 * i}")
    final = f"{stem}.{places[-1]}"
    without = stem == "net" and not file.shape(f"{final}.bias")
    names.layer(final, f"layers.{2 + 2 * middle}", not without)
    weights = names.apply(file)
    if without:  # of pixels, behind batch norm: the last layer here has one
        weights[f"layers.{2 + 2 * middle}.bias"] = file.tensors[f"{final}.weight"].new_zeros(1)
    return Block(
        file=file,
        inputs=first[1],
        outputs=1,
        width=first[0],
        depth=0 if stem == "net" else middle,
        norm=norm,
        weights=weights,
    )


def _norm(file: WeightFile, place: str, wanted: Norm | None) -> Norm:
    """The norm at `place`: batch norm has weights; or what it is `wanted` to be read as."""
    found: Norm = "batch" if file.shape(f"{place}.weight") else "instance"
    if wanted is None or wanted == found:
        return found
    if found == "instance" or wanted == "instance":
        raise UsageError(f"{file.name} has {found} norm, which cannot be read as norm = {wanted}.")
    return wanted


def _normed(names: Renaming, norm: Norm, theirs: str, ours: str) -> None:
    if norm == "batch":
        names.batch_norm(theirs, f"{ours}.0")
    elif norm == "layer":
        names.instance_norm(theirs, f"{ours}.0")
    else:
        names.instance_norm(theirs, ours if norm == "affine" else None)
