"""The model card: what a run is, how it was trained, how good it is and where it ends, made of what the run holds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gankit.data.kinds import kind_of
from gankit.options.resolve import Resolved
from gankit.plugin import DataSpec, Key

__all__ = ["About", "card"]

NAMED = 20
"""Classes that are named."""
LONGEST = 200
"""Characters of a value."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What is told of a run that is shared, beside what its options say."""

    name: str
    resolved: Resolved
    spec: DataSpec
    asks: Mapping[str, Key]
    produces: str
    stages: int
    parameters: Mapping[str, int]
    """By network."""
    step: int
    seconds: float
    of_variant: str
    of_data: str
    """In a line each, as their plugins say it."""
    images: int | None
    """Samples of the training split, where the data is at hand."""
    changes: Mapping[str, Any]
    """The options that differ from the preset, by dotted name."""
    environment: Mapping[str, Any]
    measured: Sequence[Mapping[str, Any]]
    """Evaluations of this step, later ones last."""
    license: str
    datasets: Sequence[str]
    """Identifiers on the Hub of what it was trained on."""
    sheet: str
    """The picture of samples; "" if there is none."""
    training: bool
    """Whether what resuming needs is there."""
    began: str
    """A sentence about weights that were there before; "" if there were none."""


def card(about: About) -> str:
    """The ``README.md`` of a repository on the Hub, front matter and all."""
    parts = [_front(about), _what(about), _use(about), _figures(about), _training(about), _limits(about)]
    return "\n\n".join(part for part in parts if part) + "\n"


def task(asks: Mapping[str, Key], spec: DataSpec, produces: str) -> str:
    """What the Hub calls that which such a variant does; "" if it has no word for it."""
    if not produces or not kind_of(spec[produces]).pixels:
        return ""
    kinds = {key.kind for key in asks.values()}
    if "image" in kinds:
        return "image-to-image"
    return "text-to-image" if "text" in kinds else "unconditional-image-generation"


def _front(about: About) -> str:
    """YAML, of which JSON's strings and lists are a part."""
    facts: dict[str, Any] = {"license": about.license, "library_name": "gankit"}
    if found := task(about.asks, about.spec, about.produces):
        facts["pipeline_tag"] = found
    facts["tags"] = list(
        dict.fromkeys(["generative-adversarial-network", "gankit", about.resolved.variant, about.resolved.dataset])
    )
    if about.datasets:
        facts["datasets"] = list(about.datasets)
    if metrics := _metrics(about):
        facts["metrics"] = list(metrics)
        result = {
            "task": {"type": found or "other"},
            "dataset": {"name": about.resolved.dataset, "type": (*about.datasets, about.resolved.dataset)[0]},
            "metrics": [{"type": name, "value": value} for name, value in metrics.items()],
        }
        facts["model-index"] = [{"name": about.name, "results": [result]}]
    return "\n".join(["---", *(f"{name}: {json.dumps(value)}" for name, value in facts.items()), "---"])


def _what(about: About) -> str:
    resolved = about.resolved
    stage = f", stage {resolved.stage} of {about.stages}" if about.stages > 1 and resolved.stage else ""
    lines = [f"# {_text(about.name)}", ""]
    lines.append(
        f"`{resolved.variant}`{stage} on `{resolved.dataset}`, {about.step:,} steps, trained and written by gankit."
    )
    lines += ["", f"- The model: {_text(about.of_variant)}", f"- The data: {_text(about.of_data)}"]
    for name, key in about.spec.keys.items():
        lines.append(f"  - {_code(name)}: {_key(key)}")
    if about.asks:
        lines.append(f"- It is asked with: {', '.join(f'{_code(name)}' for name in about.asks)}")
    lines.append("- Weights: " + ", ".join(f"{_code(name)} {count:,}" for name, count in about.parameters.items()))
    if about.sheet:
        asked = any(key.kind == "image" for key in about.asks.values())
        of = "samples beside what they were made of" if asked else "samples"
        lines += ["", f"![{of}]({about.sheet})"]
    return "\n".join(lines)


def _use(about: About) -> str:
    packages = " ".join(["'gankit[hub]'", *_plugins(about)])
    asked = next((key.kind for key in about.asks.values() if key.kind in ("image", "text")), "")
    out = "samples.png" if task(about.asks, about.spec, about.produces) else "samples.npy"
    draw = {
        "image": 'run.translate("in.png").save("out.png")',
        "text": f'run.sample(16, text="...").save("{out}")',
    }.get(asked, f'run.sample(16).save("{out}")')
    more = "Optimisers are not in here: `gankit resume RUN --steps N` goes on from these weights with new ones."
    if about.training:
        more = "`gankit resume RUN` goes on as if the run had never stopped."
    return f"""## Use

```sh
pip install {packages}
```

```python
import gankit
run = gankit.import_run("hf://ORG/NAME")  # or the directory
{draw}
```

`gankit import hf://ORG/NAME` does the same on the command line. Nothing in these files is executed: weights are
safetensors, all else is JSON, TOML and this text. {more}"""


