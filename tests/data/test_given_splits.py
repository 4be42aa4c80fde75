from collections import defaultdict
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from graft.data import split as splitting
from graft.data.dataset import Example
from graft.data.groups import group_ids, members_of
from graft.data.split import given_splits
from graft.quality.duplicates import Duplicates, with_copies


def assign_splits(examples, digests, seed, near=(), **options):
    return splitting.assign_splits(examples, group_ids(examples, digests, near), seed, **options)


def units(examples, digests, near):
    return list(members_of(group_ids(examples, digests, near)).values())


def example(
    name: object, split: str | None = None, group: str | None = None, label: str = "a"
) -> Example:
    return Example(f"{label}/{name}.jpg", Path(f"{label}/{name}.jpg"), label, split, group)


def kinds(copies: Duplicates) -> set[str]:
    return {finding.kind for finding in copies.findings()}


SPLIT = st.sampled_from([None, None, "train", "val", "test"])
ROWS = st.lists(
    st.tuples(
        SPLIT, st.integers(0, 25), st.sampled_from([None, None, "g", "h", "i", "j"]), st.booleans()
    ),
    min_size=2,
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.integers(0, 99))
def test_what_has_no_split_is_never_trained_on_if_it_is_tied_to_a_val_or_test_image(
    rows: list[tuple[str | None, int, str | None, bool]], seed: int
) -> None:
    examples = [
        example(n, split, group, "ab"[n % 2]) for n, (split, _, group, _) in enumerate(rows)
    ]
    digests = [b"%d" % content for _, content, _, _ in rows]
    near = [[n for n, row in enumerate(rows) if row[3]]]
    splits, _ = assign_splits(examples, digests, seed, near if near[0] else ())
    for unit in units(examples, digests, near if near[0] else ()):
        told = {examples[i].split for i in unit} - {None}
        held = told - {"train"}
        free = {str(splits[i]) for i in unit if examples[i].split is None}
        if held:
            assert free <= {"test" if "test" in held else "val"}
        elif free and told:
            # They go where their train images go, which may be a split that was missing.
            assert free == {str(splits[i]) for i in unit if examples[i].split == "train"}
        assert len(free) <= 1
        for i in unit:
            if examples[i].split in ("val", "test"):
                assert splits[i] == examples[i].split


def test_copies_near_copies_and_groups_of_marked_test_images_are_tested_too() -> None:
    # The first three are marked; each has ten others tied to it, in each of three ways.
    marked = [example(f"marked{n}", "test", "g" if n == 2 else None) for n in range(3)]
    equal = [example(f"equal{n}") for n in range(10)]
    near = [example(f"near{n}") for n in range(10)]
    grouped = [example(f"grouped{n}", None, "g") for n in range(10)]
    free = [example(f"free{n}") for n in range(100)]
    examples = [*marked, *equal, *near, *grouped, *free]
    digests = [b"0" if 3 <= n < 13 else b"%d" % n for n in range(len(examples))]
    splits, notes = assign_splits(examples, digests, 0, [[1, *range(13, 23)]])
    assert set(splits[:33]) == {"test"}
    assert {"train", "val"} <= set(splits[33:])
    assert notes[0].startswith("30 without a split went where the source puts")


def test_of_several_given_splits_the_one_without_takes_test_before_val_before_train() -> None:
    def of_last(*splits: str | None) -> str | None:
        examples = [example(n, split) for n, split in enumerate([*splits, None])]
        found = given_splits(examples, [range(len(examples))])
        assert tuple(found[:-1]) == splits
        return found[-1]

    assert of_last("train", "val", "test") == "test"
    assert of_last("train", "val") == "val"
    assert of_last("train") == "train"
    assert given_splits([example(0)], [[0]]) == [None]


def test_copies_of_which_only_some_are_marked_are_no_leak() -> None:
    examples = [example(0, "test"), example(1), example(2, "test", "g"), example(3, None, "g")]
    copies = Duplicates(examples, [[0, 1]], [[0, 1, 2]])
    assert kinds(copies) == {"duplicates", "near_duplicates"}


def test_a_group_in_two_given_splits_is_told_with_all_its_images() -> None:
    examples = [
        example(0, "train", "g"),
        example(1, "test", "g"),
        example(2, "train", "h"),
        example(3, "train", "h"),
        example(4, "test"),
    ]
    (finding,) = Duplicates(examples, [], []).findings()
    assert (finding.kind, finding.severity) == ("group_two_splits", "matters")
    assert finding.sets == (("a/0.jpg", "a/1.jpg"),)
    assert finding.paths == ("a/0.jpg", "a/1.jpg")
    assert finding.message.startswith("1 group has images in more than one of the given splits")
    assert "'g'" in finding.message


def test_a_tie_of_marked_images_through_one_without_a_split_is_told_where_it_is_torn() -> None:
    # The second stands in a group with a train image and is a copy of a test image.
    examples = [example(0, "train", "g"), example(1, None, "g"), example(2, "test")]
    copies = Duplicates(examples, [[1, 2]], [])
    splits, _ = assign_splits(examples, [b"0", b"1", b"1"], 0)
    assert splits.tolist() == ["train", "test", "test"]
    assert kinds(copies) == {"group_two_splits", "duplicates"}


def test_a_group_is_not_torn_by_an_image_that_is_kept_out() -> None:
    examples = [
        example(0, "train", "g"),
        example(1, "test", "g"),
        example(2, "train", "h"),
        example(3, "test", "h"),
        example(4, "test", label="b"),
    ]
    # The second cannot be read, the fourth has the bytes of the fifth, which has another label.
    copies = Duplicates(examples, [[3, 4]], [], [0, 2, 3, 4])
    assert kinds(copies) == {"two_labels"}


@settings(max_examples=100, deadline=None)
@given(ROWS, st.integers(0, 20))
def test_where_the_audit_tells_no_torn_copies_or_groups_the_split_has_none(
    rows: list[tuple[str | None, int, str | None, bool]], seed: int
) -> None:
    examples = [example(n, split, group) for n, (split, _, group, _) in enumerate(rows)]
    by_content: dict[int, list[int]] = defaultdict(list)
    for n, row in enumerate(rows):
        by_content[row[1]].append(n)
    # One of each group of equals.
    near = [group[0] for group in by_content.values() if rows[group[0]][3]]
    equal = [g for g in by_content.values() if len(g) > 1]
    copies = Duplicates(examples, equal, with_copies([near] if len(near) > 1 else [], equal))
    told = kinds(copies) & {"two_splits", "near_two_splits", "group_two_splits"}
    digests = [b"%d" % row[1] for row in rows]
    splits, _ = assign_splits(examples, digests, seed, copies.near)
    torn = any(
        len({str(splits[i]) for i in unit}) > 1 for unit in units(examples, digests, copies.near)
    )
    source_tears = any(
        len({examples[i].split for i in unit} - {None}) > 1
        for unit in units(examples, digests, copies.near)
    )
    assert bool(told) == source_tears
    assert told or not torn


def test_a_test_split_that_the_source_marks_grows_by_nothing_that_is_not_tied_to_it() -> None:
    marked = [example(n, "test", label="ab"[n % 2]) for n in range(20)]
    others = [example(n, label="ab"[n % 2]) for n in range(20, 320)]
    digests = [b"%d" % n for n in range(320)]
    splits, _ = assign_splits([*marked, *others], digests, 7)
    assert set(splits[:20]) == {"test"}
    assert set(splits[20:]) == {"train", "val"}
    assert 20 <= (splits == "val").sum() <= 75
