"""Dataset ``attribute-folder``: images by what they have: class directories as domains, or CelebA's list."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from gankit.data.attribute_list import find_list, match, read_attributes, read_partition
from gankit.data.files import Listing, Root, named
from gankit.data.folder import FolderConfig, ImageFolder
from gankit.data.layout import Layout, Splits, by_directories, hold_out, lay_out
from gankit.errors import UsageError
from gankit.options.spelling import give

__all__ = ["AttributeFolder", "AttributeFolderConfig"]

_HAS = ("no", "yes")
_PARTITION = ("list_eval_partition.txt", "list_eval_partition.csv")


class AttributeFolderConfig(FolderConfig):
    """Options of the dataset ``attribute-folder``."""

    root: Root = ""
    """Directory of images, whose sub-directories are the domains, or with list_attr_celeba.txt there or beside it."""
    attributes: tuple[str, ...] = ()
    """Of a list the attributes that are wanted: Black_Hair,Male,Young."""
    attribute_list: Root = ""
    """A file as list_attr_celeba.txt, where it is called otherwise or stands elsewhere."""
    alternatives: bool = False
    """The attributes exclude each other: one label of which they are the classes, of images that have just one."""


class AttributeFolder(ImageFolder):
    """Images with what they have: class directories as domains, or a list of attributes as CelebA has it.

    ``image``: uint8 (N, channels, height, width). Of class directories, and with ``alternatives``: ``label``, int64
    (N,). Of a list: for each of ``attributes`` a class of its name, no or yes. Splits are those of
    list_eval_partition.txt, if that is there, else as of the dataset ``folder``.
    """

    Config = AttributeFolderConfig
    config: AttributeFolderConfig

    def _lay_out(self, listing: Listing) -> Layout:
        config = self.config
        path = (
            Path(config.attribute_list)
            if config.attribute_list
            else find_list(listing.root, above=bool(config.attributes))
        )
        self._given: dict[str, tuple[str, ...]] = {}
        if path is not None:
            return self._by_list(listing, path)
        if config.attributes or config.alternatives:
            option = "attributes" if config.attributes else "alternatives"
            raise UsageError(
                f"data.{option} is set, and {listing.root} has no list_attr_celeba.txt, nor a directory Anno with one; "
                f"name the list: {give('data.attribute_list', 'FILE')}"
            )
        layout = lay_out(listing.files, config.test_fraction)
        if not layout.classes:
            found = "; ".join(layout.notes) or f"its {len(listing.files)} images are not in two directories or more"
            raise UsageError(
                f"data.root: {listing.root} has no class directories to be domains: {found}. With a list as CelebA's, "
                f"choose attributes: {give('data.attributes', 'NAME,NAME')}"
            )
        return layout

    def _by_list(self, listing: Listing, path: Path) -> Layout:
        """The listed files, by their splits; what each has goes to `_given`, in the order of the keys."""
        config = self.config
        attributes = read_attributes(path, config.attributes)
        names, notes = match(listing.files, attributes.rows)
        if not names:
            raise UsageError(f"data.root: no image in {listing.root} is named in {path}: {'; '.join(notes)}")
        rows = {file: attributes.rows[name] for file, name in names.items()}
        if config.alternatives:
            if len(attributes.names) < 2:
                raise UsageError(
                    f"data.alternatives needs two data.attributes or more, not {attributes.names[0]} alone"
                )
            several = [file for file, row in rows.items() if sum(row) != 1]
            if len(several) == len(rows):
                raise UsageError(f"data.alternatives: no image has just one of {', '.join(attributes.names)}")
            if several:
                notes.append(f"{len(several)} images have none or several of the attributes, and are left out")
            self._given = {file: (attributes.names[row.index(1)],) for file, row in rows.items() if sum(row) == 1}
        else:
            self._given = {file: tuple(_HAS[value] for value in row) for file, row in rows.items()}
        files = list(self._given)
        found = self._by_partition(path, names, files) or by_directories(files)
        train, test = found.train, found.test or None
        if test is None:
            train, test = hold_out(train, config.test_fraction)
        if not train:
            raise UsageError(f"data.root: none of the {len(files)} listed images is for training")
        return Layout(train, test, 0, notes=(*attributes.notes(), *notes, *found.notes, *self._rare(train)))

    def _by_partition(self, path: Path, names: Mapping[str, str], files: Sequence[str]) -> Splits | None:
        """The splits that list_eval_partition.txt says; None if there is none."""
        place = find_list(path.parent, _PARTITION) or find_list(Path(self.config.root), _PARTITION)
        if place is None:
            return None
        partition, notes = read_partition(place)
        parts: list[list[str]] = [[], [], []]
        missing: list[str] = []
        for file in files:
            part = partition.get(names[file])
            (missing if part is None else parts[part]).append(file)
        train, valid, test = parts
        if missing:
            notes.append(f"{len(missing)} images are not in {place.name}, and left out: {named(missing)}")
        if valid and test:
            notes.append(f"{len(valid)} images for validation are left out: there are some for testing")
        return Splits(tuple(train), tuple(test or valid), named=True, notes=tuple(notes))

    def _rare(self, train: Sequence[str]) -> list[str]:
        """A note for each class that no training image has."""
        having = zip(*(self._given[file] for file in train), strict=True)
        seen = {key: set(column) for key, column in zip(self._classes(), having, strict=True)}
        every = self._classes().items()
        return [
            f"no training image has {key} {name!r}" for key, names in every for name in names if name not in seen[key]
        ]

    def _classes(self) -> dict[str, tuple[str, ...]]:
        if not self._given:
            return super()._classes()
        if self.config.alternatives:
            return {"label": self.config.attributes}
        named = {_key(name): name for name in self.config.attributes}
        for name in self.config.attributes:
            if (other := named[_key(name)]) != name:
                raise UsageError(f"data.attributes: {name!r} and {other!r} would have one key; rename one in the list")
        return dict.fromkeys(named, _HAS)

    def _class_of(self, file: str) -> tuple[str, ...]:
        return self._given[file] if self._given else super()._class_of(file)


def _key(attribute: str) -> str:
    """The key of an attribute: its name, with other characters than letters, digits and ``_`` replaced."""
    key = re.sub(r"\W", "_", attribute)
    if key == "image":
        raise UsageError(
            "data.attributes: an attribute cannot be called 'image', as the images are; rename it in the list"
        )
    return key
