"""Options: layers, types, text, TOML, and what is said when one is wrong."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field, model_validator

from gankit.errors import UsageError
from gankit.options import schema
from gankit.options.resolve import Resolved, RunConfig, resolve
from gankit.plugin import Config, Dataset, Optim, Variant


class Inner(Config):
    rate: float = 0.5
    """A rate."""
    optim: Optim = Optim(lr=3e-3)
    """Deeper."""


class Toy(Variant[Any]):
    class Config(Config):
        stage: int | None = Field(None, ge=1, le=2)
        """Stage."""
        hidden: int = Field(8, ge=1, le=64)
        """Width."""
        kind: Literal["plain", "fancy"] = "plain"
        size: Literal[64, 128] = 64
        spectral: bool = False
        widths: tuple[int, ...] = (4, 8)
        limit: float | None = None
        name: str | None = "x"
        folder: Path = Path("a")
        optim: Optim = Optim(lr=1e-3, betas=(0.5, 0.9))
        inner: Inner = Inner()
        maybe: Inner | None = None

        @model_validator(mode="after")
        def _fancy_is_wide(self) -> Any:
            if self.kind == "fancy" and self.hidden < 2:
                raise ValueError("a fancy one needs hidden >= 2")
            return self

    dataset = "dots"
    stages = 2
    presets: ClassVar = {
        "default": {"steps": 5, "optim.lr": 2e-3, "stage1": {"steps": 7}, "stage2": {"steps": 9, "hidden": 16}},
        "big": {"hidden": 32, "data": {"size": 64}, "augment.flip": True},
    }


class Dots(Dataset[Any]):
    class Config(Config):
        size: int = Field(8, ge=4)
        root: str | None = None


class Bare(Dataset[Any]):
    pass


def made(dataset: type = Dots, name: str = "dots", **arguments: Any) -> Resolved:
    return resolve(Toy, dataset, variant="toy", dataset=name, **arguments)


def test_layers(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("hidden = 3\nsteps = 11\n[optim]\nbetas = [0.0, 0.9]\n[data]\nsize = 12\n")
    assert made().run.steps == 5  # preset over default
    assert made().options.optim == Optim(lr=2e-3, betas=(0.5, 0.9))  # a default instance keeps its other values
    full = made(file=file, options={"hidden": 4, "optim.lr": 1.0})
    assert (full.run.steps, full.options.hidden, full.data.size) == (11, 4, 12)
    assert full.options.optim == Optim(lr=1.0, betas=(0.0, 0.9))


def test_nested_mappings_and_models_are_options():
    for value in ({"lr": 0.1}, Optim(lr=0.1)):
        assert made(options={"optim": value}).options.optim == Optim(lr=0.1, betas=(0.5, 0.9))
    deep = made(options={"inner.optim.lr": "0.25", "maybe.rate": "2"}).options
    assert deep.inner == Inner(optim=Optim(lr=0.25))
    assert deep.maybe == Inner(rate=2)


def test_stage_overlays():
    assert made().stage is None
    one, two = made(options={"stage": 1}), made(options={"stage": "2"})
    assert (one.stage, one.run.steps, one.options.hidden) == (1, 7, 8)
    assert (two.stage, two.run.steps, two.options.hidden) == (2, 9, 16)
    assert made(options={"stage": 2, "steps": 3}).run.steps == 3  # what is given wins over the overlay


def test_preset_by_name_and_for_another_dataset(tmp_path):
    big = made(preset="big")
    assert (big.preset, big.run.steps, big.options.hidden, big.data.size) == ("big", 1000, 32, 64)
    assert big.run.augment.flip
    assert made(Bare, "bare", preset="big").options.hidden == 32  # data.size is for the variant's own dataset
    file = tmp_path / "c.toml"
    file.write_text('preset = "big"\n')
    assert made(file=file).options.hidden == 32
    assert made(file=file, preset="default").options.hidden == 8


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("hidden", "16", 16),
        ("spectral", "true", True),
        ("kind", "fancy", "fancy"),
        ("size", "128", 128),
        ("widths", "1,2,3", (1, 2, 3)),
        ("widths", "(1, 2)", (1, 2)),
        ("widths", "", ()),
        ("limit", "1.5", 1.5),
        ("limit", "none", None),
        ("name", "none", None),
        ("name", "7", "7"),
        ("folder", "b/c", Path("b/c")),
    ],
)
def test_text_becomes_values(name, text, value):
    assert getattr(made(options={name: text}).options, name) == value


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stps": 3}, "unknown option 'stps'; did you mean 'steps'?"),
        ({"optim.betsa": 3}, "unknown option 'optim.betsa'; did you mean 'optim.betas'?"),
        ({"data.sise": 3}, "unknown option 'data.sise'; did you mean 'data.size'?"),
        ({"zzz": 3}, "unknown option 'zzz'"),
        ({"hidden.deep": 3}, "unknown option 'hidden.deep'"),
        ({"data": 3}, "data = 3: must be a valid dictionary"),
        ({"optim": 3}, "optim = 3: must be a valid dictionary or instance of Optim"),
        ({"steps": 0}, "steps = 0: must be greater than or equal to 1"),
        ({"steps": 1.5}, "steps = 1.5: must be a valid integer"),
        ({"ema": 1.0}, "ema = 1.0: must be less than 1"),
        ({"seed": -1}, "seed = -1: must be greater than or equal to 0"),
        ({"device": "cuda:x"}, "device = 'cuda:x': must be auto, cpu, cuda, cuda:N or mps"),
        ({"precision": "fp8"}, "precision = 'fp8': must be 'float32', 'bf16', 'fp16' or 'auto'"),
        ({"augment.diff": "color,shear"}, "augment.diff = 'shear': must be 'color'"),
        ({"hidden": None}, "hidden = None: must be a valid integer"),
        ({"stage": 3}, "stage = 3: must be less than or equal to 2"),
        ({"optim.lr": 0, "hidden": 0}, "(and 1 more)"),
        ({"data.size": 1}, "data.size = 1: must be greater than or equal to 4"),
        ({"kind": "fancy", "hidden": 1}, "a fancy one needs hidden >= 2"),
        ({"size": "96"}, "size = '96': must be 64 or 128"),
        ({"widths": "1,x"}, "widths = 'x': must be a valid integer"),
        ({"optim.betas": (0.5, 1.0)}, "optim.betas = (0.5, 1.0): each must be at least 0 and less than 1"),
        ({"optim.betas_end": (-0.1, 0.9)}, "optim.betas_end = (-0.1, 0.9): each must be at least 0 and less than 1"),
        ({"optim.lr": "inf"}, "optim.lr = 'inf': must be a finite number"),
        ({"optim.lr": "nan"}, "optim.lr = 'nan': must be a finite number"),
        ({"optim.weight_decay": float("inf")}, "optim.weight_decay = inf: must be a finite number"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(UsageError) as caught:
        made(options=options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_preset():
    with pytest.raises(UsageError, match="toy has no preset 'bug'; did you mean 'big'"):
        made(preset="bug")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stage": 2, "limit": 1e-5, "name": None, "augment.diff": "color,cutout"},
        {"maybe.rate": 1, "folder": "b c/ü", "data.root": 'quo"te\\', "seed": 2**63 - 1},
    ],
)
def test_toml_round_trip(tmp_path, options):
    before = made(options=options)
    file = tmp_path / "config.toml"
    before.save(file)
    assert made(file=file) == before
    assert tomllib.loads(before.to_toml())["variant"] == "toy"


def test_a_whole_file_is_read_without_its_preset(tmp_path):
    file = tmp_path / "config.toml"
    before = made(preset="big", options={"limit": None, "name": None, "maybe": None, "augment.flip": False})
    before.save(file)
    assert made(file=file) == before
    text = file.read_text()
    assert "whole = true" in text
    assert {f'{name} = "none"' for name in ("limit", "name", "maybe", "stage")} <= set(text.splitlines())
    for changed in (text.replace('preset = "big"', 'preset = "gone"'), text.replace('preset = "big"\n', "")):
        file.write_text(changed)
        assert made(file=file).options == before.options
    assert made(file=file, options={"hidden": 3}).options.hidden == 3  # what is given still wins
    with pytest.raises(UsageError, match="holds every option of a run: preset 'big' would change none"):
        made(file=file, preset="big")
    file.write_text(text.replace("whole = true", "whole = false").replace("hidden = 32\n", ""))
    assert made(file=file).options.hidden == 32  # of the preset
    file.write_text('whole = "yes"')
    with pytest.raises(UsageError, match="whole = 'yes': must be true or false"):
        made(file=file)


def test_a_whole_file_of_one_stage_says_nothing_of_how_another_is_trained(tmp_path):
    file = tmp_path / "config.toml"
    made(options={"stage": 2, "hidden": 5, "steps": 3, "seed": 4}).save(file)
    one = made(file=file, options={"stage": 1}, implied_by=2)
    assert (one.stage, one.run.steps, one.run.seed, one.options.hidden) == (1, 7, 4, 5)


def test_what_a_preset_says_of_one_stage_is_not_said_of_another_by_its_file(tmp_path):
    class Staged(Toy):
        presets: ClassVar = {
            "default": {
                "widths": (1, 2),
                "stage1": {"hidden": 6, "limit": 0.5, "optim.lr": 4e-3, "widths": (3, 4)},
                "stage2": {"hidden": 16, "kind": "fancy"},
            }
        }

    file = tmp_path / "config.toml"
    names = {"variant": "toy", "dataset": "dots"}

    def first(**options: object) -> tuple[object, ...]:
        resolve(Staged, Dots, **names, options={"stage": 2, **options}).save(file)
        one = resolve(Staged, Dots, **names, file=file, options={"stage": 1}, implied_by=2).options
        return one.hidden, one.limit, one.optim.lr, one.widths, one.kind, one.size

    assert first() == (6, 0.5, 4e-3, (3, 4), "plain", 64)
    assert first(hidden=7, size=128, widths=(5,)) == (7, 0.5, 4e-3, (5,), "plain", 128)  # what was asked for holds


def test_absent_values_inside_others_survive_a_file(tmp_path):
    class Deep(Variant[Any]):
        class Config(Config):
            limits: tuple[float | None, ...] = (None, 1.0)
            named: dict[str, int | None] = {"a": None}  # noqa: RUF012

        dataset = "dots"

    file = tmp_path / "config.toml"
    names = {"variant": "deep", "dataset": "dots"}
    before = resolve(Deep, Dots, **names, options={"limits": (2.0, None), "named": {"b": None, "c": 3}})
    before.save(file)
    assert resolve(Deep, Dots, **names, file=file) == before


def test_what_no_file_can_hold_is_refused():
    with pytest.raises(UsageError, match=r"the options cannot be written to a config\.toml"):
        made(options={"data.root": "bytes-\udcff"}).to_toml()


def test_file_of_another_variant_or_dataset(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('variant = "other"\n')
    with pytest.raises(UsageError, match="is a configuration of 'other', not of 'toy'"):
        made(file=file)
    made(options={"data.size": 12}).save(file)
    assert made(Bare, "bare", file=file).run.steps == 5  # [data] is another dataset's
    assert made(file=file).data.size == 12


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\0")
    (tmp_path / "wrong.toml").write_text("a = [1,")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    (tmp_path / "deeper.toml").write_text("a = " + "[" * 25 + "]" * 25)
    (tmp_path / "tables.toml").write_text(f"[{'a.' * 25}b]")
    (tmp_path / "long.toml").write_text("a = " + "9" * 5000)
    (tmp_path / "unknown.toml").write_text("[optim]\nlrr = 1")
    for name, words in {
        "none.toml": "does not exist",
        "binary.toml": "is not UTF-8 text: line 1",
        "wrong.toml": "is not TOML",
        "deep.toml": "is not TOML",
        "deeper.toml": "is nested too deeply: no option is more than 20 levels down",
        "tables.toml": "is nested too deeply",
        "long.toml": "is not TOML",
        "unknown.toml": "unknown option 'optim.lrr' in file .*; did you mean 'optim.lr'",
        ".": "cannot be read",
    }.items():
        with pytest.raises(UsageError, match=words):
            made(file=tmp_path / name)


def test_leaves():
    found = {leaf.name: leaf for leaf in schema.leaves(Toy.Config)}
    assert found["optim.lr"].default == 1e-3
    assert found["inner.optim.lr"].default == 3e-3
    assert found["hidden"].bounds == ">=1 <=64"
    assert (found["kind"].metavar, found["widths"].metavar) == ("[plain|fancy]", "INT,...")
    assert found["optim.betas"].metavar == "FLOAT,FLOAT"
    assert found["size"].choices == ("64", "128")
    assert all(leaf.help for leaf in schema.leaves(RunConfig))


def test_config_imports_no_torch():
    code = "import sys, gankit.options.resolve, gankit.discovery.entry_points; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
