"""LeNet, from lenet.prototxt, phase TEST: data (N, 1, 28, 28) -> prob (N, 10)."""

import torch
import torch.nn.functional as F
from torch import nn


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.ip1 = nn.Linear(800, 500)
        self.ip2 = nn.Linear(500, 10)

    def forward(self, data):
        data = data.to(memory_format=torch.channels_last)
        pool1 = F.max_pool2d(self.conv1(data), 2)
        pool2 = F.max_pool2d(self.conv2(pool1), 2)
        ip1 = F.relu(self.ip1(pool2.flatten(1)))
        return F.softmax(self.ip2(ip1), 1)
