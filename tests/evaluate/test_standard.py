"""FID and its kin are those of torch-fidelity's own command line, of the same images; without it, a sentence."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
from evaluation_toys import Constant, Free, parts
from PIL import Image
from torch import Tensor

from gankit.data.images import to_uint8
from gankit.errors import UsageError
from gankit.evaluate import Standard, evaluate, standard
from gankit.sampling.draw import draw

try:
    import torch_fidelity
except (ImportError, RuntimeError):  # a torchvision for another torch
    torch_fidelity = None
needs_library = pytest.mark.skipif(torch_fidelity is None, reason="torch-fidelity does not work with this torch")
ALL = ["fid", "kid", "inception_score", "inception_precision_recall"]


@pytest.fixture(scope="module")
def small():
    """A network of a few weights, in the place of Inception, under the name by which the library knows it."""
    from torch_fidelity import register_feature_extractor
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Small(FeatureExtractorBase):
        def __init__(self, name, features_list, **_):
            super().__init__(name, features_list)
            generator = torch.Generator().manual_seed(0)
            self.register_buffer("first", torch.randn(48, 12, generator=generator))
            self.register_buffer("second", torch.randn(12, 5, generator=generator))

        @staticmethod
        def get_provided_features_list():
            return "features", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled():
            return False

        def forward(self, images: Tensor):
            assert images.dtype == torch.uint8
            assert images.shape[1] == 3
            seen = torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 4).flatten(1)
            features = (seen @ self.first).tanh()
            made = {"features": features, "logits": features @ self.second}
            return tuple(made[name] for name in self.features_list)

    register_feature_extractor("small", Small)
    return "small"


def folder(path: Path, images: Tensor) -> Path:
    path.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).numpy()).save(path / f"{number:05d}.png")
    return path


@needs_library
@pytest.mark.parametrize("split", ["train", "test"])
def test_as_the_library_says_of_the_same_folders(split, small, tmp_path, monkeypatch, capsys) -> None:
    from torch_fidelity import fidelity

    variant, networks, spec, train, test = parts(Free())
    how = Standard(split=split, extractor=small)
    found = evaluate(variant, networks, spec, train, test, n=60, seed=2, metrics=ALL, standard=how)
    drawn = draw(variant, networks, spec, {}, 60, seed=2, device=torch.device("cpu"))
    samples = folder(tmp_path / "samples", to_uint8(drawn))
    real = folder(tmp_path / "real", (train if split == "train" else test).images)
    size = str(min(60, len(list(real.iterdir()))))
    arguments = ["--fid", "--kid", "--isc", "--prc", "--input1", str(samples), "--input2", str(real), "--json"]
    arguments += ["--feature-extractor", small, "--kid-subset-size", size, "--no-cache", "--silent"]
    monkeypatch.setattr(sys, "argv", ["fidelity", *arguments])
    fidelity.main()
    theirs = json.loads(capsys.readouterr().out)
    ours = {standard._FIGURES[name]: value for name, value in found["metrics"].items()}
    assert ours == {name: pytest.approx(theirs[name], rel=1e-9) for name in ours}
    assert len(ours) == 6
    told = found["protocol"]["standard"]
    assert (told["samples"], told["real_images"], told["split"]) == (60, len(list(real.iterdir())), split)
    assert "of as many" in found["notes"][-1]
    assert found["judge"] is None  # which takes minutes, and was not asked for


@needs_library
def test_beside_others_and_by_clean_resizing(small) -> None:
    how = Standard(resizing="clean", extractor=small)
    found = evaluate(*parts(Free()), n=20, metrics=["fid", "swd"], standard=how)
    assert {"fid", "swd"} <= found["metrics"].keys()
    assert found["protocol"]["standard"]["resizing"] == "clean"
    assert found["protocol"]["image_shape"] == [1, 16, 16]


@needs_library
def test_grey_squares_are_further_from_shapes_than_shapes_are(small) -> None:
    shapes, squares = (
        evaluate(*parts(variant), n=60, metrics=["fid"], standard=Standard(extractor=small))["metrics"]["fid"]
        for variant in (Free(), Constant())
    )
    assert 10 * shapes < squares


@needs_library
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_can_be_seen_is_coloured(channels) -> None:
    images = torch.rand(2, channels, 5, 7) * 2 - 1
    seen = standard.coloured(images)
    assert seen.shape == (2, 3, 5, 7)
    if channels < 4:
        assert torch.equal(seen, images.expand(-1, 3, -1, -1))
    with pytest.raises(UsageError, match="these have 2 channels"):
        standard.coloured(torch.zeros(1, 2, 4, 4))


def measured(**how: object) -> dict:
    return evaluate(*parts(Free()), n=20, metrics=["fid"], standard=Standard(**how))


def test_without_the_library(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(UsageError, match=r"pip install 'gankit\[fid\]'"):
        measured()


class Hostile:
    def __reduce__(self):
        return exec, ("open('ran', 'w').close()",)


@needs_library
def test_weights_that_hold_more_than_weights(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weights.pth").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(UsageError, match=r"weights.pth does not hold weights and nothing else"):
        measured(weights=Path("weights.pth"))
    with pytest.raises(UsageError, match="there is no such file"):
        measured(weights=Path("others.pth"))
    assert not Path("ran").exists()


@needs_library
def test_without_weights_and_without_a_network(tmp_path, monkeypatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("there is no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)
    with pytest.raises(UsageError, match=r"cannot be downloaded \(there is no network\). Give a file of them"):
        measured()


@needs_library
def test_what_is_not_finite_is_told(small) -> None:
    found = evaluate(*parts(Constant(float("nan"))), n=20, metrics=["fid"], standard=Standard(extractor=small))
    assert "20 of 20 samples hold NaN" in found["notes"][0]


@needs_library
def test_a_full_disk_is_told(small, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UsageError, match=r"no room for .* of images in .*: No space left on device. Set TMPDIR"):
        measured(extractor=small)


@needs_library
def test_too_few_samples() -> None:
    with pytest.raises(UsageError, match=r"n is 5: .* at least 10"):
        evaluate(*parts(Free()), n=5, metrics=["fid"])
    given = parts(Free())
    with pytest.raises(UsageError, match="no held-out split"):
        evaluate(*given[:4], None, n=20, metrics=["fid"], standard=Standard(split="test"))
