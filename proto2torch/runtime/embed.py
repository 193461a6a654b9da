"""An embedding with an offset."""

import torch
import torch.nn.functional as F
from torch import nn


class BiasedEmbedding(nn.Module):
    """A learned vector for each index, and a common offset."""

    def __init__(self, count, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count, size))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, index):
        return F.embedding(index, self.weight) + self.bias
