"""The judge and its cache."""

import json
from pathlib import Path

import pytest
import torch
from evaluation_toys import Shapes, ShapesConfig

from gankit.errors import UsageError
from gankit.evaluate import cache
from gankit.evaluate.judge import Judge, JudgeConfig, accuracy_on, train_judge
from gankit.evaluate.real import RealImages, class_keys, subset
from gankit.events import Note, Progress

TINY = JudgeConfig(width=4, steps=5, batch_size=16)


def splits(**options: object) -> tuple[RealImages, RealImages]:
    config = ShapesConfig(**options)  # type: ignore[arg-type]
    return RealImages(Shapes(config)), RealImages(Shapes(config, "test"))


def test_same_seed_same_judge_other_seed_another_and_global_state_untouched() -> None:
    train, _ = splits()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = train_judge(train, TINY)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    again, other = train_judge(train, TINY), train_judge(train, JudgeConfig(width=4, steps=5, batch_size=16, seed=1))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not torch.equal(first.heads[0].weight, other.heads[0].weight)
    assert not first.training
    assert not any(parameter.requires_grad for parameter in first.parameters())


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (16, 16), (64, 64), (65, 200), (256, 256)])
def test_any_size_of_image(size: tuple[int, int]) -> None:
    judge = Judge((3, *size), {"a": 4, "type": 2}, width=4).eval()
    logits = judge(torch.zeros(2, 3, *size))
    assert {name: value.shape for name, value in logits.items()} == {"a": (2, 4), "type": (2, 2)}
    assert judge.features(torch.zeros(2, 3, *size)).shape == (2, 24)


def test_training_is_told_of_from_its_start_to_its_end() -> None:
    events: list[object] = []
    train_judge(splits()[0], TINY, tell=events.append)
    first, *between, last = events
    assert isinstance(first, Note)
    assert first.text == "Training a judge on 240 real images (shape, ink), once for this data ..."
    assert between == [Progress(what="training the judge", done=done, total=5) for done in range(6)]
    assert isinstance(last, Note)
    assert "The judge is trained" in last.text


def test_large_images_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = splits()
    small = train_judge(train, TINY)
    monkeypatch.setattr("gankit.evaluate.judge._is_small", lambda images: False)
    read: list[int] = []
    batch = Shapes.batch
    monkeypatch.setattr(Shapes, "batch", lambda data, indices: read.extend(indices.tolist()) or batch(data, indices))
    held = train_judge(train, TINY)
    assert sorted(read) == list(range(240))
    torch.testing.assert_close(held.state_dict(), small.state_dict())
    monkeypatch.setattr("gankit.evaluate.judge.MOST", 50)
    events: list[object] = []
    train_judge(train, TINY, tell=events.append)
    assert "Training a judge on 50 real images" in events[0].text


def test_large_images_cost_no_more_maps_than_small_ones() -> None:
    def sides(size: int) -> list[int]:
        judge, images = Judge((1, size, size), {"a": 2}, width=2).eval(), torch.zeros(1, 1, size, size)
        return [(images := layer(images)).shape[-1] for layer in judge.body]

    assert sides(32) == [16, 16, 8, 8]
    assert sides(64) == [32, 16, 8, 8]
    assert sides(33) == [17, 9, 5, 5]


def test_keys_that_distinguish_nothing_are_left_out() -> None:
    from gankit.plugin import DataSpec, Key

    spec = DataSpec(
        keys={
            "image": Key(kind="image", shape=(1, 8, 8)),
            "one": Key(kind="class", names=("only",)),
            "two": Key(kind="class", names=("a", "b")),
        }
    )
    assert class_keys(spec) == {"two": 2}


def test_needs_classes_and_images() -> None:
    with pytest.raises(UsageError, match="needs a class key"):
        train_judge(splits(classes=False)[0], TINY)
    with pytest.raises(UsageError, match="train split is empty"):
        train_judge(splits(count=0)[0], TINY)


def test_a_subset_is_fixed_and_does_not_alias_with_classes_in_turn() -> None:
    rows = subset(600, 100)
    assert torch.equal(rows, subset(600, 100))
    assert len(rows.unique()) == 100
    assert (rows.diff() > 0).all()
    assert torch.bincount(rows % 6, minlength=6).min() > 5
    assert subset(3, 10).tolist() == [0, 1, 2]
    assert subset(0, 5).tolist() == []


def test_accuracy_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    _, test = splits()
    judge = Judge((1, 16, 16), {"shape": 3, "ink": 2}, width=4).eval()
    always = {"shape": torch.tensor([0.0, 1.0, 0.0]), "ink": torch.tensor([1.0, 0.0])}
    monkeypatch.setattr(judge, "forward", lambda x: {name: row.expand(len(x), -1) for name, row in always.items()})
    assert accuracy_on(judge, test, "cpu") == {
        "shape": pytest.approx(1 / 3),
        "ink": float((test.data.ink == 0).double().mean()),
    }


