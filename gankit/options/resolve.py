"""Options of a run: where they come from, how they are merged, checked once, and written down.

A run's options have three owners: the run itself (:class:`RunConfig`), the variant and the dataset (each its own
``Config``). To the user they are one flat set of dotted names, ``steps``, ``optim.lr``, ``data.size``; the same names
serve on the command line, in a TOML file and in Python. Later layers win: the models' defaults, the preset, the file,
the options. Nothing here imports torch.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from gankit.errors import UsageError
from gankit.files import read_regular
from gankit.options import schema
from gankit.options.run import OF_ONE_STAGE, RESERVED, Augment, RunConfig
from gankit.options.spelling import nearest, shown
from gankit.plugin import Config, Dataset, Variant

WHOLE = "whole"
"""Key of a file that says it holds every option: it is read over the models' defaults, without its preset."""

DEEPEST = 20
"""Levels of tables and lists in a file. What is read is gone through recursively in many places."""

HEADER = """\
# Every option of this run. `whole`: the preset below is where they came from, and is not laid under them again.
"""


@dataclass(frozen=True)
class Resolved:
    """All options of a run, merged and checked."""

    variant: str
    dataset: str
    preset: str
    run: RunConfig
    options: BaseModel
    """The variant's own, an instance of its ``Config``."""
    data: BaseModel
    """The dataset's own, an instance of its ``Config``."""

    @property
    def stage(self) -> int | None:
        """The stage, for a variant that is trained in stages."""
        stage = getattr(self.options, "stage", None)
        return stage if isinstance(stage, int) else None

    def to_dict(self) -> dict[str, Any]:
        """Every option as plain values, nested as in a file; an absent one is ``"none"``."""
        return schema.dump(self.run) | schema.dump(self.options) | {"data": schema.dump(self.data)}

    def to_toml(self) -> str:
        """As a whole file that ``--config`` reads. UsageError if a value cannot be written as TOML."""
        names = {"variant": self.variant, "dataset": self.dataset, "preset": self.preset, WHOLE: True}
        try:
            text = HEADER + tomli_w.dumps(names | self.to_dict())
            text.encode()
        except (TypeError, ValueError) as error:  # a file name of bytes that are no text, or a plugin's own type
            raise UsageError(f"the options cannot be written to a config.toml: {error}") from None
        return text

    def save(self, path: Path) -> None:
        """Write :meth:`to_toml` to `path`."""
        path.write_text(self.to_toml(), encoding="utf-8")


def resolve(
    variant_cls: type[Variant[Any]],
    dataset_cls: type[Dataset[Any]],
    *,
    variant: str,
    dataset: str,
    preset: str | None = None,
    file: Path | None = None,
    options: Mapping[str, object] | None = None,
    implied_by: int | None = None,
) -> Resolved:
    """Merge defaults < preset < `file` < `options` and check the result once.

    `options` are keyed by dotted names; nested mappings are understood too. Values may be text, as on the command
    line. A `file` that is whole, as a run's ``config.toml`` is, is read without its preset. `implied_by`: the stage
    that was asked for, if it is not this one but one that builds on it. Then :data:`OF_ONE_STAGE` is left out of the
    options, and of a file that is that stage's own; of a whole one also what is that stage's by the preset. UsageError
    names field, bound and value, or the nearest name if an option is unknown.
    """
    content = read_toml(file) if file else {}
    whole = content.pop(WHOLE, False)
    if whole and preset:
        raise UsageError(f"{file} holds every option of a run: preset {preset!r} would change none. Leave one out.")
    preset = preset or content.get("preset") or "default"
    if content.get("variant", variant) != variant:
        raise UsageError(f"{file} is a configuration of {content['variant']!r}, not of {variant!r}")
    content = options_of(content, dataset)
    of_other_stage = implied_by is not None and content.get("stage") == implied_by
    if implied_by is not None:
        options = _without(OF_ONE_STAGE, options or {})
        content = _without(OF_ONE_STAGE, content) if of_other_stage else content
    models = _Models(run=RunConfig, variant=variant_cls.Config, data=dataset_cls.Config)
    # of a whole file the preset is only a name, but for what it says of how another stage is trained
    if whole and not (of_other_stage and preset in variant_cls.presets):
        chosen: dict[str, Any] = {}
    else:
        chosen = _preset(variant_cls, variant, preset)
    overlays = {key: chosen.pop(key) for key in list(chosen) if key.startswith("stage") and key[5:].isdecimal()}

    layers: list[tuple[str, Mapping[str, object]]] = [(f"preset {preset!r}", chosen)]
    foreign = dataset != getattr(variant_cls, "dataset", None)
    if of_other_stage and whole:
        theirs = _merge(models, [*layers, ("preset", overlays.get(f"stage{implied_by}", {}))], foreign=foreign)
        content = _not_of_preset(models, content, theirs, overlays.values())
    given = [*([(f"file {file}", content)] if file else []), ("options", options or {})]
    merged = _merge(models, [*layers, *given], foreign=foreign)
    stage = merged.get("stage")
    if overlays and stage is not None and str(stage) not in ("none", ""):
        layers.append((f"preset {preset!r}, stage {stage}", overlays.get(f"stage{stage}", {})))
        merged = _merge(models, [*layers, *given], foreign=foreign)

    run = {name: merged.pop(name) for name in RunConfig.model_fields if name in merged}
    data = merged.pop("data", {})
    return Resolved(
        variant=variant,
        dataset=dataset,
        preset=preset,
        run=_validated(RunConfig, run),  # type: ignore[arg-type]
        options=_validated(variant_cls.Config, merged),
        data=_validated(dataset_cls.Config, data, "data."),
    )


