"""Caffe's solvers: one update rule a file, learning-rate policies, and the checked view of a solver file.

The rules are ordinary `torch.optim.Optimizer`s, to be used by themselves too, with groups, `state_dict` and closures:

    from proto2torch.solvers.adam import Adam
    from proto2torch.solvers.policies import Step
    from proto2torch.solvers.schedulers import PolicyLR

    optimizer = Adam([{"params": weights}, {"params": biases, "lr_mult": 2, "decay_mult": 0}], lr=0.001, momentum=0.9)
    scheduler = PolicyLR(optimizer, Step(base_lr=0.001, gamma=0.1, stepsize=1000))

SGD, Nesterov and Adam run on torch's fused kernels, which read and write each tensor once, where the tensors allow it
(`fused`). The others, and all where the update itself is to be kept, are `foreach`: one call for a group's tensors.
A step starts a few kernels and waits for nothing. It has two parts, `prepare` on the host and `make` on the device:
after `rates_on_device` a `make` that a CUDA graph has recorded can be played at any rate. `definition` and `policies`
do not import torch.
"""