def _figures(about: About) -> str:
    rows: dict[str, str] = {}
    notes: list[str] = []
    for one in about.measured:
        protocol = _mapping(one.get("protocol"))
        floor, meanings = _mapping(protocol.get("floor")), _mapping(protocol.get("metrics"))
        for name, value in _numbers(one["metrics"]).items():
            real = f"{floor[name]:.4g}" if isinstance(floor.get(name), int | float) else ""
            cells = (_code(name), f"{value:.4g}", real, str(one.get("n", "")), _text(str(meanings.get(name, ""))))
            rows[name] = f"| {' | '.join(cells)} |"
        if isinstance(said := one.get("notes"), list):
            notes += [f"- {_text(note)}" for note in said if isinstance(note, str)]
    if not rows:
        return "## How good it is\n\nThese weights were not measured: there are no figures."
    head = ["## How good it is", "", f"At step {about.step:,}, as `gankit eval` measures.", ""]
    head += ["| metric | value | real images, held out | samples | |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows.values(), *([""] if notes else []), *dict.fromkeys(notes)])


def _training(about: About) -> str:
    resolved, environment = about.resolved, about.environment
    preset = f"preset `{resolved.preset}`" if resolved.preset != "default" else "the defaults"
    lines = ["## Training", "", f"Options are those of {preset}" + (", but for" if about.changes else "."), ""]
    lines += [f"- {_code(f'{name} = {json.dumps(value)}')}" for name, value in about.changes.items()]
    what = ("gankit", "torch", "python", "system", "gpu", "device")
    facts = [f"{name} {_text(str(environment[name]))}" for name in what if name in environment]
    took = f"{about.seconds:,.0f} seconds" if about.seconds else "no time that was noted"
    lines += ["", f"All of them are in `config.toml`. It took {took}; {', '.join(facts)}."]
    return "\n".join([*lines, *(["", about.began] if about.began else [])])


def _limits(about: About) -> str:
    spec, resolved = about.spec, about.resolved
    many = f", {about.images:,} samples of it" if about.images else ""
    lines = [f"- It knows `{resolved.dataset}`{many} and nothing else: what it draws looks like that or like nothing."]
    if about.produces and kind_of(spec[about.produces]).pixels:
        channels, high, wide = spec.shape_of(about.produces)
        colours = {1: "grey", 3: "in colour", 4: "in colour with opacity"}.get(channels, f"of {channels} channels")
        lines.append(f"- Images are {high}x{wide}, {colours}. Asked for others it was not trained for them.")
    for name, key in about.asks.items():
        if key.kind == "class":
            lines.append(f"- Of {_code(name)} it knows {len(key.names)} classes; no others can be asked for.")
        elif key.kind == "text":
            lines.append(f"- Of {_code(name)} it understands what its captions said; other words change little.")
    lines += [
        "- A GAN may draw an image of its training data nearly again, and rarely or never some kinds of image that are "
        "in them: `gankit eval` says how often, as far as it can be measured.",
        "- What is wrong or one-sided in the data is so in what is drawn. Nothing is filtered.",
    ]
    return "\n".join(["## Where it ends", "", *lines])


def _key(key: Key) -> str:
    if key.kind == "class":
        names = ", ".join(_text(name) for name in key.names[:NAMED])
        return f"{len(key.names)} classes: {names}{', ...' * (len(key.names) > NAMED)}"
    return key.kind + (f", {' x '.join(map(str, key.shape))}" if key.shape else "")


def _metrics(about: About) -> dict[str, float]:
    """The latest figure of each name."""
    return {name: value for one in about.measured for name, value in _numbers(one["metrics"]).items()}


def _numbers(found: object) -> dict[str, float]:
    numbers = _mapping(found).items()
    return {str(k): float(v) for k, v in numbers if isinstance(v, int | float) and not isinstance(v, bool)}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _plugins(about: About) -> list[str]:
    found = about.environment.get("plugins")
    return [str(name) for name in found] if isinstance(found, Mapping) else []


def _code(text: object) -> str:
    """A text of the run's in a line of code, short enough for a line."""
    line = " ".join(str(text).split()).replace("`", "'")
    line = "".join(sign if sign.isprintable() else "?" for sign in line)
    return f"`{line if len(line) <= LONGEST else line[: LONGEST - 3] + '...'}`"


def _text(text: str) -> str:
    """A text of the run's in a line of Markdown, as it is: no link, no picture and no HTML comes of it."""
    line = "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", line)
