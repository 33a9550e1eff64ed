"""The command that repeats a run makes the same options again, whatever they hold."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field
from tiny_gan import Blobs

from gankit.cli.options import make_command
from gankit.options.changed import changed, command
from gankit.options.resolve import resolve
from gankit.plugin import Config, Optim, Variant


class OddConfig(Config):
    """Options of every kind."""

    stage: int | None = None
    """Stage."""
    limit: float | None = 1.0
    """May be absent."""
    shift: float = 0.0
    """May be negative."""
    spectral: bool = True
    """A flag."""
    kind: Literal["plain", "fancy"] = "plain"
    """A choice."""
    widths: tuple[int, ...] = (4, 8)
    """Some numbers."""
    words: tuple[str, ...] = ()
    """Some texts."""
    title: str = ""
    """A text."""
    optim: Optim = Optim(lr=1e-3)
    """Optimiser."""
    hidden: int = Field(8, ge=1)
    """Width."""


class Odd(Variant[OddConfig]):
    """A variant of options alone."""

    Config = OddConfig
    dataset = "blobs"
    stages = 2
    presets = {"default": {"steps": 20, "stage2": {"hidden": 16}}, "other": {"hidden": 32}}  # noqa: RUF012


def resolved(preset=None, **options):
    options = {name.replace("__", "."): value for name, value in options.items()}
    return resolve(Odd, Blobs, variant="odd", dataset="blobs", preset=preset, options=options)


def typed(line: str):
    """The options that the command `line` makes, by the parser that `gankit run` uses."""
    words = shlex.split(line)
    assert words[:3] == ["gankit", "run", "odd"]
    found = []

    def execute(name, settings, options):
        found.append((settings, options))

    preset = words[words.index("--preset") + 1] if "--preset" in words else None
    make_command("odd", Odd, Blobs, "blobs", preset, execute).main(words[3:], standalone_mode=False)
    ((settings, options),) = found
    assert settings["dataset"] == "blobs"
    return resolve(Odd, Blobs, variant="odd", dataset="blobs", preset=preset, file=settings["config"], options=options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"seed": 7, "steps": 30},
        {"limit": None, "widths": (), "spectral": False},
        {"shift": -1.5, "widths": (1,), "kind": "fancy", "optim__lr": 2.5e-05, "optim__betas": (0.0, 0.99)},
        {"title": 'it\'s "$HOME"; rm -rf / `id` \\ \n*', "words": ("a b", "--c", "d'e")},
        {"title": "--title", "data__count": 40},
        {"title": "-", "augment__flip": True, "augment__diff": ("color", "cutout")},
    ],
)
@pytest.mark.parametrize("preset", [None, "other"])
@pytest.mark.parametrize("stage", [None, 2])
def test_the_command_makes_the_same_options(options, preset, stage):
    config = resolved(preset, **options, **({"stage": stage} if stage else {}))
    line = command(config, Odd, Blobs, Path("no such file"))
    assert "--config" not in line
    assert typed(line).to_dict() == config.to_dict()


def test_what_cannot_be_typed_comes_from_the_file(tmp_path):
    config = resolved(words=("a,b", "c"))
    file = tmp_path / "the run's config.toml"
    config.save(file)
    line = command(config, Odd, Blobs, file, processes=2)
    assert line == f"gankit run odd --dataset blobs --config {shlex.quote(str(file))} --processes 2"
    assert resolve(Odd, Blobs, variant="odd", dataset="blobs", file=file) == config


def test_what_differs_is_told_from_the_preset_of_the_stage():
    found = changed(resolved(stage=2, hidden=8, seed=3), Odd, Blobs)
    assert {name: (one.value, one.usual) for name, one in found.items()} == {"seed": (3, 0), "hidden": (8, 16)}
