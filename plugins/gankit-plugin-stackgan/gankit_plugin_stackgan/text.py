"""Text encoders: captions, as bytes, to embeddings.

The default is a character-level CNN-RNN (Reed et al. 2016, "Learning Deep Representations of Fine-Grained Visual
Descriptions"), trained on the dataset's own pairs by :mod:`gankit_plugin_stackgan.matching`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from gankit.plugin import DataSpec
    from gankit_plugin_stackgan.config import TextConfig


class CharCNNRNN(nn.Module):
    """Bytes (N, L), uint8, padded with zeros, to embeddings (N, size), float32, of norm sqrt(size).

    Two convolutions with pooling read syllables, a recurrent layer reads the order, the mean over the text is embedded.
    """

    def __init__(self, size: int, width: int = 128) -> None:
        super().__init__()
        self.size = size
        self.bytes = nn.Embedding(256, 32, padding_idx=0)
        self.first = nn.Conv1d(32, width // 2, 5, padding=2)
        self.second = nn.Conv1d(width // 2, width, 5, padding=2)
        self.recurrent = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.embed = nn.Linear(width, size)

    def forward(self, text: Tensor) -> Tensor:
        codes = text.long()
        codes = torch.where((codes >= 65) & (codes <= 90), codes + 32, codes)  # case says nothing here
        with torch.autocast(text.device.type, enabled=False):
            x = self.bytes(codes).transpose(1, 2)
            x = F.max_pool1d(F.relu(self.first(x)), 2, ceil_mode=True)
            x = F.max_pool1d(F.relu(self.second(x)), 2, ceil_mode=True)
            x, _ = self.recurrent(x.transpose(1, 2))
            steps = F.max_pool1d((codes > 0).float()[:, None], 4, 4, ceil_mode=True).transpose(1, 2)
            mean = (x * steps).sum(1) / steps.sum(1).clamp(min=1)
            embedding = self.embed(mean)
        return F.normalize(embedding, dim=1) * embedding.shape[1] ** 0.5


def build(config: TextConfig, spec: DataSpec) -> nn.Module:
    """The text encoder that `config` names. Its attribute `size` is the embedding's length."""
    return CharCNNRNN(config.size, config.width)
