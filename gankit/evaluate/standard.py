"""The field's own measures, by the standard Inception network: FID, KID, inception score, precision and recall.

All of them are torch-fidelity's (the extra ``fid``), which agrees with the original implementations; here images are
brought before it, and what was compared is written down.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Set
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gankit.cache import byte_size
from gankit.data.images import at_once, to_float, to_uint8
from gankit.data.opacity import on_white
from gankit.errors import GankitError, UsageError
from gankit.evaluate.real import RealImages
from gankit.events import OnEvent, progress
from gankit.json_file import shortened

INCEPTION = "inception-v3-compat"
SIDE = 299
"""Pixels a side of what the network takes."""
LEAST = 10
"""Fewest samples: an inception score is the mean over ten parts."""
ENOUGH = 10_000
"""Samples below which a figure is told to be one of few."""
_ARGUMENTS = {"fid": "fid", "kid": "kid", "inception_score": "isc", "inception_precision_recall": "prc"}
_FIGURES = {
    "fid": "frechet_inception_distance",
    "kid": "kernel_inception_distance_mean",
    "kid_deviation": "kernel_inception_distance_std",
    "inception_score": "inception_score_mean",
    "inception_precision": "precision",
    "inception_recall": "recall",
}
STANDARD = frozenset(_ARGUMENTS)
"""Names of these metrics."""


@dataclass(frozen=True)
class Standard:
    """How samples are measured by the standard network."""

    split: Literal["train", "test"] = "train"
    """The real images that samples are compared with: all of that split."""
    resizing: Literal["library", "clean"] = "library"
    """How images come to 299x299: bilinear without antialiasing, as in the original TensorFlow code; or bicubic with
    it, by Pillow (Parmar et al. 2022), rounded to 8 bits."""
    weights: Path | None = None
    """A file of the network's weights, as torch-fidelity distributes it, or a directory that has all such files by
    their names; None: its own, which are downloaded once."""
    extractor: str = INCEPTION
    """The network, by the name under which torch-fidelity knows it."""


def check_standard(how: Standard, n: int) -> None:
    """:class:`UsageError` if the library is not there, or what is asked for cannot be: before anything is drawn."""
    library_of()
    if n < LEAST:
        raise UsageError(f"n is {n}: the standard metrics need at least {LEAST} samples.")
    if how.weights is not None and not _file_of(how.weights).is_file():
        raise UsageError(f"{_file_of(how.weights)}: there is no such file of weights.")


def measure_standard(
    parts: Iterator[Tensor],
    n: int,
    real: RealImages,
    chosen: Set[str],
    how: Standard,
    device: torch.device,
    tell: OnEvent,
) -> tuple[dict[str, float], dict[str, Any], list[str]]:
    """Of `n` samples, which come in `parts` (float (k, C, H, W) in [-1, 1]), against `real` images.

    Returns figures by name, how they came about, and what a reader should know of them. `chosen`: out of
    :data:`STANDARD`. :class:`UsageError` if there are no weights, or images are neither grey nor coloured.
    """
    library, weights = library_of(), _weights(how)
    with TemporaryDirectory(prefix="gankit-") as folder:
        samples = _Pictures(Path(folder) / "samples", n, how)
        for part in parts:
            samples.add(part)
        reals = _Pictures(Path(folder) / "real", len(real), how)
        for rows in progress(torch.arange(len(real)).split(at_once(real.shape)), "reading real images", tell):
            reals.add(to_float(real.batch(rows)[real.key]))
        size = min(1000, n, len(real))
        with told(how.extractor), torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            values = library.calculate_metrics(
                input1=samples,
                input2=reals,
                **{argument: name in chosen for name, argument in _ARGUMENTS.items()},
                feature_extractor=how.extractor,
                feature_extractor_weights_path=str(weights) if weights else None,
                kid_subset_size=size,
                cuda=device.type == "cuda",
                cache=False,
                save_cpu_ram=True,
                verbose=False,
            )
    figures = {ours: float(values[theirs]) for ours, theirs in _FIGURES.items() if theirs in values}
    protocol = {
        "library": f"torch-fidelity {library.__version__}",
        "extractor": how.extractor,
        "weights": digest_of(weights) if weights else None,
        "resizing": how.resizing,
        "split": real.data.split,
        "real_images": len(real),
        "samples": n,
        **({"kid_subset_size": size} if "kid" in chosen else {}),
    }
    notes = []
    if samples.broken:
        notes.append(f"{samples.broken} of {n} samples hold NaN or infinite values, which count as mid-grey")
    if (few := min(n, len(real))) < ENOUGH:
        notes.append(f"the standard metrics are of {few:,} images: compare them with figures of as many")
    return figures, protocol, notes


def library_of() -> Any:
    try:
        import torch_fidelity
    except ImportError as error:
        reason = "" if error.name == "torch_fidelity" else f" ({error})"
        raise UsageError(f"the standard metrics need torch-fidelity: pip install 'gankit[fid]'{reason}.") from error
    except RuntimeError as error:  # a torchvision that was built for another torch
        raise UsageError(f"torch-fidelity does not work here: {shortened(str(error))}.") from error
    return torch_fidelity


def _weights(how: Standard) -> Path | None:
    """The file of weights, seen to hold tensors and nothing else; None where the network has none of its own.

    The library reads it with pickle in full. What torch reads as weights alone runs nothing there either.
    """
    path = _file_of(how.weights) if how.weights else None
    if path is None and how.extractor == INCEPTION:
        path = _downloaded()
    if path is None:
        return None
    check_weights(path)
    return path


def check_weights(path: Path) -> None:
    """:class:`UsageError` unless torch reads the file as weights alone."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsageError(
            f"{path} does not hold weights and nothing else: {shortened(str(error))}. Give another file."
        ) from error


