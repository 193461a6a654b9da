"""Indices where Caffe's ties differ from torch's."""


def top_indices(x, k, axis):
    """The indices of the k largest values along an axis, in descending order; the larger index of a tie first."""
    order = x.flip(axis).sort(stable=True, dim=axis, descending=True).indices
    return (x.shape[axis] - 1 - order.narrow(axis, 0, k)).to(x.dtype)
