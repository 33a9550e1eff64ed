"""Runs that were damaged in every way that comes to mind: what is said, and what is left as it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from made_up import Site
from mutations import CONTENT, PLACE, Damage, at_most, files_of, forbid_unpickling, mutate_json, report, resign, seeds
from tiny_gan import SMALL

import gankit
from gankit.cli.main import main
from gankit.errors import GankitError
from gankit.run import Run

CASES = 200
SECONDS = 30
"""No operation may take so long; it is much, for machines that are busy."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[Path]:
    """A run of the tiny GAN, of twelve steps, that the command line finds the classes of; all caches are filled."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "site").mkdir()
    Site(folder / "site").add("tiny", variants={"tiny": "tiny_gan:Tiny"}, datasets={"blobs": "tiny_gan:Blobs"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANKIT_CACHE", str(folder / "cache"))
        patch.delenv("GANKIT_DEBUG", raising=False)
        patch.syspath_prepend(str(folder / "site"))
        patch.setattr("gankit.tensorboard.available", lambda: False)
        patch.chdir(folder)
        run = gankit.train("tiny", out=folder / "runs", **SMALL, workers=0)
        run.evaluate(2)
        yield run.path


def read_everything(run: Path) -> None:
    """All that a script reads from a run. What one of it cannot have must not take the others away unsaid."""
    first = None
    for use in READING:
        try:
            use(gankit.open_run(run))
        except GankitError as error:
            if fault := wrong_message(str(error), run):
                raise AssertionError(fault) from error
            first = first or error
    if first:
        raise first


READING: tuple[Callable[[Run], object], ...] = (
    lambda run: run.log,
    lambda run: run.metrics,
    lambda run: run.steps,
    lambda run: run.finished,
    lambda run: run.spec,
    lambda run: run.sample(2, device="cpu").images,
    lambda run: run.sample(2, device="cpu", checkpoint="5").images,
)


def resume(run: Path) -> None:
    gankit.open_run(run).resume(13)


def command(*arguments: str) -> Callable[[Path], None]:
    def use(run: Path) -> None:
        code = main([argument.replace("RUN", str(run)) for argument in arguments])
        if code:
            raise Failed(code)

    return use


class Failed(Exception):
    """A command that did not end with 0."""


USES = (
    read_everything,
    resume,
    command("resume", "RUN", "--steps", "13"),
    command("sample", "RUN", "--n", "2", "--device", "cpu", "--json"),
    command("eval", "RUN", "--n", "2", "--device", "cpu"),
    command("report", "RUN", "--json"),
)


def wrong_message(text: str, run: Path) -> str:
    """What is wrong with the words of an error: they must name the file, briefly and in text that can be shown."""
    if str(run) not in text:
        return f"the file is not named: {text}"
    if len(text) > 2_000 or text.count("\n") > 3:
        return f"too long: {text[:300]}"
    return f"raw: {text!r}" if "set GANKIT_DEBUG=1" in text or "\x1b" in text or "\0" in text else ""


def damages(random: Random, run: Path) -> tuple[Path, Damage]:
    """One of the files or directories of a run, and what becomes of it."""
    found = sorted(path for path in run.rglob("*") if path.suffix != ".png")
    path = random.choice([*found, *(path for path in found if path.suffix in (".json", ".toml", ".jsonl"))])
    if path.is_symlink() or not path.is_file():  # a directory, or damaged before
        return path, random.choice(PLACE)
    special: tuple[Damage, ...] = ()
    if path.name == "state.json":
        special = (resign,) * 12
    elif path.suffix == ".json":
        special = (mutate_json,) * 8
    return path, random.choice((*CONTENT, *PLACE, *special))


@pytest.mark.parametrize("part", range(4))
def test_damaged_runs(whole, tmp_path, monkeypatch, capsys, part):
    forbid_unpickling(monkeypatch)
    report([fault for seed in seeds(CASES, part, 4) if (fault := use_damaged(seed, whole, tmp_path, capsys))])


def use_damaged(seed: int, whole: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Damages a copy of the run `whole` and uses it; what is wrong with what then happened."""
    random = Random(seed)
    run = folder / str(seed) / "tiny-blobs" / "0001"
    shutil.copytree(whole, run)
    done = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        path, damage = damages(random, run)
        damage(path, random)
        done.append(f"{damage.__name__} {path.relative_to(run)}")
    before = files_of(run)
    use = random.choice(USES)
    fault, failed = "", True
    try:
        with at_most(SECONDS):
            use(run)
        failed = False
    except GankitError as error:
        fault = wrong_message(str(error), run)
    except Failed as error:
        text = capsys.readouterr().err.partition("error: ")[2]
        fault = wrong_message(text, run) if error.args[0] in (1, 2, 3) else f"exit code {error.args[0]}"
    except BaseException as error:
        fault = f"{type(error).__name__}: {str(error)[:300]}"
    if failed and not fault:
        after = files_of(run)
        changed = [name for name, content in before.items() if after.get(name) != content]
        fault = f"a use that failed changed {', '.join(changed)}" if changed else ""
    shutil.rmtree(folder / str(seed))
    return f"{seed}: {' and '.join(done)}, {use.__name__}: {fault}" if fault else ""
