"""Dataset ``svhn``: house numbers' digits, cropped, as ``.mat`` files of MATLAB, which hold nothing that is run.

Source: Y. Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning (2011), format 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gankit.data.files import directory
from gankit.errors import UsageError
from gankit.files import open_regular
from gankit_plugin_gan.held import Held, RootConfig
from gankit_plugin_gan.idx_sets import DIGITS
from gankit_plugin_gan.root import names_in, not_found

if TYPE_CHECKING:
    import numpy as np

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
_GET = "Get the cropped digits of SVHN, train_32x32.mat and test_32x32.mat"


class Svhn(Held):
    """The Street View House Numbers, cropped to 32x32: 73,257 digits to train on, 26,032 held out.

    ``image``: uint8 (N, 3, 32, 32). ``label``: int64 (N,), ``0`` to ``9``; in the files 10 stands for 0.
    """

    def __init__(self, config: RootConfig, split: Literal["train", "test"] = "train") -> None:
        import torch

        super().__init__(config, split)
        root = directory(config.root, "data.root", "the cropped digits of SVHN")
        there = set(names_in(root))
        if not there.intersection(FILES.values()):
            raise not_found(root, set(FILES.values()).__contains__, _GET)
        if lacks := [name for name in FILES.values() if name not in there]:
            raise UsageError(f"data.root: {root} lacks {', '.join(lacks)}. {_GET}")
        images, labels = _read(root / FILES[split])
        self.images = torch.from_numpy(images).permute(3, 2, 0, 1).contiguous()
        self.classes = {"label": torch.from_numpy(labels).long() % 10}
        self.names = {"label": DIGITS}
        self.rows = [(FILES[split], len(labels))]


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (32, 32, 3, N) and labels uint8 (N,) from 1 to 10."""
    held = _load(path)
    images, labels = held.get("X"), held.get("y")
    if images is None or labels is None:
        raise UsageError(f"data.root: {path} does not hold X and y. {_GET}")
    if images.dtype != "uint8" or images.shape[:3] != (32, 32, 3):
        raise UsageError(f"data.root: X in {path} is {images.dtype} {images.shape}, not uint8 (32, 32, 3, N). {_GET}")
    images, labels = images.reshape(32, 32, 3, -1), labels.ravel()  # of one image MATLAB drops the last dimension
    if images.shape[3] != len(labels):
        raise UsageError(f"data.root: {path} holds {images.shape[3]} images, but {len(labels)} labels; get it again")
    if labels.dtype.kind not in "uif" or not len(labels) or labels.min() < 1 or labels.max() > 10:
        raise UsageError(f"data.root: y in {path} is not labels from 1 to 10; get it again")
    return images, labels.astype("uint8")


def _load(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        with open_regular(path) as file:
            return loadmat(file, variable_names=("X", "y"))
    except NotImplementedError:
        raise UsageError(f"data.root: {path} is a MATLAB 7.3 file, which the original is not. {_GET}") from None
    except OSError as error:
        raise UsageError(f"data.root: {path} cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file: ValueError, TypeError, KeyError, zlib.error and more
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"data.root: {path} cannot be read ({reason}); get it again") from None