def data_options(dataset_cls: type[Dataset[Any]], options: Mapping[str, object]) -> BaseModel:
    """The options of a dataset on its own, given as ``data.<name>``. UsageError as of :func:`resolve`."""
    models = _Models(run=Config, variant=Config, data=dataset_cls.Config)
    merged = _merge(models, [("options", options)])
    return _validated(dataset_cls.Config, merged["data"], "data.")


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; UsageError if it cannot be read, is not TOML, or names what is no name."""
    try:
        content = tomllib.loads(read_regular(path).decode("utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"config file {path} does not exist") from None
    except OSError as error:
        raise UsageError(f"config file {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UsageError(f"config file {path} is not UTF-8 text: line {line}") from None
    except (ValueError, RecursionError) as error:  # of TOML, and numbers of thousands of digits
        raise UsageError(f"config file {path} is not TOML: {error}") from None
    if _deeper(content, DEEPEST):
        raise UsageError(f"config file {path} is nested too deeply: no option is more than {DEEPEST} levels down")
    for name in ("variant", "dataset", "preset"):
        if not isinstance(content.get(name, ""), str):
            raise UsageError(f"config file {path}: {name} = {shown(content[name])}: must be a name, in quotes")
    if not isinstance(content.get(WHOLE, False), bool):
        raise UsageError(f"config file {path}: {WHOLE} = {shown(content[WHOLE])}: must be true or false")
    return content


def _deeper(value: object, levels: int) -> bool:
    """Whether `value` holds something that is more than so many `levels` down."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper(one, levels - 1) for one in inner)


@dataclass(frozen=True)
class _Models:
    run: type[BaseModel]
    variant: type[BaseModel]
    data: type[BaseModel]

    def annotation(self, name: str) -> Any:
        """The type of a dotted option; KeyError if there is none of that name."""
        head, _, rest = name.partition(".")
        if head == "data":
            return schema.annotation(self.data, rest) if rest else self.data
        return schema.annotation(self.run if head in self.run.model_fields else self.variant, name)

    def names(self) -> list[str]:
        """All dotted names."""
        data = [f"data.{leaf.name}" for leaf in schema.leaves(self.data)]
        return [leaf.name for model in (self.run, self.variant) for leaf in schema.leaves(model)] + data


def _preset(cls: type[Variant[Any]], variant: str, preset: str) -> dict[str, Any]:
    if preset in cls.presets:
        return dict(cls.presets[preset])
    if preset == "default":
        return {}
    listed = ", ".join({"default": None, **cls.presets})
    raise UsageError(f"{variant} has no preset {shown(preset)}{nearest(preset, cls.presets)}\npresets: {listed}")


def options_of(content: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """The options in a file's `content` that hold for `dataset`, without the names of what they are for."""
    own = {key: value for key, value in content.items() if key not in ("variant", "dataset", "preset", WHOLE)}
    if content.get("dataset", dataset) != dataset:
        own.pop("data", None)  # options of another dataset than the one asked for
    return own


def _without(names: frozenset[str], values: Mapping[str, object]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key.partition(".")[0] not in names}


def _merge(
    models: _Models,
    layers: Iterable[tuple[str, Mapping[str, object]]],
    *,
    foreign: bool = False,
) -> dict[str, Any]:
    """One nested mapping of all values, later layers over earlier ones over the defaults.

    `foreign`: the dataset is not the variant's own, for which presets are written; it need not have the same options.
    """
    merged = schema.defaults(models.run) | schema.defaults(models.variant) | {"data": schema.defaults(models.data)}
    for source, layer in layers:
        lenient = foreign and source.startswith("preset")
        for name, value in _flat(models, layer):
            try:
                annotation = models.annotation(name)
            except KeyError:
                if lenient and name.startswith("data."):
                    continue
                where = "" if source == "options" else f" in {source}"
                raise UsageError(f"unknown option {shown(name)}{where}{nearest(name, models.names())}") from None
            _put(merged, name, schema.read(annotation, value))
    return merged


def _not_of_preset(
    models: _Models, content: Mapping[str, object], preset: Mapping[str, object], stages: Iterable[Mapping[str, object]]
) -> dict[str, object]:
    """`content` of a stage's file less what the preset says of one stage or other, where the file has it from there."""
    known = dict(_flat(models, preset))
    apart = {name for stage in stages for name, _ in _flat(models, stage)}

    def from_there(name: str, value: object) -> bool:
        return name in apart and _plain(schema.read(models.annotation(name), value)) == _plain(known.get(name))

    return {name: value for name, value in _flat(models, content) if not from_there(name, value)}


def _plain(value: object) -> object:
    """Sequences as lists, so that those of a file equal those of a preset."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _flat(models: _Models, layer: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, object]]:
    """(dotted name, value) of a layer; mappings are entered where the option is a nested model."""
    for key, value in layer.items():
        name = prefix + key
        if isinstance(value, BaseModel):
            value = {field: getattr(value, field) for field in value.model_fields_set}
        try:
            nested = schema.nested(models.annotation(name)) is not None
        except KeyError:
            nested = False
        if isinstance(value, Mapping) and nested:
            yield from _flat(models, value, f"{name}.")
        else:
            yield name, value


def _put(tree: dict[str, Any], name: str, value: object) -> None:
    *path, last = name.split(".")
    for part in path:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    tree[last] = value


def _validated(model: type[BaseModel], values: Mapping[str, Any], prefix: str = "") -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageError(schema.explain(error, model, prefix)) from None


__all__ = [
    "OF_ONE_STAGE",
    "RESERVED",
    "WHOLE",
    "Augment",
    "Resolved",
    "RunConfig",
    "data_options",
    "options_of",
    "read_toml",
    "resolve",
]
