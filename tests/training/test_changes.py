"""What a resumed run says of what was changed since: its config.toml, its data."""

from __future__ import annotations

from typing import ClassVar

import pytest
from pictures import paint
from tiny_gan import Blobs, BlobsConfig, Tiny
from training_helpers import final, train

import gankit
from gankit.data.folder import FolderConfig, ImageFolder
from gankit.errors import GankitError, UsageError
from gankit.events import Note, Progress
from gankit.files import replace_text
from gankit.plugin import Optim
from gankit.runs.directory import RunDir


class Marked(Blobs):
    """Says what its samples are."""

    mark = "as they were"

    def fingerprint(self):
        return f"{self.split} {self.mark}"


@pytest.fixture
def path(tmp_path):
    """A run of four steps."""
    return gankit.train(Tiny, Marked(BlobsConfig()), out=tmp_path, steps=4, batch_size=8, sample_n=6, device="cpu").path


def edit(path, old, new):
    text = (path / "config.toml").read_text()
    assert text.count(old) == 1, text
    (path / "config.toml").write_text(text.replace(old, new))


def go_on(path, steps=None, dataset=Marked):
    """The lines that the user is told."""
    told = []
    gankit.open_run(path, Tiny, dataset).resume(steps, told.append)
    return [event.text for event in told if isinstance(event, Note)]


def test_nothing_is_said_where_nothing_has_changed(path):
    assert go_on(path, 5) == []
    assert go_on(path, 6) == []  # --steps is no edit


def test_edits_that_may_be_are_named_once(path):
    edit(path, "steps = 4\n", "steps = 6\n")
    edit(path, "lr = 0.001", "lr = 0.5")
    assert go_on(path) == [
        f"{path / 'config.toml'} was edited: optim.lr = 0.5 (was 0.001), steps = 6 (was 4). Going on with that."
    ]
    assert go_on(path, 7) == []  # it was trained with them since
    assert gankit.open_run(path, Tiny, Marked).config.options.optim.lr == 0.5


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("hidden = 8", "hidden = 16", "do not fit network 'generator'.*\n.*edited since: hidden = 16 \\(was 8\\)"),
        ("\nsize = 8", "\nsize = 12", "'image' was image .*\n.*edited since: data.size = 12 \\(was 8\\)"),
        ('kind = "adam"', 'kind = "sgd"', "not that of sgd\n.*edited since: optim.kind = 'sgd' \\(was 'adam'\\)"),
        ("seed = 0", "seed = 1", "loader's seed.*\n.*edited since: seed = 1 \\(was 0\\)"),
        ("batch_size = 8", "batch_size = 0", "config.toml: batch_size = 0: must be"),
        ('variant = "tiny"', 'variant = "other"', "of variant 'tiny', not 'other' as config.toml says: set it back"),
        ('dataset = "marked"', 'dataset = "blobs"', "of dataset 'marked', not 'blobs' as config.toml says"),
    ],
)
def test_edits_that_cannot_be_are_refused_and_change_nothing(path, old, new, words):
    edit(path, old, new)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(UsageError, match=words):
        go_on(path, 6)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_averages_cannot_begin_in_the_middle(tmp_path):
    path = train(tmp_path, ema=0.0).path
    edit(path, "ema = 0.0", "ema = 0.9")
    with pytest.raises(UsageError, match=r"ema = 0.9: so far the run has kept no averages; set ema to 0"):
        go_on(path, 14, Blobs)


def test_samples_that_are_others_are_named(path, monkeypatch):
    monkeypatch.setattr(Marked, "mark", "moved")
    told = go_on(path, 5)
    assert len(told) == 2
    assert told[0].startswith("The samples of the train split are not those that the run was made with: ")
    assert told[0].endswith(" The result will differ from an uninterrupted run's.")


