"""A run of a tiny GAN that evaluates, and how a page is taken apart."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny

import gankit
from gankit.plugin import Variant
from gankit.report import report_of


class Told(Tiny):
    """A tiny GAN with a metric of its own, that says what to expect."""

    metric = "score"
    metrics: ClassVar = {"score": "larger"}

    def expect(self):
        return {
            "": "A run <as a whole> goes well.",
            "discriminator": "Its terms & their ways.",
            "generator/adversarial": "It hovers.",
            "score": "It rises.",
        }

    def measure(self, networks, batches, generator):
        return {"score": 0.25}


def train(out: Path, variant: type[Variant] = Told, on_event: Any = None, **options: Any) -> gankit.Run:
    options = {**SMALL, "steps": 6, "log_every": 1, "sample_every": 2, "eval_every": 3, "workers": 0, **options}
    return gankit.train(variant, Blobs(BlobsConfig()), out=out, on_event=on_event, **options)


def remade(run: Path, out: Path, variant: type[Variant] = Told) -> Page:
    """The report of the run of `variant` in a directory, made anew."""
    opened = gankit.open_run(run, variant, Blobs)
    return Page(report_of(opened.directory, variant, Blobs, out).path.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """What stands in a page: its tags with their attributes, and its text."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in self.inside:
            self.inside[self.open[-1]].append(data)
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that is to be read, with single spaces."""
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def steps(self) -> list[int]:
        """Of the pictures on sliders, in order; the last is the one that is shown without a script."""
        found = [int(image["data-step"]) for image in self.of("img") if image["alt"].startswith("sheet")]
        return [*found[1:], found[0]]
