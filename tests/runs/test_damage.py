"""Whatever has happened to the files of a run, what comes of it is right, or a sentence."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny

import gankit
from gankit.errors import GankitError

TEXTS = ("config.toml", "spec.json", "environment.json", "log.jsonl", "checkpoints/latest", "checkpoints/best")
WORDS = ["null", "true", "-1", "0", "1e400", "9" * 5000, '"x"', "[]", "{}", "[1, 2]", '"\\ud800"', "nan", "none", "''"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with a best checkpoint, never changed."""
    out = tmp_path_factory.mktemp("whole")
    options = {**SMALL, "steps": 4, "checkpoint_every": 2, "log_every": 2, "sample_every": 0}
    run = gankit.train(Tiny, Blobs(BlobsConfig()), out=out, **options)
    (run.path / "checkpoints" / "best").write_text("step-000002\n")
    return run.path


def mutate(data: bytes, random: random.Random) -> bytes:
    """`data` with something done to it that a disk, an editor or a script may do."""
    text = data.decode()
    kind = random.randrange(8)
    if kind == 0:  # cut
        return data[: random.randrange(len(data) + 1)]
    if kind == 1:  # bytes flipped
        changed = bytearray(data or b"0")
        for _ in range(random.randint(1, 4)):
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
        return bytes(changed)
    if kind == 2:  # a value put for another
        parts = text.replace(",", " , ").split(" ")
        parts[random.randrange(len(parts))] = random.choice(WORDS)
        return " ".join(parts).encode("utf-8", "surrogatepass")
    lines = text.splitlines(keepends=True) or [""]
    at = random.randrange(len(lines))
    if kind == 3:  # a line lost
        del lines[at]
    elif kind == 4:  # a line twice
        lines.insert(at, lines[at])
    elif kind == 5:  # what stands behind the sign of a line
        head, sign, _ = lines[at].partition("=" if "=" in lines[at] else ":")
        lines[at] = f"{head}{sign} {random.choice(WORDS)}\n"
    elif kind == 6:  # deep
        depth = 10 ** random.randint(1, 5)
        return b"[" * depth if random.random() < 0.5 else b'{"keys":' * depth
    else:  # zeros, as a file system leaves after a crash
        return bytes(len(data))
    return "".join(lines).encode()


def use(path: Path) -> None:
    """All that is done with a run; GankitError is the one thing that may come of damage."""
    for act in (
        lambda run: run.sample(2),
        lambda run: run.metrics,
        lambda run: run.resume(5),
    ):
        try:
            act(gankit.open_run(path, Tiny, Blobs))
        except GankitError as error:
            text = str(error)
            assert text
            assert "Traceback" not in text
            assert len(text) < 1500


@pytest.mark.parametrize("name", TEXTS)
def test_files_that_were_changed(whole, tmp_path, name):
    for seed in range(12):
        path = tmp_path / f"{seed:04d}"
        shutil.copytree(whole, path)
        file = path / name
        file.write_bytes(mutate(file.read_bytes(), random.Random(f"{name} {seed}")))
        try:
            use(path)
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}: {file.read_bytes()[:300]!r}") from error


def remove(file):
    file.unlink()


def directory(file):
    file.unlink()
    file.mkdir()


def pipe(file):
    file.unlink()
    os.mkfifo(file)


def link(file):
    file.unlink()
    file.symlink_to(file)


def binary(file):
    file.write_bytes(bytes(range(256)))


@pytest.mark.parametrize("harm", [remove, directory, pipe, link, binary])
@pytest.mark.parametrize("name", TEXTS)
def test_files_that_are_none(whole, tmp_path, name, harm):
    path = tmp_path / "0001"
    shutil.copytree(whole, path)
    harm(path / name)
    use(path)


def test_a_damaged_pointer_to_the_best_is_read_out_of_the_newest_checkpoint(tmp_path):
    class Judged(Tiny):
        metric = "accuracy"

    options = {**SMALL, "steps": 6, "checkpoint_every": 3, "eval_every": 3, "eval_n": 4, "sample_every": 0}
    run = gankit.train(Judged, Blobs(BlobsConfig(count=60)), out=tmp_path, **options)
    best = run.directory.best
    assert best is not None
    for text in ("step-999999", "\0\0", ""):
        (run.path / "checkpoints" / "best").write_text(text)
        assert run.directory.best == best
        assert run.sample(2).checkpoint == best


@pytest.mark.parametrize("path", ["a" * 5000, "~nobody-of-that-name/runs", "a\0b", "config.toml"])
def test_what_is_no_run_is_named(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(GankitError, match=r"(no run at|cannot be opened|is not a run)"):
        gankit.open_run(path)
