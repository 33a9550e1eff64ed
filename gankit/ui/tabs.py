"""The tabs that ask a run for something: draw, translate, interpolate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from gankit.errors import UsageError
from gankit.run import Run
from gankit.sampling.conditions import choose
from gankit.ui import asking
from gankit.ui.asking import Control
from gankit.ui.parts import Part, parts, upload, values
from gankit.ui.saying import said, told
from gankit.ui.studio import Drawn, Studio

SMALL = 400
"""Pixels a side below which pictures are shown larger, with their pixels as they are."""
DRAWING: dict[str, Any] = {"concurrency_id": "draw", "concurrency_limit": 1, "api_visibility": "private"}
"""One drawing at a time; the others wait in Gradio's queue, which says so."""
QUICK: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


class Asked:
    """What a tab is about: the run that is chosen, and what of its images."""

    def __init__(self, studio: Studio, name: str, to: str | None) -> None:
        self.name, self.to = name, to
        self.run: Run = studio.open(name)
        self.key = choose(self.run.variant, to)
        self.offers = asking.offers(self.run.variant, self.run.spec, self.key)

    def parts(self, controls: Sequence[Control], hidden: str = "") -> list[Part]:
        return parts(controls, self.run.spec, self.key, hidden)

    @property
    def controls(self) -> list[Control]:
        return asking.controls(self.run.variant, self.run.spec, self.key)


def _tab(subject: Any, fill: Callable[[Asked], None], studio: Studio) -> None:
    """What `fill` puts on a tab, anew for each run that is chosen.

    What it is of is kept here, and is none of what a page sends when something is drawn.
    """

    @gr.render(inputs=subject, triggers=[subject.change], show_progress="hidden")
    def filled(chosen: tuple[str, str | None] | None) -> None:
        try:
            if chosen is None:
                raise UsageError("Choose a run.")
            fill(Asked(studio, *chosen))
        except Exception as error:
            gr.HTML(f"<p>{escape(said(error))}</p>")


def _results() -> list[Any]:
    """Where what was drawn is shown: the sheet, each by itself, the file, the command."""
    sheet = _image("What was drawn, on one sheet")
    each = gr.Gallery(
        label="One by one",
        show_label=False,
        format="png",
        buttons=["download", "fullscreen"],
        interactive=False,
        elem_classes="gk-each",
    )
    return [sheet, each, *_kept()]


def _image(alternative: str, **layout: Any) -> Any:
    """Where a picture is shown; a label would lie over it."""
    return gr.Image(
        label=alternative,
        show_label=False,
        alt_text=alternative,
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        **layout,
    )


def _kept() -> list[Any]:
    file = gr.DownloadButton("Download", interactive=False)
    command = gr.Textbox(
        label="The same on the command line", interactive=False, lines=2, buttons=["copy"], elem_classes="gk-command"
    )
    return [file, command]


def _shown(drawn: Drawn) -> list[Any]:
    if drawn.note:
        gr.Info(escape(drawn.note))
    first, others = (drawn.shown[0] if drawn.shown else None), drawn.shown[1:]
    gallery = [(path, path.stem.rpartition("-")[2]) for path in others] + drawn.each
    small = bool(drawn.each) and _small(drawn.each[0][0])
    shown = [(str(path), words) for path, words in gallery]
    each = gr.update(value=shown, elem_classes=["gk-each", "gk-small"] if small else ["gk-each"])
    file = gr.update(value=str(drawn.file), label=f"Download {drawn.file.suffix[1:].upper()}", interactive=True)
    return [_picture(first), each, file, drawn.command]


def _picture(path: Path | None) -> Any:
    if path is None:
        return gr.update(value=None)
    return gr.update(value=str(path), elem_classes=["gk-sheet", "gk-small"] if _small(path) else ["gk-sheet"])


def _small(path: Path) -> bool:
    """Whether a picture is so small that its pixels are to be seen."""
    with Image.open(path) as image:
        return max(image.size) < SMALL


def draw_tab(studio: Studio, subject: Any, checkpoint: Any) -> None:
    def fill(asked: Asked) -> None:
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                own = asked.parts(asked.controls)
                count = gr.Slider(1, asking.MOST_SAMPLES, value=16, step=1, label="Count", interactive=True)
                seed = _seed()
                button = gr.Button("Draw", variant="primary")
                again = gr.Button("Draw with the next seed")
            with gr.Column(scale=3, min_width=280):
                outputs = _results()

        def draw(saved: Any, n: Any, number: Any, *flat: Any) -> list[Any]:
            return _shown(studio.sample(asked.name, asked.to, saved, values(own, flat), n, number))

        inputs = [checkpoint, count, seed, *(one for part in own for one in part.components)]
        button.click(told(draw), inputs, outputs, **DRAWING)
        again.click(_next, seed, seed, **QUICK).success(told(draw), inputs, outputs, **DRAWING)

    _tab(subject, fill, studio)


