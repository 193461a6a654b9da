from __future__ import annotations

import sys

import numpy as np
import pytest

from proto2torch import caffe_module
from proto2torch.caffe_module import Blob, Layer, importable


def test_a_blob_keeps_its_memory_until_it_grows() -> None:
    blob = Blob(2, 3)
    blob.data[...] = np.arange(6).reshape(2, 3)
    blob.diff[...] = 1
    blob.reshape(2, 2)
    np.testing.assert_array_equal(blob.data, [[0, 1], [2, 3]])
    blob.reshape(6)
    np.testing.assert_array_equal(blob.data, np.arange(6))
    assert blob.diff.sum() == 6
    blob.reshape(7)
    assert not blob.data.any() and not blob.diff.any()
    assert blob.data.dtype == blob.diff.dtype == np.float32


def test_the_shape_of_a_blob_by_its_old_names() -> None:
    blob = Blob(4, 5)
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (4, 5, 1, 1, 20)
    assert tuple(blob.shape) == (4, 5)
    assert Blob().data.size == 0
    scalar = Blob()
    scalar.reshape()
    assert scalar.data.shape == () and scalar.count == 1
    empty = Blob(0, 5)
    assert empty.data.shape == (0, 5) and empty.count == 0


def test_import_caffe_finds_the_stand_in_while_a_module_is_loaded(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "loaded_with_caffe.py").write_text("import caffe\nclass A(caffe.Layer): pass\n")
    before, path = sys.modules.get("caffe"), list(sys.path)
    with importable(str(tmp_path)):
        import loaded_with_caffe  # type: ignore[import-not-found]

        assert issubclass(loaded_with_caffe.A, Layer)
    assert sys.modules.get("caffe") is before
    assert sys.path == path


def test_what_the_stand_in_lacks_is_said() -> None:
    assert (caffe_module.CAFFE.TRAIN, caffe_module.CAFFE.TEST) == (0, 1)
    with pytest.raises(AttributeError, match=r"there are caffe.Layer, caffe.TRAIN and caffe.TEST. Received: io"):
        _ = caffe_module.CAFFE.io
