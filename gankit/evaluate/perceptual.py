"""LPIPS (Zhang et al. 2018): how far pictures are from each other to the eye, by a VGG16, through torch-fidelity.

Between what is drawn and what should have been, where the data has that; and between two samples of the same condition,
which is how much of the noise is seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.data.images import to_uint8
from gankit.dataset import Dataset, stream_of
from gankit.device import derive_seed
from gankit.errors import UsageError
from gankit.evaluate.standard import Standard, check_weights, coloured, digest_of, library_of, told
from gankit.evaluate.wanted import from_rows, in_turn
from gankit.events import OnEvent
from gankit.plugin import Variant
from gankit.sampling.conditions import asked_keys, fill
from gankit.sampling.draw import draw_parts

if TYPE_CHECKING:
    from torch import nn

    from gankit.plugin import Batch

__all__ = ["PERCEPTUAL", "check_perceptual", "measure_perceptual", "perceptual_of"]

PERCEPTUAL = frozenset({"lpips", "lpips_diversity"})
"""Names of these metrics."""
SIDE = 64
"""Images with a side of fewer pixels are brought to so many: smaller ones the network sees next to nothing of."""
VGG16 = "https://download.pytorch.org/models/vgg16-397923af.pth"
"""What torchvision reads."""
AT_ONCE = 1 << 20
"""Pixels that are looked at, at once."""


def perceptual_of(variant: Variant[Any], data: Dataset[Any], key: str) -> set[str]:
    """Which of :data:`PERCEPTUAL` apply to a variant that draws `key`."""
    found = {"lpips_diversity"} if variant.random else set()
    return found | ({"lpips"} if _has_truth(variant, data, key) else set())


def _has_truth(variant: Variant[Any], data: Dataset[Any], key: str) -> bool:
    """Whether each image that samples are made of has one beside it, under `key`, that they should be."""
    spec = data.spec
    images = [name for name in from_rows(variant, spec, key) if spec[name].kind == "image"]
    paired = all(stream_of(data, name) == stream_of(data, key) for name in images)
    return bool(images) and paired and not in_turn(variant, spec, key)


def check_perceptual(how: Standard) -> None:
    """:class:`UsageError` if the library is not there, or its weights cannot be: before anything is drawn."""
    library_of()
    if how.weights is not None and not how.weights.is_dir():
        names = " and ".join(_names())
        raise UsageError(f"{how.weights}: for lpips --weights is a directory, with {names} in it.")


def measure_perceptual(
    variant: Variant[Any],
    networks: Mapping[str, nn.Module],
    rows: Sequence[Dataset[Any]],
    n: int,
    key: str,
    chosen: Set[str],
    how: Standard,
    seed: int,
    device: torch.device,
    tell: OnEvent,
) -> tuple[dict[str, float], dict[str, Any], list[str]]:
    """Figures of `n` samples, or pairs of samples, of `key`; how they came about; and what a reader should know.

    `rows`: the data that conditions, and what should come of them, are taken from.
    """
    spec = rows[0].spec
    keys = asked_keys(variant, spec, key)
    network, protocol = _network(how, min(spec.shape_of(key)[1:]) < SIDE)
    network.to(device)
    told_of: Any = {"device": device, "to": key, "tell": tell}

    def ask(start: int, stop: int, *, truth: bool = False) -> Batch:
        wanted = {**keys, key: spec[key]} if truth else keys
        return fill(type(variant).__name__, wanted, spec, stop - start, rows=lambda: rows, seed=seed, first=start).batch

    def drawn(seed: int) -> Iterator[Tensor]:
        return draw_parts(variant, networks, spec, ask, n, seed=seed, **told_of)

    figures, broken = {}, 0
    with told("LPIPS"):
        if "lpips" in chosen:
            sums, start = [], 0
            for part in drawn(seed):
                real = ask(start, start + len(part), truth=True)[key]
                broken += _broken(part)
                sums += _distances(network, part, real, device)
                start += len(part)
            figures["lpips"] = float(torch.cat(sums).mean())
        if "lpips_diversity" in chosen:
            sums = []
            for one, other in zip(drawn(seed), drawn(derive_seed(seed, "again")), strict=True):
                broken += _broken(one) + _broken(other)
                sums += _distances(network, one, other, device)
            figures["lpips_diversity"] = float(torch.cat(sums).mean())
    notes = [f"{broken} samples hold NaN or infinite values, which count as mid-grey to LPIPS"] if broken else []
    return figures, {**protocol, "pairs": n}, notes


def _distances(network: nn.Module, ones: Tensor, others: Tensor, device: torch.device) -> list[Tensor]:
    """Of each pair of images, float (k, C, H, W) in [-1, 1], float64 on the CPU, a few at a time."""
    high, wide = (max(side, SIDE) for side in ones.shape[2:])
    found = []
    for one, other in zip(*(images.split(max(1, AT_ONCE // (high * wide))) for images in (ones, others)), strict=True):
        pair = (to_uint8(coloured(images)).to(device) for images in (one, other))
        with torch.no_grad():
            found.append(network(*pair).reshape(-1).double().cpu())
    return found


def _broken(images: Tensor) -> int:
    return int((~images.isfinite()).flatten(1).any(1).sum())


def _names() -> tuple[str, str]:
    """What the files of weights are called: of the layers' weights, and of VGG16."""
    from torch_fidelity.sample_similarity_lpips import URL_VGG16_LPIPS

    return URL_VGG16_LPIPS.rpartition("/")[2], VGG16.rpartition("/")[2]


def _network(how: Standard, small: bool) -> tuple[nn.Module, dict[str, Any]]:
    """The library's own, in eval mode, and what there is to say of it."""
    library = library_of()
    from torch_fidelity.sample_similarity_lpips import URL_VGG16_LPIPS, SampleSimilarityLPIPS

    with _hub(how.weights) as folder:
        digests = {}
        for url in (URL_VGG16_LPIPS, VGG16):
            name = url.rpartition("/")[2]
            path = folder / name
            if not path.exists():
                _download(url, path, how.weights)
            check_weights(path)
            digests[name] = digest_of(path)
        network = SampleSimilarityLPIPS("lpips-vgg16", sample_similarity_resize=SIDE if small else None)
    protocol = {"library": f"torch-fidelity {library.__version__}", "network": "lpips-vgg16", "weights": digests}
    return network.eval(), {**protocol, "side": SIDE if small else "the images' own"}


@contextmanager
def _hub(weights: Path | None) -> Iterator[Path]:
    """Where the library looks for files of weights: torch's own place, or as if that were the directory `weights`."""
    usual = torch.hub.get_dir()
    if weights is None:
        yield Path(usual) / "checkpoints"
        return
    with TemporaryDirectory(prefix="gankit-") as place:
        os.symlink(weights.resolve(), Path(place) / "checkpoints", target_is_directory=True)
        torch.hub.set_dir(place)
        try:
            yield Path(place) / "checkpoints"
        finally:
            torch.hub.set_dir(usual)


def _download(url: str, path: Path, given: Path | None) -> None:
    if given is not None:
        raise UsageError(f"{given} has no {path.name}: {url}")
    digest = path.stem.rpartition("-")[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), digest if len(digest) == 8 else None, progress=False)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        text = f"the weights of LPIPS cannot be downloaded ({reason}). Give a directory of them (--weights DIR)"
        raise UsageError(f"{text}: {url}") from error
