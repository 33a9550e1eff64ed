"""A trained variant as one file: ONNX, torch.export, or safetensors."""

from gankit.export.compare import Compared
from gankit.export.exporting import SUFFIXES, TOLERANCE, Exported, check_out, export
from gankit.export.job import Job, Method
from gankit.export.loaded import Loaded, open_export

__all__ = [
    "SUFFIXES",
    "TOLERANCE",
    "Compared",
    "Exported",
    "Job",
    "Loaded",
    "Method",
    "check_out",
    "export",
    "open_export",
]
