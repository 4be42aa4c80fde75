"""Files of tensors in blocks, held against the library that everybody reads them with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from graft.utils.mapped_tensors import Blocks, mapped_tensors, read_header, write_tensors

TENSORS = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="_"), min_size=1, max_size=8),
    arrays.arrays(
        st.sampled_from([np.float16, np.uint8, np.int64]),
        arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
        elements=st.just(3),
    ),
    max_size=4,
)


def same(one, other):
    assert set(one) == set(other)
    for name, value in one.items():
        assert value.dtype == other[name].dtype
        assert np.array_equal(value, other[name])


@settings(deadline=None, max_examples=50)
@given(TENSORS, st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3))
def test_what_is_written_is_what_the_library_reads(tmp_path_factory, tensors, metadata):
    path = tmp_path_factory.mktemp("tensors") / "a.safetensors"
    write_tensors(path, tensors, metadata)
    same(load_file(path), tensors)
    same(mapped_tensors(path), tensors)
    with safe_open(path, "np") as opened:
        assert (opened.metadata() or {}) == metadata


def test_what_the_library_writes_is_mapped(tmp_path):
    tensors = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "b": np.ones(5, np.uint8)}
    save_file(tensors, tmp_path / "a.safetensors", {"x": "y"})
    same(mapped_tensors(tmp_path / "a.safetensors"), tensors)
    assert set(mapped_tensors(tmp_path / "a.safetensors", ["b"])) == {"b"}


def test_rows_may_come_in_blocks_and_must_fill_the_shape(tmp_path):
    whole = np.arange(20, dtype=np.float16).reshape(10, 2)
    blocks = Blocks((10, 2), np.float16, (whole[i : i + 3] for i in range(0, 10, 3)))
    write_tensors(tmp_path / "a", {"x": blocks}, {})
    assert np.array_equal(load_file(tmp_path / "a")["x"], whole)
    for count in (9, 11):
        short = Blocks((count, 2), np.float16, iter([whole]))
        with pytest.raises(ValueError, match="not of its shape"):
            write_tensors(tmp_path / "b", {"x": short}, {})
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_file_that_was_cut_anywhere_is_not_whole(tmp_path):
    path = tmp_path / "a"
    write_tensors(path, {"x": np.ones((4, 3), np.float16)}, {"k": "v"})
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises((ValueError, KeyError, TypeError)):
            read_header(path)
    path.write_bytes(data + b"x")
    with pytest.raises(ValueError, match="bytes"):
        read_header(path)
