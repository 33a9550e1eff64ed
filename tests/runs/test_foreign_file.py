"""Files of weights that others wrote: what they hold is read, and nothing in them is executed."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gankit.errors import UsageError
from gankit.foreign import Renaming, WeightFile
from gankit.runs import foreign_file
from gankit.runs.foreign_file import digest, read_weights

STATE = OrderedDict(a=torch.arange(6.0).view(2, 3), b=torch.ones(2, dtype=torch.int64))


def of(path: Path, content: Any, **how: Any) -> Path:
    torch.save(content, path, **how)
    return path


def test_what_is_read(tmp_path: Path) -> None:
    files = [
        of(tmp_path / "zip.pth", STATE),
        of(tmp_path / "legacy.ckpt", STATE, _use_new_zipfile_serialization=False),
        of(tmp_path / "parallel.pth", {f"module.{key}": value for key, value in STATE.items()}),
        of(tmp_path / "wrapped.pth", {"state_dict": STATE, "epoch": 3}),
        of(tmp_path / "half.pth", {"a": STATE["a"].half(), "b": STATE["b"]}),
        of(tmp_path / "parameters.pth", {"a": nn.Parameter(STATE["a"]), "b": STATE["b"]}),
        of(
            tmp_path / "views.pth",
            {"a": torch.arange(6.0).view(3, 2).T.contiguous().copy_(STATE["a"]), "b": STATE["b"]},
        ),
    ]
    save_file(dict(STATE), tmp_path / "safe.safetensors")
    for path in [*files, tmp_path / "safe.safetensors"]:
        found = read_weights(path)
        assert found.name == path.name
        assert set(found.tensors) == {"a", "b"}
        for key, value in STATE.items():
            torch.testing.assert_close(found.tensors[key], value, rtol=0, atol=0)
            assert not found.tensors[key].requires_grad
    assert len(digest(files[0])) == 64


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def hostile(tmp_path: Path) -> list[Path]:
    """Files that would make a directory `ran`."""
    code, state = Hostile(tmp_path / "ran"), dict(STATE)
    files = [
        of(tmp_path / "value.pth", {**state, "c": code}),
        of(tmp_path / "whole.pth", code),
        of(tmp_path / "nested.pth", {"state_dict": state, "epoch": [code]}),
        of(tmp_path / "legacy.pth", {**state, "c": code}, _use_new_zipfile_serialization=False),
        of(tmp_path / "module.pth", nn.Linear(2, 2)),
    ]
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(code))
    (tmp_path / "named.safetensors").write_bytes(pickle.dumps(code))
    # by what torch lets pass: a tensor rebuilt by a function of the file's choice
    (tmp_path / "global.pth").write_bytes(b"\x80\x02cposix\nmkdir\nX\x03\x00\x00\x00ran\x85R.")
    return [*files, *(tmp_path / name for name in ("bare.pkl", "named.safetensors", "global.pth"))]


def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in hostile(tmp_path):
        with pytest.raises(UsageError) as raised:
            read_weights(path)
        text = str(raised.value)
        assert path.name in text
        assert len(text.splitlines()) == 1
        assert len(text) < 300 + len(str(path))
        if path.suffix == ".pth":
            assert re.search(r"it holds more than tensors \([\w.]+\), and that would have to be executed", text)
    assert not (tmp_path / "ran").exists()
    with open(tmp_path / "whole.pth", "rb") as file:  # what was kept from happening
        torch.load(file, weights_only=False)
    assert (tmp_path / "ran").is_dir()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.ones(2)], "holds a list, not tensors by name"),
        ({}, "holds nothing, not tensors by name"),
        ({"a": torch.ones(2), "lr": 0.1}, "holds 'lr', a float"),
        ({3: torch.ones(2)}, "holds 3, a int as a name"),
        ({"a": torch.ones(2).to_sparse()}, "holds 'a', a Tensor: it is no state dict of dense"),
        ({"a": torch.tensor([1.0, torch.nan])}, "'a' has values that are not finite"),
        ({"a": torch.ones(1).expand(100_000, 100_000)}, "it is no state dict"),
    ],
)
def test_what_is_no_state_dict(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_weights(of(tmp_path / "it.pth", content))


def test_what_is_no_file_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = of(tmp_path / "whole.pth", STATE).read_bytes()
    (tmp_path / "text.pth").write_text("these are no weights")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 20)
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "folder.pth").mkdir()
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    words = {"pipe": "it is a pipe", "folder": "it is a directory", "gone": "No such file", "bomb": "is packed as no"}
    for path in [*tmp_path.iterdir(), tmp_path / "gone.pth"]:
        if path.name != "whole.pth":
            with pytest.raises(UsageError, match=words.get(path.stem, "no file of|damaged")) as raised:
                read_weights(path)
            assert str(path) in str(raised.value)
    monkeypatch.setattr(foreign_file, "LARGEST", 100)
    with pytest.raises(UsageError, match="larger than weights are"):
        read_weights(tmp_path / "whole.pth")


def test_renaming_accounts_for_all() -> None:
    names = Renaming()
    names.layer("conv", "layers.0", "layers.1.bias")
    names.batch_norm("bn", "layers.2")
    names.instance_norm("in")
    one = torch.ones(1)
    bn = {f"bn.{name}": one for name in ("weight", "bias", "running_mean", "running_var")}
    state = {"conv.weight": one, "conv.bias": one, **bn, "in.running_mean": one}
    found = names.apply(WeightFile(name="f.pth", tensors=state))
    assert set(found) == {"layers.0.weight", "layers.1.bias", *(f"layers.2.{key[3:]}" for key in bn)}
    for changed, words in (({"x": one}, "has 'x'"), ({"conv.bias": None}, "lacks 'conv.bias'")):
        edited = {key: value for key, value in {**state, **changed}.items() if value is not None}
        with pytest.raises(UsageError, match=rf"f\.pth is not what its other tensors say: it {words}"):
            names.apply(WeightFile(name="f.pth", tensors=edited))
