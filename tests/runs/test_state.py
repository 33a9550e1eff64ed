"""Checkpoints whose ``state.json`` was changed and signed again: each mutation ends in one sentence, or in nothing."""

from __future__ import annotations

import copy
import json
import os
import stat
from typing import Any

import pytest
import torch
from checkpoint_helpers import content
from safetensors.torch import load_file, save_file
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny

import gankit
from gankit.errors import GankitError
from gankit.runs import checkpoint, tensor_folder
from gankit.runs.checkpoint import DamagedCheckpoint

NONSENSE: dict[str, Any] = {
    "null": None,
    "text": "x",
    "negative": -1,
    "huge": 10**400,
    "fraction": 0.5,
    "list": [[]],
    "object": {"a": {}},
    "true": True,
    "nan": float("nan"),
    "deep": json.loads("[" * 300 + "]" * 300),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    options = {**SMALL, "steps": 6, "sample_every": 0, "checkpoint_every": 3}
    return gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path_factory.mktemp("run"), **options)


@pytest.fixture
def run(trained, tmp_path):
    import shutil

    shutil.copytree(trained.path, tmp_path / "run")
    for name in ("step-000000", "step-000003"):
        shutil.rmtree(tmp_path / "run" / "checkpoints" / name, ignore_errors=True)
    return gankit.open_run(tmp_path / "run", Tiny, Blobs)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a nested one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def sign(folder, state: dict[str, Any]) -> None:
    state = {key: value for key, value in state.items() if key != "digest"}
    signed = {"digest": tensor_folder._json_digest(state), **state}
    (folder / "state.json").write_text(json.dumps(signed))


def mutations(state: dict[str, Any]):
    for place in places(state):
        if not place or place[0] in ("format", "digest", "config"):
            continue
        for name, value in [*NONSENSE.items(), ("gone", None)]:
            changed = copy.deepcopy(state)
            holder = changed
            for key in place[:-1]:
                holder = holder[key]
            if name == "gone":
                if isinstance(holder, list):
                    continue
                del holder[place[-1]]
            else:
                holder[place[-1]] = value
            yield ".".join(map(str, place)) + " " + name, changed


def test_no_nonsense_in_the_state_ends_in_a_bare_error(run):
    """Resumes for more steps, which uses all of it."""
    from gankit.training.ready import make_ready
    from gankit.training.session import Session

    folder = run.directory.store / "step-000006"
    state = json.loads((folder / "state.json").read_text())
    ready = make_ready(Tiny, run._source, run.config)
    refused: dict[str, str] = {}
    accepted = 0
    for name, changed in mutations(state):
        sign(folder, changed)
        session: Session = ready.session
        try:
            session.restore(checkpoint.read(folder))
            accepted += 1
        except GankitError as error:
            refused[name] = str(error)
        except Exception as error:
            pytest.fail(f"{name}: {type(error).__name__}: {error}")
    ready.session.close()
    assert [name for name, text in refused.items() if str(folder) not in text or text.count("\n") > 1] == []
    assert len(refused) > 200
    assert accepted > 20  # a version, a time: another value is as good


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"digest": 1}', "[" * 100_000, "\x00", '{"a": 1' + "0" * 5000 + "}"]
)
def test_what_is_no_state_at_all_is_called_that(run, text):
    path = run.directory.store / "step-000006" / "state.json"
    path.write_text(text)
    with pytest.raises(DamagedCheckpoint, match="truncated or not a checkpoint's state") as caught:
        checkpoint.read_state(path.parent)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("part", ["weights", "ema", "optimizers"])
