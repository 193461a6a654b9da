"""Learned blobs that torch has no module for."""

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


class LearnedTop(nn.Module):
    """A learned blob by itself; each backward overwrites its gradient."""

    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))

    def forward(self):
        return Overwriting.apply(self.weight) if self.weight.requires_grad else self.weight
