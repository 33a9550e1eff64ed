"""Options of runs on the command line: a typer command for one variant, and ``--set OPTION=VALUE``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gankit.cli.processes import HELP
from gankit.cli.streams import escaped
from gankit.errors import UsageError
from gankit.options.spelling import flag

if TYPE_CHECKING:
    from gankit.options.schema import Leaf
    from gankit.plugin import Dataset, Variant

Settings = Mapping[str, Any]
Execute = Callable[[str, Settings, dict[str, Any]], None]
"""Called with the variant's name, the command's own settings, and the options given, by dotted name."""


Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="OPTION=VALUE", help="An option of the run: data.root=DIR. May be repeated."),
]


def make_command(
    name: str,
    variant: type[Variant[Any]],
    dataset: type[Dataset[Any]] | None,
    dataset_name: str,
    preset: str | None,
    execute: Execute,
) -> Any:
    """The command ``gankit run <name>``. Values stay text: the models check them, so there is one kind of message."""
    leaves = list(_grouped(name, variant, dataset, dataset_name))
    values = _shown_values(name, variant, dataset, dataset_name, preset)
    fixed = _fixed(name, variant, dataset_name)
    parameters = [*fixed, *(_parameter(i, leaf, panel, values) for i, (panel, leaf) in enumerate(leaves))]

    def command(**given: Any) -> None:
        options = {leaf.name: given[f"option{i}"] for i, (_, leaf) in enumerate(leaves)}
        settings = {parameter.name: given[parameter.name] for parameter in fixed}
        execute(name, settings, {key: value for key, value in options.items() if value is not None})

    command.__doc__ = escaped(inspect.cleandoc(variant.__doc__ or f"Train {name}."))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    # --batch_size is as good as --batch-size
    app.command(name, context_settings={"token_normalize_func": lambda text: text.replace("_", "-")})(command)
    return typer.main.get_command(app)


def assigned(options: Sequence[str] | None) -> dict[str, object]:
    """The values of ``--set OPTION=VALUE``, by dotted name. UsageError if one is not written so."""
    given: dict[str, object] = {}
    for option in options or []:
        name, equals, value = option.partition("=")
        if not equals:
            raise UsageError(f"--set {option!r}: write it as OPTION=VALUE")
        given[name.removeprefix("--").replace("-", "_")] = value
    return given


def _fixed(name: str, variant: type[Variant[Any]], dataset_name: str) -> list[inspect.Parameter]:
    """Options of the command itself, the same for every variant."""
    presets = sorted({"default", *variant.presets})

    def option(key: str, kind: Any, default: Any, help_text: str, **more: Any) -> inspect.Parameter:
        info = typer.Option(
            default, flag(key), help=escaped(help_text), rich_help_panel="Run", show_default=False, **more
        )
        return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=kind)

    text, path = str | None, Path | None
    return [
        option("dataset", text, None, f"Dataset to train on. [default: {dataset_name}]", autocompletion=_datasets),
        option("preset", text, None, f"Options to start from: {', '.join(presets)}. [default: default]"),
        option("config", path, None, "TOML file of options, such as the config.toml of a run."),
        option("out", path, Path("runs"), "Where runs are kept. [default: runs]"),
        option("init", path, None, "A run, or a checkpoint's folder, from whose weights to start, as far as they fit."),
        option("resume", bool, False, f"Go on with the latest run of {name} on this dataset, if there is one."),
        option("processes", int, 1, f"{HELP} [default: 1]"),
        option("dry_run", bool, False, "Print networks, phases, data and memory, and stop."),
        option("show", bool, False, "Draw each new sheet, or figure, on the terminal."),
        option("json", bool, False, "Print the result as JSON; all else goes to stderr."),
    ]


def _grouped(
    name: str, variant: type[Variant[Any]], dataset: type[Dataset[Any]] | None, dataset_name: str
) -> Iterator[tuple[str, Leaf]]:
    """(panel, option) in the order of the help page."""
    from gankit.options.resolve import RunConfig
    from gankit.options.schema import leaves

    titles = {"optim": "Optimiser", "augment": "Augmentation"}

    def panel(leaf: Leaf, otherwise: str) -> str:
        head, dot, _ = leaf.name.partition(".")
        return titles.get(head, head.replace("_", " ").capitalize()) if dot else otherwise

    found = [(panel(leaf, "Run"), leaf) for leaf in leaves(RunConfig)]
    found += [(panel(leaf, name), leaf) for leaf in leaves(variant.Config)]
    if dataset is not None:
        found += [(f"Data: {dataset_name}", leaf) for leaf in leaves(dataset.Config, "data.")]
    order = list(dict.fromkeys(title for title, _ in found))
    order.sort(key=lambda title: (title != "Run", title == "Augmentation", title.startswith("Data")))
    yield from (pair for title in order for pair in found if pair[0] == title)


def _parameter(index: int, leaf: Leaf, panel: str, values: Mapping[str, str]) -> inspect.Parameter:
    from gankit.options.schema import without_none

    is_flag = without_none(leaf.annotation) is bool
    choices = leaf.choices
    default = values.get(leaf.name) or as_text(leaf.default)
    help_text = f"{leaf.help} [{', '.join(filter(None, [leaf.bounds, f'default: {default}']))}]"
    info = typer.Option(
        None,
        typed(leaf),
        help=escaped(help_text),
        rich_help_panel=panel,
        show_default=False,
        metavar=None if is_flag else leaf.metavar,
        autocompletion=(lambda incomplete: [c for c in choices if c.startswith(incomplete)]) if choices else None,
    )
    kind: Any = bool | None if is_flag else str | None
    return inspect.Parameter(f"option{index}", inspect.Parameter.KEYWORD_ONLY, default=info, annotation=kind)


def typed(leaf: Leaf) -> str:
    """An option as it is typed: ``--batch-size``, or ``--cache/--no-cache``."""
    from gankit.options.schema import without_none

    name = flag(leaf.name)
    return f"{name}/--no-{name[2:]}" if without_none(leaf.annotation) is bool else name


def _shown_values(
    name: str, variant: type[Variant[Any]], dataset: type[Dataset[Any]] | None, dataset_name: str, preset: str | None
) -> dict[str, str]:
    """What an option is if it is not given, as text: with the preset laid over the models' defaults, stage by stage."""
    from gankit.options.resolve import resolve
    from gankit.options.schema import leaves

    if dataset is None:
        return {}
    stages = [{"stage": stage} for stage in range(1, variant.stages + 1)] if variant.stages > 1 else [{}]
    try:
        resolved = [
            resolve(variant, dataset, variant=name, dataset=dataset_name, preset=preset, options=stage)
            for stage in stages
        ]
    except UsageError:
        return {}  # an option without a default; running says which

    def values(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
        return ((prefix + leaf.name, attrgetter(leaf.name)(model)) for leaf in leaves(type(model)))

    shown: dict[str, list[str]] = {}
    for one in resolved:
        for key, value in (*values(one.run), *values(one.options), *values(one.data, "data.")):
            shown.setdefault(key, []).append(as_text(value))
    shown["stage"] = ["all, in turn"]
    return {key: texts[0] if len(set(texts)) == 1 else " or ".join(texts) + " by stage" for key, texts in shown.items()}


def as_text(value: Any) -> str:
    """A default as one would type it."""
    from pydantic_core import PydanticUndefined

    if value is PydanticUndefined:
        return "must be given"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(map(str, value)) or "none"
    return str(value) or "empty"


def _datasets(incomplete: str) -> list[str]:
    from gankit.discovery.entry_points import NAME, datasets

    return [name for name in datasets() if name.startswith(incomplete) and NAME.fullmatch(name)]