def test_what_happened_to_a_folder_of_images_is_told(tmp_path):
    for number in range(12):
        paint(tmp_path / "images" / "ab"[number % 2] / f"{number}.png", 20 * number)
    data = FolderConfig(root=str(tmp_path / "images"), size=8, channels=1, test_fraction=0)
    told = []
    path = gankit.train(
        Tiny,
        ImageFolder(data),
        out=tmp_path / "runs",
        steps=4,
        batch_size=8,
        sample_n=6,
        device="cpu",
        on_event=told.append,
    ).path
    assert told[0] == Progress(what="decoding images", done=0, total=12)
    assert go_on(path, 5, ImageFolder) == []
    (tmp_path / "images" / "a" / "0.png").rename(tmp_path / "images" / "b" / "0.png")
    paint(tmp_path / "images" / "b" / "1.png", 99)
    told = go_on(path, 6, ImageFolder)
    assert told[0] == (
        "The samples of the train split are not those that the run was made with: "
        "1 is replaced by another, 1 has another class. The result will differ from an uninterrupted run's."
    )
    (tmp_path / "images" / "b" / "3.png").unlink()
    with pytest.raises(UsageError, match=r"began with 12 samples.*(\n.*)*train split .*: 1 is gone, 1 is replaced"):
        go_on(path, 7, ImageFolder)


def test_another_number_of_samples_is_refused(tmp_path):
    path = train(tmp_path).path
    edit(path, "count = 20", "count = 5")
    with pytest.raises(UsageError, match=r"began with 20 samples.*\n.*edited since: data.count = 5 \(was 20\)"):
        go_on(path, 20, Blobs)


def test_a_run_is_read_without_its_preset(tmp_path, monkeypatch):
    class Preset(Tiny):
        presets: ClassVar = {"default": {"hidden": 4, "optim.betas_end": (0.1, 0.2)}}

    options = {"steps": 4, "sample_n": 6, "device": "cpu", "optim__betas_end": None}
    path = gankit.train(Preset, Blobs(BlobsConfig()), out=tmp_path, **options).path
    assert gankit.open_run(path, Preset, Blobs).config.options.optim.betas_end is None  # was laid over the preset's
    monkeypatch.setattr(Preset, "presets", {"default": {"hidden": 64}})
    assert gankit.open_run(path, Preset, Blobs).sample(2).images.shape == (2, 1, 8, 8)
    edit(path, 'preset = "default"', 'preset = "gone"')
    assert gankit.open_run(path, Preset, Blobs).resume(5).steps == 5


def test_resumed_from_python_as_from_the_command_line(tmp_path):
    begun = train(tmp_path / "a", resume=True)  # there is none: a new one
    more = train(tmp_path / "a", resume=True, steps=15)
    assert (more.path, more.steps) == (begun.path, 15)
    assert final(more.path, 15) == final(train(tmp_path / "b", steps=15).path, 15)
    with pytest.raises(UsageError, match="unknown option 'hiden'"):
        train(tmp_path / "a", resume=True, hiden=3)


def test_options_that_a_run_does_not_take_over_are_named(tmp_path):
    path = train(tmp_path).path
    told = []
    options = {"hidden": 4, "optim": {"lr": 0.5}, "batch_size": "8", "steps": 14}
    train(tmp_path, resume=True, on_event=told.append, **options)
    text = f"Going on with {path}, with the options it was started with."
    assert Note(text=f"{text} Of those given now it does not take over hidden, optim.lr.") in told


class Preset(Tiny):
    """Has presets."""

    presets: ClassVar = {"wide": {"hidden": 16, "optim": Optim(lr=0.25), "steps": 5}}


