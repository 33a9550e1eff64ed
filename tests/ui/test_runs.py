"""Which runs there are, and where each stands."""

from __future__ import annotations

import json
import os

import pytest

from gankit.errors import UsageError
from gankit.runs.directory import RunDir
from gankit.ui.runs import Runs
from gankit.ui.watch import panel


def make(root, home="toy-dots", number="0001", steps=10, rows=()):
    path = root / home / number
    (path / "checkpoints").mkdir(parents=True)
    (path / "samples").mkdir()
    (path / "config.toml").write_text(f'variant = "toy"\ndataset = "dots"\nsteps = {steps}\n')
    (path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_runs_are_found_from_above_from_their_home_and_by_themselves(tmp_path):
    path = make(tmp_path)
    make(tmp_path, number="0002")
    assert {one.name for one in Runs(tmp_path).all()} == {"toy-dots/0001", "toy-dots/0002"}
    assert {one.name for one in Runs(tmp_path / "toy-dots").all()} == {"0001", "0002"}
    (alone,) = Runs(path).all()
    assert Runs(path).open(alone.name).path == path.resolve()
    assert alone.label == "toy on dots, 0001: stopped at step 0 of 10"


def test_the_one_touched_last_comes_first(tmp_path):
    for age, number in enumerate(("0001", "0002", "0003")):
        os.utime(make(tmp_path, number=number) / "log.jsonl", (1000 - age, 1000 - age))
    assert [one.path.name for one in Runs(tmp_path).all()] == ["0001", "0002", "0003"]


@pytest.mark.parametrize(
    "name",
    [
        *("../outside/0001", "/etc", "/etc/passwd", "toy-dots", "toy-dots/../toy-dots/0001", "toy-dots/0001/"),
        *("", None, 7, ["toy-dots/0001"], {"path": "x"}, "toy-dots/0001\0", "~/x"),
    ],
)
def test_only_a_run_that_is_listed_is_opened(tmp_path, name):
    root = tmp_path / "runs"
    make(root)
    make(tmp_path, home="outside")
    with pytest.raises(UsageError, match=r"there is no run .* here"):
        Runs(root).open(name)


def test_a_link_that_leads_out_of_the_runs_is_no_run(tmp_path):
    root = tmp_path / "runs"
    inside, outside = make(root), make(tmp_path / "elsewhere")
    (root / "toy-dots" / "0002").symlink_to(outside)
    (root / "linked-home").symlink_to(outside.parent)
    third = make(root, number="0003")
    (third / "config.toml").unlink()
    (third / "config.toml").symlink_to(outside / "config.toml")
    (root / "toy-dots" / "0004").symlink_to(inside)  # within: the same run by another name
    assert {one.name for one in Runs(root).all()} == {"toy-dots/0001", "toy-dots/0004"}


def test_a_picture_that_is_a_link_out_of_the_runs_is_not_shown(tmp_path, made):
    picture = next((made.painter / "samples").glob("*.png"))
    path = make(tmp_path / "runs")
    (path / "samples" / "000001.png").symlink_to(picture)
    runs = Runs(tmp_path / "runs")
    text = panel(runs, runs.all()[0])
    assert "leads out of the runs" in text
    assert "data:image" not in text


def test_where_a_run_stands_is_read_from_the_end_of_its_log(tmp_path):
    rows = [{"step": step, "a/loss": 1 / step, "seconds": 2.0 * step} for step in range(1, 6)]
    path = make(tmp_path, rows=[*rows[:3], {"step": 3, "metrics": {"score": 0.5, "odd": "no"}}, *rows[3:]])
    with (path / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "a/lo')  # being written
    runs = Runs(tmp_path)
    (one,) = runs.all()
    assert (one.step, one.steps, one.training, one.metrics) == (5, 10, False, {"score": 0.5})
    assert one.values == {"a/loss": 0.2}
    assert one.seconds_left is None
    with RunDir(path).lock():
        (one,) = runs.all()
        assert one.training
        assert one.seconds_left == pytest.approx(10)
        assert one.label == "toy on dots, 0001: training"
        assert "<dt>Time left</dt><dd>10 s</dd>" in panel(runs, one)
    assert not runs.all()[0].training


@pytest.mark.parametrize(
    "log",
    [
        *(
            b"",
            b"\xff\xfe",
            b"[1]\n",
            b'{"step": "x"}\n',
            b'{"step": true}\n',
            b'{"step": -1}\n',
            b"[" * 100_000 + b"\n",
        ),
        b'{"step": 1, "seconds": "soon", "a/b": [], "metrics": {"x": 1e999}}\n',
        b'{"step": 1' + b"0" * 400 + b"}\n",
    ],
)
def test_a_damaged_log_stops_nobody(tmp_path, log):
    path = make(tmp_path)
    (path / "log.jsonl").write_bytes(log)
    runs = Runs(tmp_path)
    with RunDir(path).lock():
        assert "<progress" in panel(runs, runs.all()[0])


@pytest.mark.parametrize("config", ["", "steps = -4", "steps = 'x'", "nonsense [", 'variant = "<script>"\nsteps = 1'])
def test_a_damaged_config_stops_nobody_and_is_no_markup(tmp_path, config):
    path = make(tmp_path, home="<b>x-y", rows=[{"step": 1, "a/<i>": 1.0, "seconds": 1}])
    (path / "config.toml").write_text(config)
    runs = Runs(tmp_path)
    (one,) = runs.all()
    text = panel(runs, one)
    assert "<b>" not in text
    assert "<i>" not in text
    assert one.step == 1


def test_what_is_no_picture_is_said(tmp_path):
    path = make(tmp_path)
    (path / "samples" / "000001.png").write_bytes(b"no picture")
    runs = Runs(tmp_path)
    assert "cannot be shown" in panel(runs, runs.all()[0])
