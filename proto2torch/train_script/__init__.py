"""The training script of a solver: one file of plain PyTorch that makes Caffe's updates, with model, data and loop.

`carried/` holds what such a file is put together from as it stands; everything else is written for the solver.
"""
