"""Caffe's solvers: one update rule a file, learning-rate policies, and the checked view of a solver file.

The rules are ordinary `torch.optim.Optimizer`s. `definition` and `policies` do not import torch.
"""
