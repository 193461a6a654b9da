"""Indices where Caffe's ties differ from torch's."""


def top_indices(x, k, axis):
    """The indices of the k largest values along an axis; of a tie the larger first."""
    order = x.flip(axis).sort(stable=True, dim=axis, descending=True).indices
    return (x.shape[axis] - 1 - order.narrow(axis, 0, k)).to(x.dtype)
