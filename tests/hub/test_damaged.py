"""A directory that is damaged, or made to do harm, is refused in a line, and nothing is written."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from shared_runs import made_run

import gankit
from gankit.errors import GankitError, PluginError, UsageError
from gankit.hub import files as hub_files


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    home = tmp_path_factory.mktemp("whole")
    made_run("cgan", home / "runs").export_directory(home / "shared", training=True)
    return home / "shared"


@pytest.fixture
def shared(whole, tmp_path):
    """With weights alone, as most are."""
    shutil.copytree(whole, tmp_path / "shared", ignore=shutil.ignore_patterns("checkpoint"))
    return tmp_path / "shared"


@pytest.fixture
def trained(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "shared")
    return tmp_path / "shared"


def rewrite(shared, change, **facts):
    """The weights, changed."""
    path = shared / "model.safetensors"
    with safe_open(path, "pt") as file:
        header = {**file.metadata(), **facts}
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    change(tensors)
    save_file(tensors, path, header)


def first(tensors):
    return next(name for name in tensors if name.startswith("generator.") and name.endswith("weight"))


def edit(shared, name, old, new):
    path = shared / name
    text = path.read_text()
    assert re.search(old, text)
    path.write_text(re.sub(old, new, text, count=1))


def nan(tensors):
    tensors[first(tensors)][0] = float("nan")


def narrow(tensors):
    name = first(tensors)
    tensors[name] = tensors[name][1:].clone()


def half(tensors):
    tensors[first(tensors)] = tensors[first(tensors)].half()


def no_discriminator(tensors):
    for name in [name for name in tensors if name.startswith("discriminator.")]:
        del tensors[name]


def giant_header(shared):
    path = shared / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[:8] = (1 << 40).to_bytes(8, "little")
    path.write_bytes(content)


def link_out(shared):
    secret = shared.parent / "secret"
    secret.write_text('{"token": "abc"}')
    (shared / "environment.json").unlink()
    (shared / "environment.json").symlink_to(secret)


def deep(shared):
    (shared / "evaluation.json").write_text("[" * 100_000)


def pipe(shared):
    (shared / "log.jsonl").unlink(missing_ok=True)
    os.mkfifo(shared / "log.jsonl")


def large(shared):
    with (shared / "config.toml").open("ab") as file:
        file.truncate(2 << 20)


HARM = {
    "no weights": (lambda shared: (shared / "model.safetensors").unlink(), "it has no model.safetensors"),
    "no options": (lambda shared: (shared / "config.toml").unlink(), "it has no config.toml"),
    "no spec": (lambda shared: (shared / "spec.json").unlink(), "it has no spec.json"),
    "half a file": (lambda s: os.truncate(s / "model.safetensors", 5000), "model.safetensors cannot be read"),
    "another's weights": (
        lambda s: save_file({"a": torch.ones(1)}, s / "model.safetensors"),
        "is no export of gankit: its header has no",
    ),
    "giant header": (giant_header, "is damaged: its header would have 1024 GiB"),
    "NaN": (lambda s: rewrite(s, nan), r"model.safetensors: generator\.[\w.]+ is not finite"),
    "other shapes": (lambda s: rewrite(s, narrow), r"the weights do not fit network 'generator': .* is \("),
    "other kind": (lambda s: rewrite(s, half), "is of torch.float16, not torch.float32"),
    "no discriminator": (lambda s: rewrite(s, no_discriminator), "do not fit network 'discriminator': there is no"),
    "one more": (lambda s: rewrite(s, lambda t: t.update(x=torch.ones(1))), "there are weights of 'x'"),
    "no step": (lambda s: rewrite(s, dict, step="-1"), "does not say at which step it is: its header has -1"),
    "a step of text": (lambda s: rewrite(s, dict, step='"x"'), "does not say at which step"),
    "header too deep": (lambda s: rewrite(s, dict, spec="[" * 100_000), "cannot be read"),
    "other variant": (lambda s: rewrite(s, dict, variant="dcgan"), "is of 'dcgan', and .*config.toml of 'cgan'"),
    "giant networks": (
        lambda s: edit(s, "config.toml", r"hidden = \d+", "hidden = 4096"),
        "the weights do not fit network",
    ),
    "giant images": (
        lambda s: edit(s, "spec.json", r"(?s)\[\s*1,\s*32,\s*32\s*\]", "[3, 16000000, 16000000]"),
        "'image' would have 768,000,000,000,000 values a sample",
    ),
    "no toml": (lambda s: (s / "config.toml").write_text("variant = "), "is not TOML"),
    "no option": (lambda s: edit(s, "config.toml", "hidden =", "hiden ="), "hiden"),
    "no names": (lambda s: edit(s, "config.toml", 'variant = "cgan"', ""), "config.toml does not say `variant`"),
    "a link": (link_out, "environment.json is a link out of"),
    "a pipe": (pipe, "log.jsonl is a pipe, not a file"),
    "too deep": (deep, "evaluation.json is damaged: it is nested too deeply"),
    "too large": (large, "config.toml has 2 MiB; at most 1 MiB are read"),
}


@pytest.mark.parametrize("what", HARM)
def test_what_is_wrong_is_refused(what, shared, tmp_path):
    harm, words = HARM[what]
    harm(shared)
    with pytest.raises(UsageError, match=words) as refused:
        gankit.import_run(shared, out=tmp_path / "runs")
    assert len(str(refused.value).splitlines()) <= 2
    assert not (tmp_path / "runs").exists()


def test_no_memory_is_taken_for_networks_that_do_not_fit(shared, tmp_path, monkeypatch):
    edit(shared, "config.toml", r"hidden = \d+", "hidden = 4096")
    monkeypatch.setattr("gankit.hub.reading.Session", None)
    with pytest.raises(UsageError, match="do not fit network 'generator'"):
        gankit.import_run(shared, out=tmp_path / "runs")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("state.json", "state.json was altered"),
        ("weights.safetensors", "truncated or altered"),
        ("optimizers.safetensors", "truncated or altered"),
    ],
)
def test_an_altered_checkpoint(file, words, trained, tmp_path):
    path = trained / "checkpoint" / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if file == "state.json":
        content = path.read_bytes().replace(b'"step": 7', b'"step": 8', 1)
    path.write_bytes(content)
    with pytest.raises(GankitError, match=words):
        gankit.import_run(trained, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_plugin_that_is_not_here(shared, tmp_path):
    edit(shared, "config.toml", 'variant = "cgan"', 'variant = "newest"')
    for said, words in (
        ({"gankit-plugin-newest": "1.0"}, "try: pip install gankit-plugin-newest  "),
        ({"newest; rm -rf x": "1.0"}, "it does not say which does"),
        ("nonsense", "it does not say which does"),
    ):
        (shared / "environment.json").write_text(json.dumps({"plugins": said}))
        with pytest.raises(PluginError, match=r"of the variant 'newest', which no installed plugin brings") as refused:
            gankit.import_run(shared, out=tmp_path / "runs")
        assert words in str(refused.value)


def test_facts_that_are_none_are_left_out(shared, tmp_path):
    (shared / "environment.json").write_text(json.dumps({"torch": "2.0", "init": {"run": 3}, "x": ["a"]}))
    run = gankit.import_run(shared, out=tmp_path / "runs")
    kept = json.loads((run.path / "environment.json").read_text())
    assert kept.keys() == {"torch", "imported"}
    assert run.report().exists()


def test_nothing_else_is_read(shared, tmp_path):
    (shared / "setup.py").write_text("raise SystemExit")
    (shared / "weights.pkl").write_bytes(b"\x80")
    run = gankit.import_run(shared, out=tmp_path / "runs")
    assert {path.name for path in run.path.iterdir()} <= {*hub_files.LIMITS, "checkpoints", "samples"}
