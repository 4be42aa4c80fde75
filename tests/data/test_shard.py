"""A shard is known from its number and the paths of the source alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.data.shard import Shard
from graft.errors import UsageError


@given(st.text(max_size=40), st.integers(1, 50))
def test_each_path_is_of_exactly_one_shard(path, count):
    assert sum(Shard(number, count).takes(path) for number in range(1, count + 1)) == 1


def test_shards_are_about_equally_large():
    taken = [sum(Shard(n, 4).takes(f"a/{i}.jpg") for i in range(4000)) for n in range(1, 5)]
    assert sum(taken) == 4000
    assert min(taken) > 900


def test_a_shard_is_written_as_people_write_it():
    assert Shard.parse("3/100") == Shard(3, 100)
    assert str(Shard(3, 100)) == "3/100"
    assert Shard(3, 100).name == "00003-of-00100"


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/9999999", "٣/٤"])
def test_anything_else_is_refused_in_one_line(text):
    with pytest.raises(UsageError, match="--shard: expected I/N") as refused:
        Shard.parse(text)
    assert "\n" not in str(refused.value)
