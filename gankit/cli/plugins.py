"""``gankit list`` and ``gankit plugins``: what is installed, and does it keep the contract?"""

from __future__ import annotations

import inspect
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gankit.cli.options import Set, as_text, assigned, typed
from gankit.cli.output import emit, say, shown, table, warn

if TYPE_CHECKING:
    from gankit.discovery.entry import PluginEntry

app = typer.Typer(help="List, describe, check and start plugins.", rich_markup_mode="rich")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A variant or a dataset.")]


def list_all(json: Json = False) -> None:
    """List the installed variants and datasets. Nothing is imported."""
    from gankit.discovery.entry_points import datasets, variants
    from gankit.discovery.problems import marked

    warn_of_damage()
    found = {"variants": marked(variants()), "datasets": marked(datasets())}
    if json:
        emit({kind: [_described(entry) for entry in entries.values()] for kind, entries in found.items()})
        return
    if not any(found.values()):
        say("no plugins are installed\ntry: pip install gankit-plugin-cgan")
        return
    blocks = []
    for kind, entries in found.items():
        rows = [(name, entry.distribution, _remark(entry)) for name, entry in entries.items()]
        blocks.append(table(rows, (kind[:-1], "from", "")) if rows else f"no {kind}")
    say("\n\n".join(blocks))


@app.command("list")
def list_plugins(json: Json = False) -> None:
    """List the installed plugins by distribution. Nothing is imported."""
    from gankit.discovery.entry_points import datasets, variants
    from gankit.discovery.problems import marked

    warn_of_damage()
    grouped: dict[str, dict[str, Any]] = {}
    for entry in [*marked(variants()).values(), *marked(datasets()).values()]:
        blank = {
            "distribution": entry.distribution,
            "version": entry.version,
            "variants": [],
            "datasets": [],
            "problems": [],
        }
        group = grouped.setdefault(entry.distribution, blank)
        group[f"{entry.kind}s"].append(entry.name)
        if entry.problem:
            group["problems"].append(f"{entry.name}: {entry.problem}")
    if json:
        emit(list(grouped.values()))
        return
    rows = [
        (g["distribution"], g["version"], ", ".join(g["variants"]), ", ".join(g["datasets"]), "; ".join(g["problems"]))
        for g in grouped.values()
    ]
    say(table(rows, ("plugin", "version", "variants", "datasets", "")) if rows else "no plugins are installed")


@app.command()
def info(name: Name, json: Json = False) -> None:
    """Describe a variant or a dataset: what it is, what it needs, its options."""
    from gankit.discovery.entry_points import datasets, load_dataset, load_variant, unknown, variants
    from gankit.options.schema import leaves

    if name in variants():
        entry: PluginEntry = variants()[name]
        loaded: Any = load_variant(name)
        more = {
            "dataset": loaded.dataset,
            "requires": sorted(loaded.requires),
            "conditions": sorted(loaded.conditions),
            "stages": loaded.stages,
            "metric": loaded.metric,
            "presets": sorted({"default", *loaded.presets}),
        }
    elif name in datasets():
        entry, loaded, more = datasets()[name], load_dataset(name), {}
    else:
        raise unknown(name, "plugin", [*variants(), *datasets()])
    prefix = "data." if entry.kind == "dataset" else ""
    options = list(leaves(loaded.Config, prefix))
    about = inspect.cleandoc(loaded.__doc__ or "")  # its own: getdoc would show the base class's
    if json:
        described = [
            {"name": leaf.name, "type": leaf.metavar, "default": leaf.default, "bounds": leaf.bounds, "help": leaf.help}
            for leaf in options
        ]
        emit({**_described(entry), **more, "about": about, "options": described})
        return
    facts = [(key, ", ".join(value) if isinstance(value, list) else value or "") for key, value in more.items()]
    say(f"{entry.kind} {name}, {entry.distribution} {entry.version} ({entry.value})\n\n{about}\n")
    if facts:
        say(table(facts) + "\n")
    rows = [(typed(leaf), leaf.metavar, as_text(leaf.default), leaf.bounds, leaf.help) for leaf in options]
    say(table(rows, ("option", "type", "default", "", "")))


@app.command()
def check(
    name: Name,
    dataset: Annotated[str | None, typer.Option(help="Dataset to check the variant on, if not its own.")] = None,
    options: Set = None,
    json: Json = False,
) -> None:
    """Check that a plugin keeps the contract: data, networks, gradients, samples, saving. Exit code 3 if not."""
    from gankit.check.plugin import check_plugin
    from gankit.options.spelling import by_set, given_as

    with given_as(by_set):
        results = check_plugin(name, dataset=dataset, options=assigned(options))
    failed = [result for result in results if result.ok is False]
    if json:
        emit({"name": name, "ok": not failed, "checks": [asdict(result) for result in results]})
    else:
        marks = {True: "ok", False: "FAILED", None: "skipped"}
        say(table([(marks[result.ok], result.check, result.detail.replace("\n", "; ")) for result in results]))
        say(f"{name}: {'keeps the contract' if not failed else f'{len(failed)} failed'}")
    if failed:
        raise typer.Exit(3)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the variant: letters, digits and dashes.")],
    directory: Annotated[Path, typer.Option("--dir", help="Where to put the directory gankit-plugin-NAME.")] = Path(),
    json: Json = False,
) -> None:
    """Start a plugin: a small working GAN to change into your own."""
    from gankit.cli.skeleton import write

    folder, files = write(name, directory)
    if json:
        emit({"name": name, "directory": str(folder), "files": [str(file) for file in files]})
        return
    say("\n".join(shown(file) for file in files))
    say(f"next: pip install -e {shown(folder)} && gankit plugins check {name}")


def warn_of_damage() -> None:
    """Names, on stderr, installed distributions whose entry points cannot be read: one may be the plugin one misses."""
    from gankit.discovery.metadata import faults

    if found := faults():
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        warn(f"warning: entry points that cannot be read: {found[0]}{more}. Install that package again.")


def _described(entry: PluginEntry) -> dict[str, Any]:
    return {key: value for key, value in asdict(entry).items() if key != "kind"} | {"kind": entry.kind}


def _remark(entry: PluginEntry) -> str:
    return f"BROKEN: {entry.problem} (remove it with: {entry.remedy})" if entry.problem else entry.summary


__all__ = ["app", "list_all", "warn_of_damage"]
