"""Installed distributions whose metadata, sources and notes were damaged: no other plugin is the worse for it."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from random import Random

import pytest
from made_up import Site
from mutations import CONTENT, PLACE, Damage, at_most, forbid_unpickling, mutate_json, report, seeds

from gankit.cli.main import main

CASES = 150
SECONDS = 30

GOOD = (Path(__file__).parents[1] / "cli" / "toy_plugin.py").read_text(encoding="utf-8")

ATTRIBUTES = ("dataset", "requires", "conditions", "produces", "random", "averaged", "metric", "metrics", "stages")
ATTRIBUTES += ("presets", "check_options", "Config", "networks", "phases", "sample", "asks", "__doc__")
VALUES = ("None", "3", "-1", "''", "'x'", "()", "('x',)", "{}", "{'a': 1}", "{'x'}", "[1]", "object()", "int", "b'x'")
VALUES += ("True", "{'default': {'steps': 'many'}}", "{'default': {'nothing': 1}}", "{1: 2}", "lambda *a: 1", "10**30")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Path:
    """Where distributions are made up."""
    forbid_unpickling(monkeypatch)
    for variable in ("TORCH_DEVICE_BACKEND_AUTOLOAD", "PYDANTIC_DISABLE_PLUGINS"):
        monkeypatch.setenv(variable, "0")  # the command line may set them; they are as they were afterwards
        monkeypatch.delenv(variable)
    monkeypatch.delenv("GANKIT_DEBUG", raising=False)
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache").mkdir()
    return tmp_path


def other_attribute(path: Path, random: Random) -> None:
    """A variant one of whose attributes is something else."""
    name, value = random.choice(ATTRIBUTES), random.choice(VALUES)
    path.write_text(f"{path.read_text()}\n\nToy.{name} = {value}\nDots.{random.choice(('reading', 'x'))} = {value}\n")


def other_line(path: Path, random: Random) -> None:
    """A line of metadata replaced by something else."""
    lines = path.read_text().splitlines() or [""]
    values: tuple[str, ...] = ("x = y", "odd = odd:", "odd = :Toy", "odd = a b:c d", "= odd:Toy", "odd = odd:Toy:Toy")
    values += ("odd", "odd = odd:Toy [x]", "odd =", "odd = odd:nothing", "odd = ..:x", "\x1b[31m = odd:Toy", "\ud800")
    values += ("toy = odd:Toy", "[", "[]", "[gankit.plugins.v1]", "[gankit.plugins.v2]", "[gankit.plugins.vv]")
    values += ("Name:", "Name: \x1b[2J", "Version: ", "Summary: " + "y" * 5_000)
    lines[random.randrange(len(lines))] = random.choice(values)
    path.write_text("\n".join(lines) + "\n", errors="surrogateescape" if "\ud800" not in lines else "surrogatepass")


def test_damaged_metadata(place, capsys):
    report([fault for seed in seeds(CASES) if (fault := use_damaged(seed, place, capsys))])


def use_damaged(seed: int, place: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is wrong with how a damaged distribution was treated, and a whole one beside it."""
    random = Random(seed)
    site = Site(place / f"site{seed}")
    site.path.mkdir()
    site.add("toy", GOOD)
    site.add("odd", GOOD)
    metadata = site.metadata("gankit-plugin-odd")
    failures = place / "cache" / "failures.json"
    noted = {f"{sys.prefix} variant odd": {"cause": "bad luck", "from": "gankit-plugin-odd 1.0 odd:Toy"}}
    failures.write_text(json.dumps(noted))
    targets = ["entry_points.txt"] * 4 + ["METADATA"] * 2 + ["odd.py"] * 3 + ["", "failures"]
    target = random.choice(targets)
    if target == "odd.py":
        path, damages = site.path / target, (other_attribute, other_attribute, *CONTENT, *PLACE)
    elif target == "failures":
        path, damages = failures, (*CONTENT, *PLACE, mutate_json, mutate_json, mutate_json)
    elif target:
        path, damages = metadata / target, (*CONTENT, *PLACE, *(other_line,) * 6)
    else:
        path, damages = metadata, PLACE
    damage: Damage = random.choice(damages)
    damage(path, random)
    importlib.invalidate_caches()
    sys.path.insert(0, str(site.path))
    try:
        with at_most(SECONDS):
            fault = use(random, capsys)
    except BaseException as error:
        fault = f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        sys.path.remove(str(site.path))
        for name in ("toy", "odd"):
            sys.modules.pop(name, None)
        shutil.rmtree(failures) if failures.is_dir() and not failures.is_symlink() else failures.unlink(missing_ok=True)
    return f"{seed}: {damage.__name__} of {target or 'the directory'}: {fault}" if fault else ""


def use(random: Random, capsys: pytest.CaptureFixture[str]) -> str:
    listings = ["list", "--json"], ["list", "--json"], ["list"], ["plugins", "list"], ["plugins", "list", "--json"]
    looks = ["plugins", "info", "odd"], ["run", "odd", "--dry-run"], ["plugins", "info", "odd-dots"]
    looks += ["plugins", "info", "toy"], ["run", "--help"]
    for arguments in (random.choice(listings), random.choice(looks)):
        capsys.readouterr()
        code = main(arguments)
        out, err = capsys.readouterr()
        if "set GANKIT_DEBUG=1" in err or "\x1b" in out + err or (code and "error: " not in err) or len(err) > 3_000:
            return f"{' '.join(arguments)}: {code}, {err[:400]!r}"
        if code not in (0, 1, 2, 3) or (code and "odd" not in arguments[-1] and "odd" not in arguments):
            claimed = "registers the same name" in err  # the damaged one has taken the name of the whole one
            if not (claimed and "toy" in arguments):
                return f"{' '.join(arguments)}: {code}, {err[:400]!r}"
        if err.count("warning:") > (arguments[0] != "run" and "list" in arguments):
            return f"{' '.join(arguments)} warns: {err[:400]!r}"
        if arguments == ["list", "--json"] and not {"toy", "toy-dots"} <= {
            entry["name"] for entries in json.loads(out).values() for entry in entries
        }:
            return f"the other plugin is not listed: {out[:400]}"
    return ""
