"""What an image is told to become: one class of several, or a vector of attributes that are there or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gankit.errors import UsageError
from gankit.options.spelling import give
from gankit.plugin import DataSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Domain", "domain_of"]


@dataclass(frozen=True)
class Domain:
    """The key `key` of the data as a domain of `number` channels."""

    key: str
    number: int
    names: tuple[str, ...]
    """Of classes: theirs. Of attributes, of which any may hold at once: none."""

    def planes(self, labels: Tensor) -> Tensor:
        """Labels as in a step, (N,) or (N, `number`), as what the generator is told: float32 (N, `number`), of classes
        one 1 a row."""
        from torch.nn import functional as F

        return F.one_hot(labels, self.number).float() if self.names else labels.float()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """How wrong `logits` (N, `number`) are of `labels`, scalar: cross-entropy; of attributes the binary one, summed
        over them (Choi et al. 2018, equations 2 and 3)."""
        from torch.nn import functional as F

        logits = logits.float()
        if self.names:
            return F.cross_entropy(logits, labels)
        return F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="sum") / len(logits)


def domain_of(spec: DataSpec, named: str) -> Domain:
    """The domains of the data: the key that is `named`; else ``label``, the only classes, or the only vector.

    :class:`UsageError` if there is no such key, or only one class.
    """
    classes = [name for name, key in spec.keys.items() if key.kind == "class"]
    vectors = [name for name, key in spec.keys.items() if key.kind == "vector" and len(key.shape) == 1]
    if named:
        found = [named] if named in classes + vectors else []
    else:
        found = [name for name in classes if name == "label"] or classes or vectors
    if len(found) != 1:
        known = classes + vectors
        which = f": {', '.join(known)} ({give('class_key', known[0])})" if known else ""
        what = f"has none under {named!r}" if named else "has several" if found else f"has only {', '.join(spec.keys)}"
        raise UsageError(f"stargan translates between classes (or attributes, a vector), and the data {what}{which}.")
    key = spec[found[0]]
    number = len(key.names) if key.kind == "class" else key.shape[0]
    if number < 2 and key.kind == "class":
        raise UsageError(f"stargan translates between classes, and {found[0]!r} has one alone: {key.names[0]}.")
    return Domain(found[0], number, key.names if key.kind == "class" else ())
