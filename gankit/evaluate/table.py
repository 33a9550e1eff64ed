"""The table of metrics: what each is, which figures come of it, and which values of them are better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gankit.errors import PluginError
from gankit.plugin import Variant

Direction = Literal["larger", "smaller"]


@dataclass(frozen=True)
class Metric:
    """A way to measure samples. `figures` says of each number that comes of it which values are better; a name like
    ``swd_<side>`` stands for several."""

    meaning: str
    figures: Mapping[str, Direction]


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(
        "fraction of samples that show the class they were asked for, by the judge",
        {"accuracy": "larger", "accuracy_<key>": "larger"},
    ),
    "r_precision": Metric(
        "fraction of samples to which, of 100 captions, the one they were asked for comes nearest, by the reader",
        {"r_precision": "larger"},
    ),
    "mask_agreement": Metric(
        "fraction of pixels in which samples show what the masks of the images they are made of say",
        {"mask_agreement": "larger"},
    ),
    "fid_judge": Metric(
        "Fréchet distance between the judge's features of samples and of training images", {"fid_judge": "smaller"}
    ),
    "precision_recall": Metric(
        "fraction of samples among the real images, and of real images among the samples",
        {"precision": "larger", "recall": "larger"},
    ),
    "modes": Metric(
        "classes, or combinations of several, that the judge sees in samples; KL divergence of their shares from those "
        "of the training images, in nats; fraction of samples of whose class it is at least 90% sure",
        {"modes": "larger", "modes_kl": "smaller", "sure": "larger"},
    ),
    "diversity": Metric(
        "distance between samples of a class over that between real images of it",
        {"diversity": "larger", "diversity_min": "larger"},
    ),
    "swd": Metric(
        "sliced Wasserstein distance of patches of a Laplacian pyramid, x 1000",
        {"swd": "smaller", "swd_<side>": "smaller"},
    ),
    "fid": Metric(
        "Fréchet distance between Inception's features of samples and of real images, by torch-fidelity",
        {"fid": "smaller"},
    ),
    "kid": Metric(
        "kernel distance of the same features, mean over subsets, and its deviation among them",
        {"kid": "smaller", "kid_deviation": "smaller"},
    ),
    "inception_score": Metric(
        "exponential of the divergence of Inception's classes of a sample from those of all",
        {"inception_score": "larger"},
    ),
    "inception_precision_recall": Metric(
        "precision and recall of Inception's features",
        {"inception_precision": "larger", "inception_recall": "larger"},
    ),
    "lpips": Metric(
        "distance to the eye of samples from the images that they should be, by VGG16, through torch-fidelity",
        {"lpips": "smaller"},
    ),
    "lpips_diversity": Metric(
        "the same distance between two samples of the same condition", {"lpips_diversity": "larger"}
    ),
    "memorised": Metric(
        "fraction of samples nearer to one training image than 99% of real images are", {"memorised": "smaller"}
    ),
}
"""What can be measured of samples that are images. `fid_judge`, `precision_recall` and `modes` need classes of them,
`accuracy` also a variant that can be asked for one; `r_precision` one that draws from captions; `mask_agreement` a
dataset that sees masks in images; `lpips` samples that are made of an image of a pair, `lpips_diversity` noise. `fid`,
`kid`, `inception_score`, `inception_precision_recall` and those two are measured where they are asked for."""


def metric_of(figure: str) -> str | None:
    """The name in :data:`METRICS` of what gives `figure`; None if nothing does."""
    found = _find(figure)
    return found and found[0]


def better(figure: str, own: Mapping[str, Direction] | None = None) -> Direction | None:
    """Which values of `figure` are better, also of a variant's `own` metrics; None if nothing gives such a figure."""
    if own and figure in own:
        return own[figure]
    found = _find(figure)
    return found and found[1]


def _find(figure: str) -> tuple[str, Direction] | None:
    for metric, what in METRICS.items():
        for name, direction in what.figures.items():
            stem, several, _ = name.partition("<")
            if figure == name or (several and figure.startswith(stem) and figure != stem):
                return metric, direction
    return None


def check_own(variant: Variant[Any] | type[Variant[Any]]) -> None:
    """:class:`PluginError` if the variant's own metrics have no direction, or names that are gankit's."""
    for name, direction in variant.metrics.items():
        if better(name) is not None:
            raise PluginError(f"`metrics` names {name!r}, which is a metric of gankit's own: give it another name.")
        if direction not in ("larger", "smaller"):
            raise PluginError(f"`metrics` says {direction!r} of {name!r}; it is 'larger' or 'smaller' that is better.")
