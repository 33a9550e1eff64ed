"""LPIPS is torch-fidelity's own, of the images that belong together; without it, or its weights, a sentence."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
import torch
from evaluation_toys import Changer, Constant, Free, Painter, Reader, Shapes, Translator, parts, sides
from torch import Tensor

from gankit.data.images import to_uint8
from gankit.errors import UsageError
from gankit.evaluate import Standard, evaluate
from gankit.plugin import DataSpec, Key
from gankit.sampling.conditions import conditions
from gankit.sampling.draw import draw

try:
    import torch_fidelity
except (ImportError, RuntimeError):  # a torchvision for another torch
    torch_fidelity = None
needs_library = pytest.mark.skipif(torch_fidelity is None, reason="torch-fidelity does not work with this torch")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Both files, of random weights: VGG16's without the layers that LPIPS leaves out, which are nine tenths of it."""
    import torchvision
    from torch_fidelity import sample_similarity_lpips as theirs

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network = torchvision.models.vgg16().features
    torch.save({f"features.{key}": value for key, value in network.state_dict().items()}, folder / "vgg16-397923af.pth")
    channels = (64, 128, 256, 512, 512)
    lins = {f"lin{i}.model.1.weight": torch.rand(1, count, 1, 1) for i, count in enumerate(channels)}
    torch.save(lins, folder / theirs.URL_VGG16_LPIPS.rpartition("/")[2])
    return folder


@pytest.fixture
def small(weights, monkeypatch):
    """The library loads VGG16 without those layers, from where torch keeps its files."""
    import torchvision
    from torch_fidelity import sample_similarity_lpips as theirs

    def load(**_):
        network = torchvision.models.vgg16()
        state = torch.load(Path(torch.hub.get_dir()) / "checkpoints" / "vgg16-397923af.pth", weights_only=True)
        network.load_state_dict(state, strict=False)
        return network

    monkeypatch.setattr(theirs, "torchvision_load_pretrained_vgg16", load)
    return Standard(weights=weights)


@pytest.fixture
def network(small, tmp_path, monkeypatch):
    """The library's own class, as anybody makes it, images of 16x16 brought to 64."""
    from torch_fidelity.sample_similarity_lpips import SampleSimilarityLPIPS

    before = torch.hub.get_dir()
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "checkpoints").symlink_to(small.weights)
    torch.hub.set_dir(tmp_path / "hub")
    yield SampleSimilarityLPIPS("x", sample_similarity_resize=64)
    torch.hub.set_dir(before)