class TestCache:
    @pytest.fixture(autouse=True)
    def own_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GANKIT_CACHE", str(tmp_path))

    @pytest.fixture
    def trainings(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        count: list[int] = []

        def counted(*args: object) -> Judge:
            count.append(1)
            return train_judge(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(cache, "train_judge", counted)
        return count

    def test_second_time_it_is_read_and_is_the_same(self, trainings: list[int], tmp_path: Path) -> None:
        first = cache.judge_for(*splits(), TINY)
        second = cache.judge_for(*splits(), TINY)
        assert len(trainings) == 1
        assert second.protocol() == first.protocol()
        images = torch.rand(3, 1, 16, 16)
        torch.testing.assert_close(first.judge(images), second.judge(images), rtol=0, atol=0)
        assert sorted(path.suffix for path in (tmp_path / "judges").iterdir()) == [".json", ".safetensors"]
        json.dumps(first.protocol())

    def test_other_data_or_settings_make_another(self, trainings: list[int]) -> None:
        made = [
            cache.judge_for(*splits(), TINY),
            cache.judge_for(*splits(count=239), TINY),
            cache.judge_for(*splits(held_out=59), TINY),
            cache.judge_for(*splits(), JudgeConfig(width=4, steps=6, batch_size=16)),
        ]
        changed = splits()
        changed[0].data.images[17, 0, 3, 3] ^= 1  # one pixel
        made.append(cache.judge_for(*changed, TINY))
        assert len(trainings) == len({one.digest for one in made}) == 5

    @pytest.mark.parametrize("suffix", [".safetensors", ".json"])
    @pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\xfe rubbish"])
    def test_a_damaged_entry_is_made_again(
        self, suffix: str, content: bytes, trainings: list[int], tmp_path: Path
    ) -> None:
        first = cache.judge_for(*splits(), TINY)
        (tmp_path / "judges" / f"{first.digest}{suffix}").write_bytes(content)
        assert cache.judge_for(*splits(), TINY).accuracy == first.accuracy
        assert len(trainings) == 2
        cache.judge_for(*splits(), TINY)
        assert len(trainings) == 2

    def test_one_flipped_bit_is_found_and_told(self, trainings: list[int], tmp_path: Path) -> None:
        first = cache.judge_for(*splits(), TINY)
        for suffix, at in ((".safetensors", -7), (".json", 40)):
            path = tmp_path / "judges" / f"{first.digest}{suffix}"
            content = bytearray(path.read_bytes())
            content[at] ^= 1
            path.write_bytes(content)
            events: list[object] = []
            again = cache.judge_for(*splits(), TINY, tell=events.append)
            assert isinstance(events[0], Note)
            assert events[0].text == f"{path} is damaged; it is made again."
            assert torch.equal(again.judge.heads[0].weight, first.judge.heads[0].weight)
        assert len(trainings) == 3

    def test_weights_that_are_not_finite_are_neither_kept_nor_believed(
        self, trainings: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = cache.judge_for(*splits(), TINY)
        made.judge.heads[0].weight[0, 0] = float("nan")
        cache._save(made)
        assert cache.judge_for(*splits(), TINY).judge.heads[0].weight.isfinite().all()
        assert len(trainings) == 1  # what stood there was kept
        with monkeypatch.context() as patched:
            patched.setattr(cache, "_finite", lambda judge: True)
            cache._save(made)
        assert cache.judge_for(*splits(), TINY).judge.heads[0].weight.isfinite().all()
        assert len(trainings) == 2

    def test_an_interrupted_training_keeps_nothing(self, tmp_path: Path) -> None:
        def stop(event: object) -> None:
            if isinstance(event, Progress) and event.what == "training the judge" and event.done == 2:
                raise KeyboardInterrupt

        before = torch.get_rng_state()
        with pytest.raises(KeyboardInterrupt):
            cache.judge_for(*splits(), TINY, tell=stop)
        assert torch.equal(before, torch.get_rng_state())
        assert not list(tmp_path.rglob("*.*"))

    def test_a_place_that_cannot_be_written_costs_time_only(
        self, trainings: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("GANKIT_CACHE", str(tmp_path / "file"))
        cache.judge_for(*splits(), TINY)
        cache.judge_for(*splits(), TINY)
        assert len(trainings) == 2

    def test_place(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert cache.cache_directory() == tmp_path
        monkeypatch.delenv("GANKIT_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
        assert cache.cache_directory() == Path("/somewhere/gankit")
        monkeypatch.setenv("XDG_CACHE_HOME", "")
        assert cache.cache_directory() == Path.home() / ".cache" / "gankit"