def _file_of(weights: Path) -> Path:
    """Inception's file, where `weights` is a directory of all."""
    return weights / _url().rpartition("/")[2] if weights.is_dir() else weights


def _url() -> str:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return str(URL_INCEPTION_V3)


def _downloaded() -> Path:
    from torch.hub import download_url_to_file, get_dir

    url = _url()
    name = url.rpartition("/")[2]
    path = Path(get_dir()) / "checkpoints" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_url_to_file(url, str(path), name.rpartition("-")[2].partition(".")[0], progress=False)
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "reason", error)
            raise UsageError(
                f"the weights of Inception cannot be downloaded ({reason}). Give a file of them: {url}"
            ) from error
    return path


@contextmanager
def told(network: str) -> Iterator[None]:
    """The library's complaints as errors of ours."""
    try:
        yield
    except (ValueError, KeyError, RuntimeError) as error:
        raise GankitError(f"torch-fidelity with {network!r}: {shortened(str(error))}") from error


class _Pictures(torch.utils.data.Dataset[Tensor]):
    """Images as the library takes them, uint8 (3, H, W), in a file that lies in memory as far as there is room."""

    def __init__(self, path: Path, n: int, how: Standard) -> None:
        self._path, self._n, self._clean = path, n, how.resizing == "clean"
        self._rows: np.memmap[Any, Any] | None = None
        self._filled = 0
        self.broken = 0
        """Images in which something was not finite."""

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> Tensor:
        assert self._rows is not None
        return torch.from_numpy(self._rows[index].copy())

    def add(self, images: Tensor) -> None:
        """The next ones, float (k, C, H, W) in [-1, 1]."""
        self.broken += int((~images.isfinite()).flatten(1).any(1).sum())
        pictures = to_uint8(coloured(images))
        if self._clean:
            pictures = torch.stack([_clean(one) for one in pictures])
        if self._rows is None:
            shape = (self._n, *pictures.shape[1:])
            _reserve(self._path, math.prod(shape))
            self._rows = np.memmap(self._path, np.uint8, "r+", shape=shape)
        self._rows[self._filled : self._filled + len(pictures)] = pictures.numpy()
        self._filled += len(pictures)


def _reserve(path: Path, size: int) -> None:
    """A file of so many bytes that are there: in one with holes a disk that is full would kill the process."""
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        what = f"there is no room for {byte_size(size)} of images in {path.parent.parent}: {error.strerror or error}"
        raise UsageError(f"{what}. Set TMPDIR to a directory on a larger disk, or take fewer samples.") from error


def coloured(images: Tensor) -> Tensor:
    """Of grey images three equal channels; of those with opacity what is seen on white."""
    channels = images.shape[1]
    if channels == 4:
        return on_white(images)
    if channels not in (1, 3):
        raise UsageError(f"the standard metrics are of grey and coloured images; these have {channels} channels.")
    return images.expand(-1, 3, -1, -1)


def _clean(picture: Tensor) -> Tensor:
    from PIL import Image

    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    resized = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return torch.from_numpy(resized.copy()).permute(2, 0, 1)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


__all__ = [
    "STANDARD",
    "Standard",
    "check_standard",
    "check_weights",
    "coloured",
    "digest_of",
    "library_of",
    "measure_standard",
    "told",
]