class Pairs(Shapes):
    """With each image its negative, which is what a translation should make of it."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec(keys={"a": Key(kind="image", shape=(1, 16, 16)), "b": Key(kind="image", shape=(1, 16, 16))})

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        return {"a": self.images[indices], "b": 255 - self.images[indices]}


class Paired(Translator):
    produces = ("b",)


class Grey(Paired):
    def translated(self, images: Tensor) -> Tensor:
        return torch.zeros_like(images)


def pairs(variant: Painter) -> tuple:
    train, test = Pairs(Shapes.Config()), Pairs(Shapes.Config(), "test")
    return variant, variant.networks(train.spec), train.spec, train, test


def coloured(images: Tensor) -> Tensor:
    return to_uint8(images).expand(-1, 3, -1, -1)


@needs_library
def test_a_translation_is_held_to_the_truth(small, network):
    right, wrong = (
        evaluate(*pairs(variant), n=20, seed=3, metrics=["lpips"], standard=small) for variant in (Paired(), Grey())
    )
    assert right["metrics"]["lpips"] == pytest.approx(0, abs=1e-6)
    variant, networks, spec, _, test = pairs(Grey())
    asked = conditions(variant, spec, 20, rows=lambda: [test], seed=3).batch
    drawn = draw(variant, networks, spec, asked, 20, seed=3, device=torch.device("cpu"))
    theirs = network(coloured(drawn), coloured(-asked["a"])).mean()
    assert wrong["metrics"]["lpips"] == pytest.approx(float(theirs), rel=1e-5)
    assert wrong["metrics"]["lpips"] > 0.01
    told = wrong["protocol"]["lpips"]
    assert (told["pairs"], told["side"], told["network"]) == (20, 64, "lpips-vgg16")
    assert all(digest.startswith("sha256:") for digest in told["weights"].values())
    assert wrong["judge"] is None


@needs_library
@pytest.mark.parametrize("kind", [Free, Reader])
def test_diversity_is_between_samples_of_one_condition(kind, small, network):
    found = evaluate(*parts(kind()), n=12, seed=2, metrics=["lpips_diversity"], standard=small)
    variant, networks, spec, train, test = parts(kind())
    asked = conditions(variant, spec, 12, rows=lambda: [test, train], seed=2).batch
    from gankit.device import derive_seed

    one, other = (
        draw(variant, networks, spec, asked, 12, seed=seed, device=torch.device("cpu"))
        for seed in (2, derive_seed(2, "again"))
    )
    theirs = network(coloured(one), coloured(other)).mean()
    assert found["metrics"]["lpips_diversity"] == pytest.approx(float(theirs), rel=1e-5)
    alike = evaluate(*parts(Constant(0.3)), n=12, metrics=["lpips_diversity"], standard=small)
    assert alike["metrics"]["lpips_diversity"] == 0 < found["metrics"]["lpips_diversity"]


@needs_library
def test_what_is_not_finite_is_told(small):
    found = evaluate(*parts(Constant(float("nan"))), n=4, metrics=["lpips_diversity"], standard=small)
    assert found["metrics"]["lpips_diversity"] == 0
    assert "8 samples hold NaN" in found["notes"][0]


@pytest.mark.parametrize(
    ("made", "metric"),
    [
        (lambda: parts(Free()), "lpips"),  # nothing says what it should draw
        (lambda: sides(Translator()), "lpips"),  # the sides are no pairs
        (lambda: parts(Changer()), "lpips"),  # it is to become another than it was
        (lambda: pairs(Paired()), "lpips_diversity"),  # the same input, the same output
    ],
)
def test_where_it_does_not_apply(made, metric):
    with pytest.raises(UsageError, match=f"the metric '{metric}' does not apply to this variant and data"):
        evaluate(*made(), n=4, metrics=[metric])


def measured(**how: object) -> dict:
    return evaluate(*parts(Free()), n=4, metrics=["lpips_diversity"], standard=Standard(**how))


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(UsageError, match=r"pip install 'gankit\[fid\]'"):
        measured()


class Hostile:
    def __reduce__(self):
        return exec, ("open('ran', 'w').close()",)


@needs_library
def test_weights_that_are_none(tmp_path, monkeypatch, weights):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dir").mkdir()
    with pytest.raises(UsageError, match=r"dir has no weights-vgg16-lpips.pth: https://"):
        measured(weights=Path("dir"))
    (tmp_path / "dir" / "weights-vgg16-lpips.pth").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(UsageError, match=r"weights-vgg16-lpips.pth does not hold weights and nothing else"):
        measured(weights=Path("dir"))
    assert not Path("ran").exists()
    with pytest.raises(UsageError, match=r"for lpips --weights is a directory, with weights-vgg16-lpips.pth and vgg16"):
        measured(weights=Path("dir/weights-vgg16-lpips.pth"))


@needs_library
def test_without_weights_and_without_a_network(tmp_path, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise OSError("there is no network")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)
    with pytest.raises(
        UsageError, match=r"cannot be downloaded \(there is no network\). Give a directory of them"
    ) as error:
        measured()
    assert "\n" not in str(error.value)


@needs_library
def test_where_torch_keeps_its_files_is_left_as_it_was(small):
    before = torch.hub.get_dir()
    evaluate(*parts(Constant(0.3)), n=2, metrics=["lpips_diversity"], standard=small)
    assert torch.hub.get_dir() == before
