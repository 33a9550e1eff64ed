"""Names that are no text, and a locale that knows ASCII alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from PIL import Image

from .conftest import GOOD

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")

BYTES = os.fsdecode(b"n\xff")
PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
WORDS = ("Traceback", "Error", "codec", "surrogate")


def command(site, *arguments, cwd, locale=None):
    """(exit code, stdout, stderr); the streams as bytes."""
    env = {**os.environ, "PYTHONPATH": f"{site.path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", **(locale or {})}
    code = "import sys; from gankit.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(os.fsencode, arguments)], env=env, cwd=cwd, capture_output=True, check=False
    )
    assert not any(word.encode() in done.stderr for word in WORDS), done.stderr
    return done.returncode, done.stdout, done.stderr


def images(folder):
    for kind in ("a", "b"):
        (folder / kind).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (16, 16), (60 * i, 0, 0)).save(folder / kind / f"{i}.png")


def test_bytes_that_are_no_text_are_refused_before_anything_is_written(gankit, toy, tmp_path):
    before = sorted(tmp_path.iterdir())
    for arguments in (("run", toy, "--out", BYTES), ("sample", BYTES), ("resume", BYTES), ("eval", BYTES)):
        outcome = gankit(*arguments)
        assert outcome.code == 2, outcome.err
        assert r"n\udcff" in outcome.err  # as an escape
        assert not any(word in outcome.err for word in WORDS)
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / BYTES).write_bytes(b'steps = 3\ndataset = "\xe9"\n')
    outcome = gankit("run", toy, "--config", BYTES)
    assert outcome.code == 2
    assert outcome.err == "error: config file n\\udcff is not UTF-8 text: line 2\n"


def test_pointers_that_are_no_text(gankit, run, tmp_path):
    for name in ("latest", "best"):
        (run / "checkpoints" / name).write_bytes(b"\xff\xfe\x00step")
    for arguments in (("sample", run), ("resume", run, "--steps", 8)):
        outcome = gankit(*arguments)
        assert outcome.code == 0, outcome.err


def test_a_data_root_that_is_no_text(site, tmp_path):
    images(tmp_path / BYTES)
    code, _, err = command(site, "run", "dcgan", "--dataset", "folder", "--data.root", BYTES, cwd=tmp_path)
    assert code == 2
    assert err.startswith(rb"error: data.root = 'n\udcff': the name is not UTF-8; rename it")
    assert not (tmp_path / "runs").exists()


def test_a_locale_of_ascii(site, tmp_path):
    site.add("toy", GOOD.replace('names=("dark", "light")', 'names=("dunkel", "grün")'))
    code, out, err = command(site, "run", "toy", "--out", "läufe", cwd=tmp_path, locale=PLAIN)
    assert code == 0, err
    assert (tmp_path / "läufe/toy-toy-dots/0001/config.toml").is_file()
    assert out.isascii()
    code, out, err = command(site, "sample", "läufe/toy-toy-dots", "--json", cwd=tmp_path, locale=PLAIN)
    assert code == 0, err
    assert rb"gr\u00fcn" in out
    images(tmp_path / "café")
    code, _, err = command(
        site, "run", "dcgan", "--dataset", "folder", "--data.root", "café", cwd=tmp_path, locale=PLAIN
    )
    assert code == 2
    assert b"LC_ALL=C.UTF-8" in err
