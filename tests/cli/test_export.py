"""`gankit export`, as it is typed."""

from __future__ import annotations


def test_export(gankit, run, tmp_path):
    outcome = gankit("export", run, "toy.pt2")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["input", "type", "shape"]
    assert lines[1].split() == ["noise", "float32", "batch", "x", "4", "standard", "normal"]
    assert lines[2].split()[:4] == ["label", "int64", "batch", "dark,"]
    assert lines[3].startswith("largest difference from torch: ")
    assert lines[4].startswith("toy.pt2: ")
    assert lines[4].endswith(" MB, gives images")

    outcome = gankit("export", run, "toy.pt2")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error: toy.pt2 exists already. Give another name, or --overwrite.\n"

    outcome = gankit("export", run, "toy.safetensors", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.data["difference"] == 0
    assert outcome.data["checkpoint"].startswith("step-")
    assert [one["name"] for one in outcome.data["inputs"]] == ["noise", "label"]
    assert {"what", "n", "sides", "difference"} <= outcome.data["compared"][0].keys()


def test_a_directory_and_back(gankit, run, tmp_path):
    outcome = gankit("export", run, "shared", "--license", "mit")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[1:] == [
        "look at it before others do: shared/README.md and shared/sheet.png",
        "a run of it: gankit import shared",
        "to the Hub:  hf upload ORG/NAME shared",
    ]
    again = gankit("import", "shared", "--out", "others", "--json")
    assert again.code == 0, again.err
    assert "note: It stands at step" in again.err
    one, other = (
        gankit("sample", place, "--out", f"{i}.npy", "--n", "4") for i, place in enumerate((run, again.data["run"]))
    )
    assert (one.code, other.code) == (0, 0), other.err
    assert (tmp_path / "0.npy").read_bytes() == (tmp_path / "1.npy").read_bytes()
    outcome = gankit("export", run, "shared", "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error: shared is not empty. Give another name, or --overwrite.\n"
    outcome = gankit("export", run, "toy.v1/", "--json")
    assert outcome.data["files"][0] == "README.md"
    assert (tmp_path / "toy.v1").is_dir()
    assert gankit("import", "shared", "--nosuch", "3").code == 2


WRONG = {
    ("shared", "--size", "8x8"): "--size is for a file, and shared is none",
    ("toy.onnx", "--license", "mit"): "--license is for a directory, and toy.onnx is none",
    ("toy.pth",): "toy.pth: name a file that ends in .onnx, .pt2 or .safetensors; "
    "of a directory's name (toy.pth/) the end is free.",
    ("toy.onnx", "--size", "8"): "--size 8: must be HxW, as 256x256",
    ("toy.onnx", "--tolerance", "0"): "--tolerance 0: must be above 0",
    ("no/toy.pt2",): "there is no directory no.",
    ("toy.pt2", "--method", "encode"): "Toy cannot encode: it does not encode images.",
    ("toy.pt2", "--to", "elephant"): "Toy cannot draw 'elephant': it draws image.",
}


def test_wrong_usage(gankit, run):
    for arguments, says in WRONG.items():
        outcome = gankit("export", run, *arguments)
        assert outcome.code == 2
        assert outcome.err == f"error: {says}\n"
