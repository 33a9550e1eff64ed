"""gankit in Python: the same reach as the command line.

::

    import gankit

    run = gankit.train("cgan", steps=2000)
    images = run.sample(10, label=7).images
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gankit.data.source import DataSource
from gankit.discovery.entry_points import load_dataset, load_variant
from gankit.errors import GankitError
from gankit.events import OnEvent, ignore
from gankit.export import open_export
from gankit.hub import fetched, is_address, read_directory
from gankit.options.schema import flattened
from gankit.plugin import Dataset, Variant
from gankit.processes import ALONE, World, joined
from gankit.run import Run
from gankit.runs.directory import RunDir
from gankit.sampling.samples import Samples
from gankit.training.importing import import_run as run_of_weights
from gankit.training.launch import TrainRequest
from gankit.training.leading import follow, lead
from gankit.training.plan import Plan, make_plan
from gankit.training.session import Session
from gankit.training.stages import read_config, read_names


def train(
    variant: str | type[Variant[Any]],
    dataset: str | Dataset[Any] | None = None,
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    out: str | Path = "runs",
    resume: bool = False,
    init: str | Path | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Run:
    """Train `variant` on `dataset` (the variant's own by default) into a new directory under `out`.

    `options` are those of ``gankit run``, with ``__`` for a dot or nested mappings: ``steps=500, optim__lr=1e-3``,
    ``data={"size": 32}``; a `dataset` given open brings its own, which they must not contradict. They are laid over
    those of the TOML file `config`, and these over the `preset`. Of a variant with stages, the stage asked for, or all;
    a missing earlier stage is trained first. With `resume` the latest run of this variant and dataset under `out` goes
    on, with the options it was started with (but for more ``steps``), and the stages after it follow; without one a
    new run begins. With `init`, a run or the folder of a checkpoint, it starts from those of its weights that fit.
    `on_event` is called with each of `gankit.events`.

    Raises :class:`UsageError` (:class:`PluginError` if the plugin is to blame) before anything is written if an option
    or the data is wrong, or if the first step or the first samples would fail; :class:`RunInterrupted` and
    :class:`TrainingDiverged`, which say what is kept, while it trains.

    In a script that torchrun starts in several processes they train together, each calling this alike.
    """
    world = joined()
    request = TrainRequest.make(variant, dataset, preset, config, options, Path(out), on_event or ignore, world, init)
    if not world.leads:
        trained = follow(world, None if isinstance(variant, str) else variant, request.source)
    else:
        with lead(world) as done:
            launch = request.launch  # of a run that these processes began, before one of them died
            trained = request.resume(None if resume else launch) if resume or launch else request.train()
            done.append(trained)
    return Run(trained.directory, trained.resolved, request.variant, request.source)


def open_run(
    path: str | Path, variant: type[Variant[Any]] | None = None, dataset: type[Dataset[Any]] | None = None
) -> Run:
    """The run at `path`, or the latest one of ``out/<variant>-<dataset>``.

    `variant` and `dataset` are needed only for classes that are not installed as plugins. :class:`GankitError` names
    the file if there is no run, or its config.toml is damaged or of options that the plugin no longer has.
    """
    directory = RunDir.open(path)
    names = read_names(directory)
    try:
        variant = variant or load_variant(names["variant"])
        dataset = dataset or load_dataset(names["dataset"])
    except GankitError as error:
        raise type(error)(f"{directory.path / 'config.toml'}: {error}") from error
    return Run(directory, read_config(directory, variant, dataset), variant, DataSource(dataset))


def import_weights(
    format: str,
    *files: str | Path,
    dataset: str | None = None,
    out: str | Path = "runs",
    size: int | None = None,
    classes: Sequence[str] = (),
    on_event: OnEvent | None = None,
    **options: Any,
) -> Run:
    """A run that starts from weights which another program wrote, as ``gankit import FORMAT FILES`` makes it.

    Nothing in the files is executed. `size` is the side of images and `classes` the names of classes, where the weights
    do not say them; `options` are those of :func:`train`. Without a `dataset` the run draws, but cannot be trained on.
    """
    flat = dict(flattened({key.replace("__", "."): value for key, value in options.items()}))
    paths = [Path(file).expanduser() for file in files]
    made = run_of_weights(
        format, paths, dataset, flat, Path(out).expanduser(), on_event or ignore, size=size, classes=classes
    )
    return Run(made.run.directory, made.run.resolved, made.variant, made.source)


def import_run(place: str | Path, *, out: str | Path = "runs", on_event: OnEvent | None = None, **options: Any) -> Run:
    """The run in a directory that ``gankit export RUN DIR`` wrote, or in ``hf://org/name[@revision]``, as a new one.

    It draws what the one that was shared draws. Nothing in the files is executed. `options` are those of :func:`train`,
    laid over its own: ``data__root=DIR``, ``steps=20000``. :class:`UsageError` if the files are not what they should
    be, and nothing is written; :class:`PluginError` if the plugin is not installed.
    """
    flat = dict(flattened({key.replace("__", "."): value for key, value in options.items()}))
    tell, home = on_event or ignore, Path(out).expanduser()
    if is_address(place):
        made = read_directory(fetched(str(place)), home, flat, tell, said=str(place), links=True)
    else:
        made = read_directory(Path(place).expanduser(), home, flat, tell)
    return Run(made.run.directory, made.run.resolved, made.variant, made.source)


def make_session(
    variant: str | type[Variant[Any]],
    dataset: str | Dataset[Any] | None = None,
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    **options: Any,
) -> Session:
    """What :func:`train` would train, without a run: nothing is written. Of a variant with stages, the first."""
    request = TrainRequest.make(variant, dataset, preset, config, options, Path("runs"), ignore)
    resolved = request.asked()
    if request.variant.stages > 1 and resolved.stage is None:
        resolved = request.resolve(1)
    return request.open(resolved).session


def plan(
    variant: str | type[Variant[Any]],
    dataset: str | Dataset[Any] | None = None,
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    out: str | Path = "runs",
    processes: int = 1,
    init: str | Path | None = None,
    **options: Any,
) -> list[Plan]:
    """What :func:`train` would do, one a stage: networks, phases, data, memory. Nothing is written; errors are its.

    In several `processes`, memory is that of each.
    """
    world = World(0, processes) if processes > 1 else ALONE
    request = TrainRequest.make(variant, dataset, preset, config, options, Path(out), ignore, world, init=init)
    return [make_plan(request.open(resolved).session) for resolved in request.missing()[0]]


__all__ = ["Run", "Samples", "import_run", "import_weights", "make_session", "open_export", "open_run", "plan", "train"]