def test_so_are_those_of_a_file_and_of_a_preset(tmp_path):
    options = {"steps": 4, "batch_size": 8, "sample_n": 6, "device": "cpu"}
    data = Blobs(BlobsConfig())
    run = gankit.train(Preset, data, out=tmp_path, **options)
    file = tmp_path / "options.toml"
    file.write_text("hidden = 4\nsteps = 6\nbatch_size = 8\noptim.lr = 0.001\n[data]\ncount = 20\n")
    text = f"Going on with {run.path}, with the options it was started with."
    for given, left, steps in (
        ({"config": file}, "hidden", 6),  # a file's steps are those to go on to
        ({"preset": "wide", "steps": 7}, "hidden, optim.lr", 7),
        ({"preset": "wide", "config": file}, "hidden, steps", 7),
    ):
        told = []
        again = gankit.train(Preset, data, out=tmp_path, resume=True, on_event=told.append, **given)
        assert Note(text=f"{text} Of those given now it does not take over {left}.") in told
        assert (again.path, again.steps) == (run.path, steps)
    told = []
    gankit.train(Preset, data, out=tmp_path, resume=True, on_event=told.append, config=run.path / "config.toml")
    assert Note(text=text) in told


def test_a_file_does_not_contradict_a_dataset_given_open(tmp_path):
    file = tmp_path / "options.toml"
    file.write_text("steps = 4\nbatch_size = 8\nsample_n = 6\n[data]\nsize = 12\n")
    with pytest.raises(UsageError, match=r"data\.size = 12 contradicts the dataset that was given, whose size is 8"):
        gankit.train(Tiny, Blobs(BlobsConfig()), config=file, out=tmp_path)
    run = gankit.train(Tiny, Blobs(BlobsConfig(size=12, count=9)), config=file, out=tmp_path)
    assert (run.config.data.size, run.config.data.count) == (12, 9)


def test_a_run_does_not_go_on_with_a_dataset_of_other_options(tmp_path):
    run = train(tmp_path, steps=4)
    before = (run.path / "config.toml").read_bytes()
    with pytest.raises(
        UsageError, match=r"data\.count = 20 contradicts the dataset .* whose count is 10: so says .*toml"
    ):
        train(tmp_path, data=BlobsConfig(count=10), steps=6, resume=True)
    assert (run.path / "config.toml").read_bytes() == before
    assert train(tmp_path, steps=6, resume=True).steps == 6


def test_a_run_is_locked_from_before_its_config_is_written(tmp_path, monkeypatch):
    """A new one, and one that goes on: nobody else gets in between reading and training."""
    places = []

    def locked(path):
        with pytest.raises(UsageError, match="is being trained"), RunDir(path).lock():
            pass
        places.append(path)

    def write(path, text):
        locked(path.parent)
        replace_text(path, text)

    monkeypatch.setattr("gankit.training.launch.replace_text", write)
    path = train(tmp_path, steps=4).path
    assert len(places) == 2  # environment.json, config.toml
    edit(path, "lr = 0.001", "lr = 0.5")
    monkeypatch.setattr("gankit.training.resume.replace_text", write)
    gankit.open_run(path, Tiny, Blobs).resume(6, lambda event: locked(path))
    assert len(places) > 6
    with RunDir(path).lock():  # it is free again
        pass


def test_a_run_in_memory_goes_on_with_what_its_config_says_now(path):
    run = gankit.open_run(path, Tiny, Marked)
    edit(path, "lr = 0.001", "lr = 0.5")
    run.resume(6)
    assert run.config.options.optim.lr == run.variant.config.optim.lr == 0.5
    assert "lr = 0.5" in (path / "config.toml").read_text()


def test_a_dataset_given_open_has_its_own_options(tmp_path):
    assert train(tmp_path, data=BlobsConfig(size=12), data__size=12).spec.image_shape == (1, 12, 12)
    with pytest.raises(UsageError, match=r"data\.size = 32 contradicts the dataset that was given, whose size is 8"):
        train(tmp_path, data__size=32)
    with pytest.raises(UsageError, match=r"data\.size = 32 contradicts"):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, data={"size": 32})


DAMAGE = ["", "\0", "a = [", "a = " + "[" * 20_000, "a = " + "9" * 5000, "steps = 1", 'variant = 3\ndataset = "blobs"']


@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_config_is_named(path, text):
    (path / "config.toml").write_text(text)
    with pytest.raises(GankitError, match=r"config\.toml"):
        go_on(path)