@pytest.mark.parametrize("how", ["shape", "dtype", "gone", "more", "nan", "none at all"])
def test_tensors_that_do_not_fit_are_named(run, part, how):
    folder = run.directory.store / "step-000006"
    path = folder / f"{part}.safetensors"
    tensors = load_file(path)
    name = next(key for key, value in tensors.items() if value.dim() > 1)
    value = tensors.pop(name)
    changed = {
        "shape": {name: value[:1, :1].contiguous()},
        "dtype": {name: value.to(torch.complex64)},
        "gone": {},
        "more": {name: value, "intruder.weight": value.clone()},
        "nan": {name: torch.full_like(value, float("nan"))},
    }
    save_file({} if how == "none at all" else {**tensors, **changed[how]}, path)
    state = json.loads((folder / "state.json").read_text())
    state["files"][path.name] = tensor_folder.digest_of(path)
    sign(folder, state)
    try:
        run.resume(steps=8)
        text = None
    except GankitError as error:
        text = str(error)
    if (part, how) == ("optimizers", "none at all"):
        assert text is None  # they have not stepped yet, then
    else:
        assert text is not None
        assert str(folder) in text


def test_a_state_that_names_other_files_is_refused(run):
    folder = run.directory.store / "step-000006"
    state = json.loads((folder / "state.json").read_text())
    for files in ({}, {"../../config.toml": "0"}, {"ema.safetensors": "0"}):
        sign(folder, {**state, "files": files})
        with pytest.raises(DamagedCheckpoint, match=r"state\.json"):
            checkpoint.read(folder)


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_all_files_of_a_checkpoint_are_as_open_as_the_umask_says(tmp_path, mask):
    before = os.umask(mask)
    try:
        checkpoint.write(tmp_path / "c", content())
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "c").iterdir()}
    assert modes == dict.fromkeys(("weights.safetensors", "state.json"), 0o666 & ~mask)
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o777 & ~mask


@pytest.mark.parametrize("part", ["weights", "ema"])
def test_nobody_draws_from_weights_that_are_not_finite(run, part):
    folder = run.directory.store / "step-000006"
    path = folder / f"{part}.safetensors"
    tensors = load_file(path)
    name = next(key for key in tensors if key.endswith(".weight"))
    save_file({**tensors, name: tensors[name] * float("nan")}, path)
    state = json.loads((folder / "state.json").read_text())
    sign(folder, {**state, "files": {**state["files"], path.name: tensor_folder.digest_of(path)}})
    with pytest.raises(GankitError, match=f"step-000006: {name} is not finite. Give another --checkpoint"):
        run.sample(2)


def _changed(run, change) -> None:
    """Changes the newest checkpoint's state, and signs it again."""
    folder = run.directory.store / run.directory.latest
    state = json.loads((folder / "state.json").read_text())
    change(state["parts"])
    sign(folder, state)


@pytest.mark.parametrize("row", [[1.0], [1.0, 0], [1.0, None], ["1", 2], [1.0, 2, 3], "12", [True, 1], [1.0, 1.5], 3])
def test_a_sum_that_is_none_is_refused(run, row):
    _changed(run, lambda parts: parts["meter"].update({"generator/adversarial": row}))
    with pytest.raises(GankitError, match="its meter cannot be used"):
        run.resume(steps=8)


def test_a_sum_that_was_not_finite_is_none(run):
    _changed(run, lambda parts: parts["meter"].update({"generator/adversarial": [None, 2]}))
    assert run.resume(steps=8).steps == 8


@pytest.mark.parametrize("name", ["run", "cpu"])
def test_a_random_state_that_was_cut_is_refused(run, name):
    """It is not taken for another kind of device's."""
    _changed(run, lambda parts: parts["random"].update({name: parts["random"][name][:64]}))
    with pytest.raises(GankitError, match="its random cannot be used"):
        run.resume(steps=8)


def test_a_buffer_that_is_not_finite_is_refused(run):
    folder = run.directory.store / run.directory.latest
    saved = checkpoint.read(folder)
    saved.tensors["weights"]["generator.2.running_var"].fill_(float("nan"))
    saved.state = {key: value for key, value in saved.state.items() if key not in ("format", "files")}
    checkpoint.write(folder, saved)
    with pytest.raises(GankitError, match=r"generator\.2\.running_var is not finite"):
        run.resume(steps=8)
