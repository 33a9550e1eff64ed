"""Weights of StackGAN-Pytorch: the outputs of the layer lists that they were made with, noise given."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_weights import drawn, saved
from gankit_plugin_stackgan.networks import Discriminator as Ours
from torch import Tensor, nn

import gankit
from gankit.api import import_weights
from gankit.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")
E, K, Z = 7, 3, 5


def conv3(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)


def up(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2), conv3(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU())


class Condition(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(E, 2 * K)

    def forward(self, embedding: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.fc(embedding).relu().chunk(2, 1)
        return mean + noise * (log_variance / 2).exp(), mean


class First(nn.Module):
    def __init__(self, width: int = 2) -> None:
        super().__init__()
        wide = self.wide = 8 * width
        self.ca_net = Condition()
        self.fc = nn.Sequential(nn.Linear(Z + K, wide * 16, bias=False), nn.BatchNorm1d(wide * 16), nn.ReLU())
        for k in range(4):
            setattr(self, f"upsample{k + 1}", up(wide >> k, wide >> (k + 1)))
        self.img = nn.Sequential(conv3(wide >> 4, 3), nn.Tanh())

    def forward(self, embedding: Tensor, z: Tensor, noise: Tensor) -> Tensor:
        condition, self.mean = self.ca_net(embedding, noise)
        x = self.fc(torch.cat([z, condition], 1)).view(-1, self.wide, 4, 4)
        for k in range(1, 5):
            x = getattr(self, f"upsample{k}")(x)
        return self.img(x)


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        half = [conv3(width, width), nn.BatchNorm2d(width)]
        self.block = nn.Sequential(*half, nn.ReLU(), conv3(width, width), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.block(x)).relu()


class Second(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.STAGE1_G = First()
        self.ca_net = Condition()
        layers = [conv3(3, width), nn.ReLU()]
        for wide in (width, 2 * width):
            layers += [nn.Conv2d(wide, 2 * wide, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * wide), nn.ReLU()]
        self.encoder = nn.Sequential(*layers)
        wide = 4 * width
        self.hr_joint = nn.Sequential(conv3(wide + K, wide), nn.BatchNorm2d(wide), nn.ReLU())
        self.residual = nn.Sequential(Residual(wide), Residual(wide))
        for k in range(4):
            setattr(self, f"upsample{k + 1}", up(wide >> k, wide >> (k + 1)))
        self.img = nn.Sequential(conv3(wide >> 4, 3), nn.Tanh())

    def forward(self, embedding: Tensor, z: Tensor, noise: Tensor, again: Tensor) -> Tensor:
        small = self.encoder(self.STAGE1_G(embedding, z, noise))
        condition, self.mean = self.ca_net(embedding, again)
        planes = condition[:, :, None, None].expand(-1, -1, *small.shape[2:])
        x = self.residual(self.hr_joint(torch.cat([small, planes], 1)))
        for k in range(1, 5):
            x = getattr(self, f"upsample{k}")(x)
        return self.img(x)


class Logits(nn.Module):
    def __init__(self, width: int, told: bool) -> None:
        super().__init__()
        wide = 8 * width
        joint = [conv3(wide + K, wide), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)] if told else []
        self.outlogits = nn.Sequential(*joint, nn.Conv2d(wide, 1, 4, 4), nn.Sigmoid())


class Discriminator(nn.Module):
    def __init__(self, halvings: int, alone: bool, width: int = 2) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for outer, inner in pairwise(width << k for k in range(halvings)):
            layers += [nn.Conv2d(outer, inner, 4, 2, 1, bias=False), nn.BatchNorm2d(inner), nn.LeakyReLU(0.2)]
        for outer, inner in pairwise(width << k for k in range(halvings - 1, 2, -1)):
            layers += [conv3(outer, inner), nn.BatchNorm2d(inner), nn.LeakyReLU(0.2)]
        self.encode_img = nn.Sequential(*layers)
        self.get_cond_logits = Logits(width, told=True)
        self.get_uncond_logits = Logits(width, told=False) if alone else None

    def forward(self, images: Tensor, condition: Tensor) -> list[Tensor]:
        features = self.encode_img(images)
        planes = condition[:, :, None, None].expand(-1, -1, *features.shape[2:])
        said = [self.get_cond_logits.outlogits(torch.cat([features, planes], 1)).flatten()]
        return said + ([self.get_uncond_logits.outlogits(features).flatten()] if self.get_uncond_logits else [])


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "captions.npz"
    np.savez(path, captions=np.array(["a bird", "a plane"]), embeddings=torch.randn(2, E).numpy() * 3)
    return path


def judged(ours: Ours, theirs: Discriminator, images: Tensor, condition: Tensor) -> None:
    features = ours.features(images)
    mine = [ours.matched(features, condition), *([ours.real(features)] if ours.alone is not None else [])]
    for one, other in zip(mine, theirs(images, condition), strict=True):
        torch.testing.assert_close(one.sigmoid(), other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("stage", [1, 2])
def test_both_stages(tmp_path: Path, embeddings: Path, stage: int) -> None:
    theirs = {"G": drawn(First() if stage == 1 else Second(), (0.12, 0.35))}
    theirs["D"] = drawn(Discriminator(4 if stage == 1 else 6, alone=stage == 2), (0.12, 0.35))
    options = {"text__file": str(embeddings), "batch_size": 2}
    run = import_weights("stackgan-pytorch", *saved(tmp_path, "net{}_epoch_90.pth", **theirs), out=tmp_path, **options)
    networks, config, side = run.networks(device="cpu"), run.config.options, 64 if stage == 1 else 256
    assert (config.stage, config.z, config.condition, config.g1_width, config.low) == (stage, Z, K, 2, 64)
    text = torch.zeros(2, 200, dtype=torch.uint8)
    for row, caption in enumerate(("a plane", "a bird")):
        text[row, : len(caption)] = torch.tensor(list(caption.encode()))
    z, noise, again = torch.randn(2, Z), torch.randn(2, K), torch.randn(2, K)
    with torch.no_grad():
        embedding = networks["text"](text)
        wanted = torch.from_numpy(np.load(embeddings)["embeddings"])[[1, 0]]
        torch.testing.assert_close(embedding, wanted.float(), rtol=0, atol=0)  # as they are in the file
        first = networks["generator" if stage == 1 else "stage1"](embedding, z, noise)[0]
        if stage == 1:
            images, given = theirs["G"](embedding, z, noise), first
        else:
            images, given = theirs["G"](embedding, z, noise, again), networks["generator"](first, embedding, again)[0]
        assert images.shape == (2, 3, side, side)
        torch.testing.assert_close(given, images, rtol=0, atol=1e-5)
        assert 0.01 < images.std() < 0.9
        judged(networks["discriminator"], theirs["D"], images, theirs["G"].mean)
    assert run.sample(2, text="a bird").images.shape == (2, 3, side, side)


@pytest.mark.parametrize("stage", [1, 2])
def test_what_was_imported_goes_on_to_others(tmp_path: Path, embeddings: Path, stage: int) -> None:
    """As ONNX, as weights and as a directory: what is drawn of captions in a file is the same there."""
    theirs = {"G": drawn(First() if stage == 1 else Second(), (0.12, 0.35))}
    files, told = saved(tmp_path, "net{}_epoch_90.pth", **theirs), {"text__file": str(embeddings)}
    run = import_weights("stackgan-pytorch", *files, out=tmp_path, batch_size=2, **told)
    mine = run.sample(2, text=["a bird", "a plane"], seed=4, device="cpu").images
    assert 0.01 < mine.std() < 0.9

    run.export(tmp_path / "weights.safetensors")
    loaded = gankit.open_export(tmp_path / "weights.safetensors", options={"text.file": str(embeddings)})
    assert torch.equal(loaded.sample(2, given={"text": ["a bird", "a plane"]}, seed=4).images, mine)

    run.export_directory(tmp_path / "shared")
    again = gankit.import_run(tmp_path / "shared", out=tmp_path / "elsewhere", **told)
    assert torch.equal(again.sample(2, text=["a bird", "a plane"], seed=4, device="cpu").images, mine)

    onnxruntime = pytest.importorskip("onnxruntime")
    made = run.export(tmp_path / "drawn.onnx")
    assert made.difference < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "drawn.onnx"))
    assert "embedding" in [one.name for one in session.get_inputs()]  # the file of captions stays with its owner
    given = {one.name: np.zeros([2, *one.shape[1:]], np.float32) for one in session.get_inputs()}
    given["embedding"] = np.load(embeddings)["embeddings"].astype(np.float32)
    one, other = session.run(None, given)[0]
    assert one.shape == (3, *[64 if stage == 1 else 256] * 2)
    assert abs(one - other).max() > 0.01


def test_what_cannot_be_read_is_refused(tmp_path: Path, embeddings: Path) -> None:
    told = {"text__file": str(embeddings)}
    for networks, more, words in (
        ({"G": First()}, {}, r"told embeddings of 7 numbers: give a file .* \(--text.file FILE\)"),
        ({"G": First(), "g": First()}, told, "one generator and one discriminator"),
        ({"G": First(), "D": Discriminator(6, alone=True)}, told, "do not fit network 'discriminator'"),
        ({"D": Discriminator(4, alone=False)}, told, "holds no weights of stackgan-pytorch"),
    ):
        with pytest.raises(UsageError, match=words):
            import_weights(
                "stackgan-pytorch", *saved(tmp_path, "net{}_epoch_90.pth", **networks), out=tmp_path / "runs", **more
            )
    assert not (tmp_path / "runs").exists()
