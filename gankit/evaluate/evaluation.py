"""Draw samples of a trained variant and measure them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.dataset import Dataset, stream_of
from gankit.errors import GankitError, UsageError
from gankit.evaluate.figures import floor, measure, right_by_class, shares_by_class
from gankit.evaluate.judged import draw_judged
from gankit.evaluate.neighbours import write_neighbours
from gankit.evaluate.own import measure_own
from gankit.evaluate.patches import levels
from gankit.evaluate.perceptual import PERCEPTUAL, check_perceptual, measure_perceptual, perceptual_of
from gankit.evaluate.real import RealImages, class_keys
from gankit.evaluate.reference import Reference, reference_for
from gankit.evaluate.standard import STANDARD, Standard, check_standard, measure_standard
from gankit.evaluate.table import METRICS, check_own, metric_of
from gankit.evaluate.wanted import captions_held_to, from_rows, held_to, in_turn, masks_held_to
from gankit.events import OnEvent, ignore
from gankit.plugin import DataSpec
from gankit.sampling.conditions import choose, conditions
from gankit.sampling.draw import draw_parts
from gankit.sampling.sheets import hidden_channels

if TYPE_CHECKING:
    from torch import nn

    from gankit.plugin import Batch, Variant

OF_CLASSES = {"accuracy", "fid_judge", "precision_recall", "modes"}
"""The metrics that ask the judge."""
PATCHED = 512
"""Most images whose patches `swd` compares."""


def evaluate(
    variant: Variant[Any],
    networks: Mapping[str, nn.Module],
    spec: DataSpec,
    train: Dataset[Any],
    test: Dataset[Any] | None,
    *,
    n: int | None = None,
    at_most: int = 1000,
    seed: int = 0,
    to: str | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    metrics: Iterable[str] | None = None,
    sheet: Path | None = None,
    standard: Standard | None = None,
    tell: OnEvent = ignore,
) -> dict[str, Any]:
    """Draw `n` samples and measure them. The same arguments give the same figures.

    Args:
        networks: as samples are to be drawn from: averaged where the variant says so. They are put into eval mode for
            the time of sampling.
        train: the real images samples are compared with, and the judge is trained on.
        test: real images that only check the judge, give captions and attributes to ask for, and say how far real
            images are from one another. None or empty if there are none.
        n: None for `at_most`, or fewer: no more than there are held-out inputs, if the variant is not ``random``.
        to: which of ``variant.produces`` is drawn, and compared with real images under that key; None: the first.
        batch_size: samples in the held-out batches that the variant's own metrics are measured over.
        metrics: names out of :data:`METRICS` and ``variant.metrics``; None for those that apply, among them the
            variant's own.
        standard: how those of standard networks are taken; None: as :class:`Standard` says by itself.
        tell: is told what takes long, and how far it is.
        sheet: where to write a PNG of samples beside their nearest training images; a note says if that fails.

    Returns:
        ``metrics`` (name to float; only finite values), ``classes`` (accuracy by class key and class), ``shares``
        (fraction of samples in which the judge sees each class, if `modes` is measured), ``judge`` (what it is and its
        accuracy on held-out real images, or None), ``produces`` (the key compared with, or None), ``n``
        (0 if nothing was drawn), ``seed``, ``protocol`` (how the figures came about, among them `floor`: the same
        figures for held-out real images), ``notes``. JSON-able.

    Raises:
        UsageError: `n` below 1, an unknown metric, or one that does not apply, or `to` is nothing that is produced.
        PluginError: what the variant returns is not what it says.
    """
    if n is not None and n < 1:
        raise UsageError(f"n must be at least 1, got {n}.")
    if len(train) == 0:
        raise UsageError("The train split is empty: there is nothing to compare samples with.")
    check_own(variant)
    device = torch.device(device)
    test = test if test is not None and len(test) else None
    key = choose(variant, to) or None
    chosen, notes = _choose(metrics, variant, train, key)
    found = _Found({name: METRICS[name].meaning for name in METRICS if name in chosen}, notes)
    if key is not None and chosen & METRICS.keys():
        if train.streams()[stream_of(train, key)] == 0:
            raise UsageError(f"The train split has no {key!r}: there is nothing to compare samples with.")
        rows = [train] if test is None else [test, train]
        count = _number(n or at_most, n is not None, variant, rows, key, notes)
        how = standard or Standard()
        if asked := chosen & STANDARD:
            data = _split_of(how, train, test)
            check_standard(how, count)

            def ask(start: int, stop: int) -> Batch:
                return conditions(variant, spec, stop - start, to=key, rows=lambda: rows, seed=seed, first=start).batch

            drawn = draw_parts(variant, networks, spec, ask, count, seed=seed, device=device, to=key, tell=tell)
            found.add_standard(*measure_standard(drawn, count, RealImages(data, key), asked, how, device, tell))
        if asked := chosen & PERCEPTUAL:
            check_perceptual(how)
            given = (variant, networks, rows, count, key, asked, how, seed, device, tell)
            found.add_standard(*measure_perceptual(*given), name="lpips")
        if chosen & METRICS.keys() - STANDARD - PERCEPTUAL:
            text = captions_held_to(variant, train, key) if "r_precision" in chosen else ""
            classes = bool(chosen & OF_CLASSES) or not text
            reference = reference_for(train, test, key, device, tell, text=text, classes=classes)
            _compare(variant, networks, reference, rows, count, chosen, seed, device, sheet, found, tell)
        found.n = count
    if own := {name for name in chosen if name in variant.metrics}:
        held_out = test if test is not None and all(test.streams().values()) else None
        if held_out is None:
            notes.append("there is no held-out split: the variant's own metrics are of training rows")
        data = held_out or train
        values = measure_own(variant, networks, data, batch_size=batch_size, seed=seed, device=device, tell=tell)
        found.add_own(values, own, variant.metrics)
    return {**found.facts(), "produces": key, "seed": seed}


@dataclass
class _Found:
    """What an evaluation has found so far."""

    ways: dict[str, str]
    """Of each metric how it is measured."""
    notes: list[str]
    figures: dict[str, float] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    judge: dict[str, Any] | None = None
    n: int = 0

    def add_own(self, values: Mapping[str, float], wanted: Set[str], better: Mapping[str, str]) -> None:
        for name in [name for name in values if name in wanted]:
            self.figures[name] = values[name]
            self.ways[name] = f"the variant's own, over held-out batches; {better[name]} is better"

    def add_standard(
        self, figures: Mapping[str, float], protocol: Mapping[str, Any], notes: Sequence[str], name: str = "standard"
    ) -> None:
        self.figures |= figures
        self.protocol[name] = dict(protocol)
        self.notes += notes

    def facts(self) -> dict[str, Any]:
        """The result of :func:`evaluate`, as far as it is found."""
        finite = {name: value for name, value in self.figures.items() if math.isfinite(value)}
        if missing := sorted(self.figures.keys() - finite.keys()):
            self.notes.append(f"not defined for these samples: {', '.join(missing)}")
        protocol = {"metrics": self.ways, **self.protocol}
        judged = {"metrics": finite, "classes": self.classes, "shares": self.shares, "judge": self.judge, "n": self.n}
        return {**judged, "protocol": protocol, "notes": self.notes}


def _compare(
    variant: Variant[Any],
    networks: Mapping[str, nn.Module],
    reference: Reference,
    rows: Sequence[Dataset[Any]],
    n: int,
    chosen: Set[str],
    seed: int,
    device: torch.device,
    sheet: Path | None,
    found: _Found,
    tell: OnEvent,
) -> None:
    """Draws `n` samples, asking with samples of `rows`, and compares them with real ones: what is seen is `found`."""
    real = reference.train.real
    cuts = levels(min(PATCHED, n, len(reference.train.rows)), real.shape, seed) if "swd" in chosen else None
    samples, told = draw_judged(variant, networks, reference, rows, n, seed=seed, device=device, levels=cuts, tell=tell)
    found.notes += told
    found.figures |= measure(samples, reference, chosen)
    if sheet is not None:
        _write_sheet(sheet, samples.shown, reference, found.notes)
    found.classes = right_by_class(samples, real.data.spec) if "accuracy" in chosen else {}
    found.shares = shares_by_class(samples.view, real.data.spec) if "modes" in chosen else {}
    found.judge = reference.judged.protocol() if reference.judged else None
    found.protocol |= _protocol(reference, floor(reference, chosen, PATCHED, seed))


def _split_of(how: Standard, train: Dataset[Any], test: Dataset[Any] | None) -> Dataset[Any]:
    if how.split == "train":
        return train
    if test is None:
        raise UsageError("There is no held-out split to compare samples with. Take the train split.")
    return test


def _why_no_images(variant: Variant[Any], spec: DataSpec, key: str | None) -> str:
    """Why no metric of images applies; "" if they do."""
    name = type(variant).__name__
    if key is None:
        return f"the data has no samples of the kind that {name} produces: nothing is compared with real ones"
    if key not in spec.keys:
        return f"{name} produces {key!r}, of which the data has no samples: nothing is compared with real ones"
    if spec[key].kind != "image":
        return f"{name} produces {key!r}, which is a {spec[key].kind} and no image: no metric of images applies"
    return ""


def _choose(
    metrics: Iterable[str] | None, variant: Variant[Any], train: Dataset[Any], key: str | None
) -> tuple[set[str], list[str]]:
    """The metrics that are measured, and what to say of it."""
    spec = train.spec
    why = _why_no_images(variant, spec, key)
    applies: set[str] = set(variant.metrics)
    told_otherwise: set[str] = set()
    if key is not None and not why:
        applies |= {"diversity", "memorised", *STANDARD, *perceptual_of(variant, train, key)}
        told_otherwise |= STANDARD | PERCEPTUAL  # networks of the web's photographs, which may have to be downloaded
        if min(spec.shape_of(key)[1:]) >= 7:
            applies.add("swd")
        if masks_held_to(variant, train, key):
            applies.add("mask_agreement")
        if captions_held_to(variant, train, key) and train.streams()[stream_of(train, key)] > 1:
            applies.add("r_precision")
        if heads := class_keys(spec, key):
            applies |= {"fid_judge", "precision_recall", "modes"}
            told_otherwise.add("r_precision")  # classes say it, and a reader takes minutes to train
            told_otherwise.add("swd")  # patches say little where a judge can look; they are also the slowest
            if held_to(variant, train, key, heads):
                applies.add("accuracy")
                told_otherwise.add("modes")  # samples are drawn of all classes
    notes = [why] if why else []
    if metrics is None:
        if not applies:
            notes.append(f"{type(variant).__name__} has no metrics of its own either: there is nothing to measure")
        return applies - (told_otherwise - {metric_of(variant.metric or "")}), notes
    chosen, known = set(metrics), [*METRICS, *variant.metrics]
    for name in sorted(chosen - set(known)):
        near = get_close_matches(name, known, 1)
        raise UsageError(
            f"unknown metric {name!r}; {f'did you mean {near[0]}?' if near else 'one of'} ({', '.join(known)})"
        )
    for name in sorted(chosen - applies):
        others = f"{', '.join(sorted(applies))} do" if applies else "none does"
        raise UsageError(f"the metric {name!r} does not apply to this variant and data; {why or others}.")
    return chosen, [] if chosen <= variant.metrics.keys() else notes


def _number(
    n: int, insisted: bool, variant: Variant[Any], splits: Sequence[Dataset[Any]], key: str, notes: list[str]
) -> int:
    """How many samples are drawn: `n`, or fewer if there are not as many different ones, unless that is `insisted` on.

    Notes say so, and where what is asked with comes from, if not from held-out samples.
    """
    inputs, name, spec = [], type(variant).__name__, splits[0].spec
    for asked in from_rows(variant, spec, key):
        lengths = [split.streams()[stream_of(split, asked)] for split in splits]
        inputs.append(next((length for length in lengths if length), 0))
        if (len(splits) == 1 or not lengths[0]) and not any("held-out split" in note for note in notes):
            notes.append("there is no held-out split: conditions come from the training rows")
    most = max(inputs, default=0)  # of several streams the shorter ones go round, with other partners each time
    if variant.random or n <= most or not most:
        return n
    if not insisted:
        notes.append(f"n is {most}: {name} makes one sample of an input, and there are no more inputs")
        return most
    turns = [len(asked.names) for asked in in_turn(variant, spec, key)]
    if n > (different := math.lcm(*filter(None, inputs), math.prod(turns))):
        few = "is 1 input" if different == 1 else f"are {different} inputs"
        notes.append(f"some of {n} samples are repeated: {name} makes one sample of an input, and there {few}")
    return n


def _protocol(reference: Reference, found: dict[str, float]) -> dict[str, Any]:
    real = reference.train.real
    return {
        **({"reader": reference.read.protocol()} if reference.read else {}),
        "image_shape": list(real.shape),
        "real_images": len(reference.train.rows),
        "real_images_of": len(real),
        "samples": "8 bits a channel, networks in eval mode, averaged weights where the variant keeps them",
        "floor": found,
    }


def _write_sheet(path: Path, shown: Tensor, reference: Reference, notes: list[str]) -> None:
    train = reference.train
    if hidden := hidden_channels(train.real.shape[0]):
        notes.append(hidden)
    try:
        write_neighbours(path, shown, train.real, train.rows, train.small)
    except GankitError as error:  # the figures took longer, and are not to be lost with it
        notes.append(f"no sheet of neighbours: {error}")
