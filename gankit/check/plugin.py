"""What ``gankit plugins check`` looks at, in order.

Every check does the real thing on a small scale: opens the data, builds the networks, takes a training step, saves,
loads and draws. What fails is said in one line; checks that depend on it are left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gankit.check.checker import Checker, Failed, Result
from gankit.discovery.entry import PluginEntry
from gankit.discovery.entry_points import datasets, load_dataset, load_variant, unknown, variants
from gankit.errors import UsageError

if TYPE_CHECKING:
    from gankit.options.resolve import Resolved
    from gankit.plugin import Dataset, Variant


def check_plugin(name: str, *, dataset: str | None = None, options: Mapping[str, object] | None = None) -> list[Result]:
    """Check the variant or the dataset `name`.

    `dataset` and `options` (dotted names) are those of a run: needed where the defaults cannot open any data. Raises
    :class:`UsageError` if nothing of that name is installed.
    """
    checker = Checker()
    known = variants()
    if name in known:
        _check_variant(checker, known[name], dataset, dict(options or {}))
    elif name in datasets():
        _check_dataset(checker, datasets()[name], dict(options or {}))
    else:
        raise unknown(name, "plugin", [*known, *datasets()])
    return checker.results


def _check_dataset(checker: Checker, found: PluginEntry, options: dict[str, object]) -> None:
    from gankit.check.data import check_data
    from gankit.options.resolve import data_options

    loaded: list[Any] = []
    if not checker.run("import", lambda: loaded.append(load_dataset(found.name))):
        return
    cls = loaded[0]
    if _check_options(checker, cls.Config):
        config = data_options(cls, {f"data.{key.removeprefix('data.')}": value for key, value in options.items()})
        check_data(checker, lambda split: cls(config, split))


def _check_variant(checker: Checker, found: PluginEntry, dataset_name: str | None, options: dict[str, object]) -> None:
    from gankit.check.data import check_data, stand_in
    from gankit.options.resolve import resolve

    loaded: list[Any] = []
    if not checker.run("import", lambda: loaded.append(load_variant(found.name))):
        return
    variant: type[Variant[Any]] = loaded[0]
    if not _check_options(checker, variant.Config, staged=variant.stages > 1):
        return
    label = dataset_name or variant.dataset
    if not checker.run("dataset import", lambda: loaded.append(load_dataset(label))):
        return
    dataset: type[Dataset[Any]] = loaded[1]
    if not _check_options(checker, dataset.Config, "dataset "):
        return
    data_options = {key: value for key, value in options.items() if key.startswith("data.")}
    sound = checker.run("presets", lambda: _check_presets(variant, dataset, found.name, label, data_options))

    def resolved(stage: int | None = None) -> Resolved:
        given = {"workers": 0, "device": "cpu", **variant.check_options, **options}
        given |= {"stage": stage} if stage else {}
        return resolve(variant, dataset, variant=found.name, dataset=label, options=given)

    try:
        config = resolved().data
    except UsageError:
        if sound:
            raise  # what was given with --set is wrong
        return
    try:
        opened = dataset(config, "train")
    except UsageError as error:
        # a reader of the user's own files cannot open anything by default; the rest can be checked all the same
        checker.skip("dataset", f"{error} (made-up data is used instead)")
        opened = stand_in(variant)
    except Exception:
        checker.run("dataset", lambda: str(dataset(config, "train")))  # again, to be told of like any other failure
        return
    else:
        if not check_data(checker, lambda split: opened if split == "train" else dataset(config, split)):
            return
    from gankit.check.training import check_training

    stages: list[int | None] = list(range(1, variant.stages + 1)) if variant.stages > 1 else [None]
    previous = None
    for stage in stages:
        previous = check_training(checker, variant, opened, resolved, stage, previous)
        if previous is None:
            return


def _check_options(checker: Checker, model: Any, prefix: str = "", *, staged: bool = False) -> bool:
    """Check a Config; whether it can be used."""
    checker.run(f"{prefix}help texts", lambda: _check_help(model))
    return checker.run(f"{prefix}options", lambda: _check_model(model, staged=staged))


def _check_help(model: Any) -> None:
    from gankit.options.schema import leaves

    if silent := [leaf.name for leaf in leaves(model) if not leaf.help]:
        raise Failed(f"{silent[0]} has no help text: put a docstring below the field")


def _check_model(model: Any, *, staged: bool = False) -> str:
    """Every option has a default and a type that survives being written to a file and read back."""
    from gankit.options.schema import dump, leaves, read

    required = [name for name, info in model.model_fields.items() if info.is_required()]
    if required:
        raise Failed(f"{required[0]} has no default; `gankit run` must work without options")
    if staged and "stage" not in model.model_fields:
        raise Failed("a variant with stages needs a field `stage: int | None = None`")
    config = model()
    try:
        tree = _through_toml(dump(config))
    except Exception as error:
        raise Failed(f"the default options cannot be written as TOML: {error}") from error
    if model.model_validate(read(model, tree)) != config:
        raise Failed("the default options do not come back equal from a TOML file")
    if model() != config:
        raise Failed("the default options differ from one time to the next")
    return f"{len(list(leaves(model)))} options"


def _through_toml(tree: dict[str, Any]) -> dict[str, Any]:
    import tomllib

    import tomli_w

    return tomllib.loads(tomli_w.dumps(tree))


def _check_presets(
    variant: type[Variant[Any]],
    dataset: type[Dataset[Any]],
    name: str,
    label: str,
    data_options: dict[str, object],
) -> str:
    from gankit.options.resolve import resolve

    for preset in sorted({"default", *variant.presets}):
        stages = range(1, variant.stages + 1) if variant.stages > 1 else [None]
        for stage in stages:
            options = {**data_options, **({"stage": stage} if stage else {})}
            try:
                config = resolve(variant, dataset, variant=name, dataset=label, preset=preset, options=options)
            except UsageError as error:
                raise Failed(f"preset {preset!r}: {error}") from error
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "config.toml"
                config.save(file)
                if resolve(variant, dataset, variant=name, dataset=label, file=file) != config:
                    raise Failed(f"preset {preset!r}: a run's config.toml does not give the same options again")
    try:
        options = {**variant.check_options, **data_options}
        resolve(variant, dataset, variant=name, dataset=label, options=options)
    except UsageError as error:
        raise Failed(f"`check_options`: {error}") from error
    wrong = [key for preset in variant.presets.values() for key in preset if _wrong_stage(key, variant.stages)]
    if wrong:
        raise Failed(f"a preset has {wrong[0]!r}, but the variant has {variant.stages} stages")
    return ", ".join(sorted({"default", *variant.presets}))


def _wrong_stage(key: str, stages: int) -> bool:
    number = key.removeprefix("stage")
    known = {str(stage) for stage in range(1, stages + 1)} if stages > 1 else set()
    return key.startswith("stage") and number.isdecimal() and number not in known


__all__ = ["check_plugin"]
