"""ResNet-50, from ResNet-50-deploy.prototxt, phase TEST.

data (N, 3, 224, 224) -> prob (N, 1000)
"""

import torch
import torch.nn.functional as F
from torch import nn


class ResProjectionBlock(nn.Module):
    """res2a, res3a, res4a, res5a."""

    def __init__(self, channels, width, stride=1):
        super().__init__()
        self.branch1 = nn.Conv2d(channels, 4 * width, 1, stride=stride, bias=False)
        self.bn_branch1 = nn.BatchNorm2d(4 * width)
        self.branch2a = nn.Conv2d(channels, width, 1, stride=stride, bias=False)
        self.bn_branch2a = nn.BatchNorm2d(width)
        self.branch2b = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn_branch2b = nn.BatchNorm2d(width)
        self.branch2c = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn_branch2c = nn.BatchNorm2d(4 * width)

    def forward(self, x):
        branch1 = self.bn_branch1(self.branch1(x))
        branch2 = F.relu(self.bn_branch2a(self.branch2a(x)))
        branch2 = F.relu(self.bn_branch2b(self.branch2b(branch2)))
        return F.relu(branch1 + self.bn_branch2c(self.branch2c(branch2)))


class ResBlock(nn.Module):
    """res2b to res5c, 12 in all."""

    def __init__(self, width):
        super().__init__()
        self.branch2a = nn.Conv2d(4 * width, width, 1, bias=False)
        self.bn_branch2a = nn.BatchNorm2d(width)
        self.branch2b = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn_branch2b = nn.BatchNorm2d(width)
        self.branch2c = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn_branch2c = nn.BatchNorm2d(4 * width)

    def forward(self, x):
        branch2 = F.relu(self.bn_branch2a(self.branch2a(x)))
        branch2 = F.relu(self.bn_branch2b(self.branch2b(branch2)))
        return F.relu(x + self.bn_branch2c(self.branch2c(branch2)))


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.bn_conv1 = nn.BatchNorm2d(64)
        self.res2 = nn.Sequential(
            ResProjectionBlock(64, 64), *[ResBlock(64) for _ in range(2)]
        )
        self.res3 = nn.Sequential(
            ResProjectionBlock(256, 128, stride=2), *[ResBlock(128) for _ in range(3)]
        )
        self.res4 = nn.Sequential(
            ResProjectionBlock(512, 256, stride=2), *[ResBlock(256) for _ in range(5)]
        )
        self.res5 = nn.Sequential(
            ResProjectionBlock(1024, 512, stride=2), *[ResBlock(512) for _ in range(2)]
        )
        self.fc1000 = nn.Linear(2048, 1000)

    def forward(self, data):
        x = data.to(memory_format=torch.channels_last)
        x = F.relu(self.bn_conv1(self.conv1(x)))
        x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)  # pool1
        x = self.res2(x)
        x = self.res3(x)
        x = self.res4(x)
        x = F.avg_pool2d(self.res5(x), 7, stride=1)  # pool5
        return F.softmax(self.fc1000(x.flatten(1)), 1)
