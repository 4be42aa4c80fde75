import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.data.brace_notation import expanded, has_braces
from graft.errors import UsageError

PLAIN = st.text("ab/-_. ", max_size=5)
NUMBER = st.integers(0, 40)


def written(number: int, width: int) -> str:
    return f"{number:0{width}d}"


RANGE = st.builds(
    lambda first, last, width: f"{{{written(first, width)}..{written(last, width)}}}",
    NUMBER,
    NUMBER,
    st.integers(1, 4),
)
ALTERNATIVES = st.lists(st.text("xyz0", max_size=3), min_size=2, max_size=3).map(
    lambda names: "{" + ",".join(names) + "}"
)


@settings(deadline=None)
@given(st.lists(st.one_of(PLAIN, RANGE, ALTERNATIVES), max_size=4).map("".join))
def test_names_are_those_of_the_package_that_webdataset_uses(text: str) -> None:
    braceexpand = pytest.importorskip("braceexpand").braceexpand
    assert expanded(text) == list(braceexpand(text))


def test_shards_are_counted_with_their_zeros_and_in_order() -> None:
    names = expanded("s3://bucket/{train,val}-{098..101}.tar")
    assert names[:2] == ["s3://bucket/train-098.tar", "s3://bucket/train-099.tar"]
    assert names[3:5] == ["s3://bucket/train-101.tar", "s3://bucket/val-098.tar"]
    assert len(names) == 8


@pytest.mark.parametrize("text", ["plain.tar", "{one}.tar", "{}", "}{", "{a..b}.tar", "a{.tar"])
def test_braces_that_stand_for_one_name_stay_as_they_are(text: str) -> None:
    assert not has_braces(text)
    assert expanded(text) == [text]


def test_more_names_than_anybody_has_files_are_refused_at_once() -> None:
    with pytest.raises(UsageError, match="more than 1,000,000 names"):
        expanded("{000000..999999}{0..9}.tar")
