"""Config files, options and values that are wrong in every way that comes to mind: a plan, or a sentence."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tomli_w
from made_up import Site
from mutations import CONTENT, ODD, PLACE, Damage, at_most, forbid_unpickling, mutate_value, report, seeds
from tiny_gan import SMALL, Blobs, Tiny

from gankit.api import plan
from gankit.cli.main import main
from gankit.errors import GankitError
from gankit.options.resolve import resolve

CASES = 200
SECONDS = 30


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[Path]:
    """A whole config of the tiny GAN, that the command line finds the classes of."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "site").mkdir()
    Site(folder / "site").add("tiny", variants={"tiny": "tiny_gan:Tiny"}, datasets={"blobs": "tiny_gan:Blobs"})
    resolved = resolve(Tiny, Blobs, variant="tiny", dataset="blobs", options={**SMALL, "workers": 0})
    (folder / "whole.toml").write_text(resolved.to_toml())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANKIT_CACHE", str(folder / "cache"))
        patch.delenv("GANKIT_DEBUG", raising=False)
        patch.syspath_prepend(str(folder / "site"))
        patch.chdir(folder)
        yield folder / "whole.toml"


def other_value(path: Path, random: Random) -> None:
    """Another value somewhere, as far as TOML has a word for it."""
    content = mutate_value(tomllib.loads(path.read_text()), random)
    try:
        path.write_text(tomli_w.dumps(content), errors="surrogateescape")
    except (TypeError, AttributeError, ValueError, UnicodeError):
        path.write_text(path.read_text().replace("=", "= [", 1))


def other_line(path: Path, random: Random) -> None:
    """Something else on one line: what TOML allows and what it does not."""
    lines = path.read_text().splitlines()
    at = random.randrange(len(lines))
    name = lines[at].partition("=")[0].strip() or "steps"
    depth = random.choice((50, 3_000))
    deep = "[" * depth + "]" * depth
    values = (
        "9223372036854775808",
        "1e999",
        "nan",
        "-inf",
        "1" + "0" * 5_000,
        "2001-02-03T04:05:06",
        f"'''\n{name}'''",
    )
    values += ("{}", deep, '"\\u0000"', '"\\u001b[31m"', "1e15", "[1, 'two']", "true", "'none'")
    others = (f"{name}.{name} = 1", f"[{name}]", f"[[{name}]]", f"{'a.' * depth}b = 1", lines[at] * 2, '"\\u0000" = 1')
    lines[at] = random.choice((*(f"{name} = {value}" for value in values), *others, '"" = 1'))
    path.write_text("\n".join(lines) + "\n")


NAMES = ("steps", "batch-size", "seed", "device", "precision", "hidden", "optim.lr", "optim.betas", "data.size", "x")
FLAGS = (*NAMES, "preset", "dataset", "ema", "ema-start", "augment.crop", "data.count", "repeat", "workers")


def spoiled_options(random: Random) -> list[str]:
    """Options as one may type them."""
    typed: list[str] = []
    for _ in range(random.choice((1, 1, 2))):
        name = random.choice(FLAGS)
        value = str(random.choice([odd for odd in ODD if type(odd) is not int or odd.bit_length() < 9_000]))
        typed += random.choice(([f"--{name}", value], [f"--{name}={value}"], [f"--{name}"], [value]))
    return [text for text in typed if "\0" not in text and "\ud800" not in text]  # no system passes them on


@pytest.mark.parametrize("part", range(3))
def test_wrong_configs(config, tmp_path, monkeypatch, capsys, part):
    forbid_unpickling(monkeypatch)
    report([fault for seed in seeds(CASES, part, 3) if (fault := use_wrong(seed, config, tmp_path, capsys))])


def use_wrong(seed: int, config: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is wrong with what is said of a config or of options."""
    random = Random(seed)
    way = random.choice(("file", "file", "file in python", "typed", "python"))
    path = folder / f"{seed}.toml"
    damages: tuple[Damage, ...] = (*CONTENT, *PLACE, *(other_value,) * 8, *(other_line,) * 6)
    damage = random.choice(damages)
    asked: Any = damage.__name__
    if way.startswith("file"):
        path.write_bytes(config.read_bytes())
        damage(path, random)
    elif way == "typed":
        asked = spoiled_options(random)
    else:
        asked = {random.choice(NAMES).replace("-", "_").replace(".", "__"): random.choice(ODD)}
    try:
        with at_most(SECONDS):
            if way == "python":
                plan("tiny", out=folder / "runs", **asked)
                return ""
            if way == "file in python":
                plan("tiny", config=path, out=folder / "runs")
                return ""
            arguments = ["--config", str(path)] if way == "file" else asked
            code = main(["run", "tiny", "--dry-run", "--out", str(folder / "runs"), *arguments])
        text = capsys.readouterr().err.partition("error: ")[2]
        fault = f"exit code {code}: {text[:300]}" if code not in (0, 1, 2, 3) else wrong_message(text) if code else ""
    except GankitError as error:
        fault = wrong_message(str(error))
    except BaseException as error:
        fault = f"{type(error).__name__}: {str(error)[:300]}"
    if (folder / "runs").exists():
        fault = fault or "something was written"
    return f"{seed}: {way}, {str(asked)[:100]!r}: {fault}" if fault else ""


def wrong_message(text: str) -> str:
    """What is wrong with the words of an error."""
    if len(text) > 1_500 or text.count("\n") > 4:
        return f"too long: {text[:200]!r} ... {len(text)}"
    if not text.strip():
        return "no words"
    return f"raw: {text[:200]!r}" if "set GANKIT_DEBUG=1" in text or "\x1b" in text or "\0" in text else ""
