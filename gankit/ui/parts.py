"""Controls of what a run can be asked with, as parts of a Gradio page, and back from them to values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from gankit.errors import UsageError
from gankit.plugin import DataSpec
from gankit.ui.asking import MOST_LETTERS, MOST_SAMPLES, REACH, Control

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Part:
    """A control, and the components that it is made of."""

    control: Control
    components: Sequence[Any]


def parts(controls: Sequence[Control], spec: DataSpec, produces: str, hidden: str = "") -> list[Part]:
    """Of each of `controls`, where the page is being made; that of the key `hidden` is not shown."""
    high = 100.0
    if produces in spec.images:
        _, height, width = spec[produces].shape
        high = 100 * height / width
    made = [Part(control, _made(control, high)) for control in controls]
    for part in made:
        if part.control.name == hidden:
            for component in part.components:
                component.visible = False
    return made


def _made(control: Control, high: float) -> list[Any]:
    name, key = control.name, control.key
    match control.how:
        case "classes":
            return [
                gr.Dropdown(
                    list(key.names),
                    value=[],
                    multiselect=True,
                    max_choices=MOST_SAMPLES,
                    label=name,
                    info=_else(control),
                )
            ]
        case "texts":
            words = f"{name}, one a line"
            return [
                gr.Textbox(
                    label=words, interactive=True, lines=2, max_lines=8, max_length=MOST_LETTERS, info=_else(control)
                )
            ]
        case "sliders":
            chosen = gr.Checkbox(label=f"Set {name}", interactive=True, info="else as the run draws it")
            count = control.count
            names = [name] if count == 1 else [f"{name} {index + 1}" for index in range(count)]
            return [
                chosen,
                *(gr.Slider(-REACH, REACH, value=0, step=0.05, label=one, interactive=True) for one in names),
            ]
        case "box":
            return [
                gr.HTML(
                    "",
                    html_template=(HERE / "box.html").read_text(encoding="utf-8"),
                    css_template=(HERE / "box.css").read_text(encoding="utf-8"),
                    js_on_load=(HERE / "box.js").read_text(encoding="utf-8"),
                    apply_default_css=False,
                    label=name,
                    high=round(high, 2),
                )
            ]
        case "picture":
            return [upload(name)]
    return [
        gr.Textbox(
            label=name, interactive=True, max_length=MOST_LETTERS, info=f"{control.count} numbers; {_else(control)}"
        )
    ]


def upload(name: str) -> Any:
    """Where an image is dropped. It comes as it is, with its opacity and all its bits; Gradio's own field for images
    would read it first, and knows fewer formats."""
    return gr.File(label=name, interactive=True, type="filepath", file_types=["image"], height=140)


def _else(control: Control) -> str:
    return "none: all in turn" if control.how == "classes" else "none: from held-out samples"


def values(parts: Sequence[Part], flat: Sequence[Any]) -> list[Any]:
    """Of each part its value, from the values of all components in their order."""
    found: list[Any] = []
    left = list(flat)
    if len(left) != sum(len(part.components) for part in parts):
        raise UsageError("the page is not that of this run any more; load it anew.")
    for part in parts:
        own, left = left[: len(part.components)], left[len(part.components) :]
        if part.control.how == "sliders":
            found.append(own[1:] if own[0] is True else None)
        else:
            found.append(own[0])
    return found


__all__ = ["Part", "parts", "upload", "values"]
