"""Dataset ``folder``."""

from gankit.data.folder import ImageFolder

__all__ = ["Folder"]


class Folder(ImageFolder):
    """Any directory of images; class directories become labels."""