def interpolate_tab(studio: Studio, subject: Any, checkpoint: Any) -> None:
    def fill(asked: Asked) -> None:
        can = asked.offers.between
        if not can:
            raise UsageError(f"{asked.run.config.variant} cannot interpolate: it has neither codes nor captions.")
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                first = can[0]
                between = gr.Radio(list(can), value=first, label="Between", interactive=True, visible=len(can) > 1)
                texts = gr.Textbox(
                    label="Captions, two or more, one a line", interactive=True, lines=3, visible=first == "captions"
                )
                images = gr.File(
                    label="Images, two or more",
                    interactive=True,
                    file_count="multiple",
                    type="filepath",
                    visible=first == "images",
                )
                own = asked.parts(asked.controls, asking.TEXT if first == "captions" else "")
                rows = gr.Slider(
                    1, asking.MOST_ROWS, value=4, step=1, label="Rows", interactive=True, visible=first == "codes"
                )
                frames = gr.Slider(2, asking.MOST_FRAMES, value=8, step=1, label="Frames a row", interactive=True)
                seed = _seed()
                button = gr.Button("Interpolate", variant="primary")
            with gr.Column(scale=3, min_width=280):
                outputs = _results()

        def switch(way: Any) -> list[Any]:
            shown = [way == one for one in ("captions", "images", "codes")] + [way != "captions"] * len(captions)
            return [gr.update(visible=one) for one in shown]

        def draw(saved: Any, way: Any, lines: Any, files: Any, n: Any, m: Any, number: Any, *flat: Any) -> list[Any]:
            given = values(own, flat)
            return _shown(studio.interpolate(asked.name, asked.to, saved, given, way, lines, files, n, m, number))

        inputs = [checkpoint, between, texts, images, rows, frames, seed]
        inputs += [one for part in own for one in part.components]
        captions = [one for part in own if part.control.name == asking.TEXT for one in part.components]
        between.change(switch, between, [texts, images, rows, *captions], **QUICK)
        button.click(told(draw), inputs, outputs, **DRAWING)

    _tab(subject, fill, studio)


def translate_tab(studio: Studio, subject: Any, checkpoint: Any) -> None:
    def fill(asked: Asked) -> None:
        ways = (["translate"] if asked.offers.source else []) + (["reconstruct"] if asked.offers.reconstructs else [])
        if not ways:
            raise UsageError(f"{asked.run.config.variant} draws from no image: there is nothing to translate.")
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                image = upload("Image")
                how = gr.Radio(ways, value=ways[0], label="How", interactive=True, visible=len(ways) > 1)
                own = asked.parts(studio.beside(asked.run, asked.key))
                fit = gr.Radio(
                    [("stretched to what the model takes", "stretch"), ("in overlapping tiles", "tiles")],
                    value="stretch",
                    label="An image of another size goes through it",
                    interactive=True,
                )
                size = gr.Radio(
                    [("that of the image", "input"), ("that of the model", "model")],
                    value="input",
                    label="Size of the result",
                    interactive=True,
                )
                seed = _seed()
                button = gr.Button("Translate" if ways[0] == "translate" else "Reconstruct", variant="primary")
            with gr.Column(scale=3, min_width=280):
                with gr.Row():
                    with gr.Column(min_width=140):
                        gr.HTML("<h3>Before</h3>")
                        before = _image("The image as it was given")
                    with gr.Column(min_width=140):
                        gr.HTML("<h3>After</h3>")
                        after = _image("What became of it")
                outputs = [before, after, *_kept()]

        def change(saved: Any, file: Any, way: Any, fitted: Any, sized: Any, number: Any, *flat: Any) -> list[Any]:
            beside = values(own, flat)
            done = studio.change(asked.name, asked.to, saved, beside, way, file, fitted, sized, number)
            offered = gr.update(value=str(done.file), label="Download PNG", interactive=True)
            return [_picture(done.before), _picture(done.after), offered, done.command]

        inputs = [checkpoint, image, how, fit, size, seed, *(one for part in own for one in part.components)]
        button.click(told(change), inputs, outputs, **DRAWING)

    _tab(subject, fill, studio)


def _seed() -> Any:
    return gr.Number(0, label="Seed", interactive=True, precision=0, minimum=0, maximum=asking.LAST_SEED)


def _next(seed: Any) -> int:
    return asking.whole("seed", seed, 0, asking.LAST_SEED - 1) + 1


__all__ = ["QUICK", "draw_tab", "interpolate_tab", "translate_tab"]
