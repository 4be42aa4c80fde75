import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.data.checks import FEW_PER_CLASS, Audit, check_listing
from graft.data.dataset import NOTE, Dataset, Example, Issue
from graft.data.decode import UnusableImageError
from graft.data.split import FEWEST_PER_CLASS
from graft.data.stream import Loaded

KINDS = ("empty", "truncated", "unreadable", "oversized")


def digest(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def example(name: object, label: str, part: str | None = None, group: str | None = None) -> Example:
    return Example(f"{label}/{name}.jpg", Path(f"{label}/{name}.jpg"), label, part, group)


def classes_of(part: str | None = None, **counts: int) -> list[Example]:
    return [example(n, label, part) for label, count in counts.items() for n in range(count)]


def audited(
    examples: list[Example],
    contents: dict[int, object] | None = None,
    problems: dict[int, str] | None = None,
    issues: tuple[Issue, ...] = (),
) -> Audit:
    """An audit after all files were read; `contents` gives the same bytes to several."""
    audit = Audit(Dataset("source", tuple(examples), issues))
    for index, one in enumerate(examples):
        kind = (problems or {}).get(index)
        problem = UnusableImageError(kind, f"reason {index}") if kind else None
        content = digest((contents or {}).get(index, ("alone", index)))
        audit.note(Loaded(index, one.file, content, problem=problem))
    return audit


def by_kind(issues: list[Issue]) -> dict[str, Issue]:
    kinds = [issue.kind for issue in issues]
    assert len(set(kinds)) == len(kinds)
    return dict(zip(kinds, issues, strict=True))


def test_good_classes_of_thirty_have_no_issue_and_all_are_usable() -> None:
    audit = audited(classes_of(a=30, b=30))
    assert audit.issues() == []
    assert audit.usable() == list(range(60))
    assert check_listing(audit.dataset) == []


@pytest.mark.parametrize("kind", KINDS)
def test_bad_files_are_named_with_their_kind_and_kept_out(kind: str) -> None:
    examples = classes_of(a=32, b=31)
    audit = audited(examples, problems={4: kind, 40: kind})
    (issue,) = audit.issues()
    assert (issue.kind, issue.blocking) == (kind, False)
    assert issue.paths == (examples[4].path, examples[40].path)
    assert "2 pictures" in issue.message
    assert f"{examples[4].path} reason 4" in issue.message
    assert audit.usable() == [i for i in range(63) if i not in (4, 40)]


def test_each_kind_of_problem_is_an_issue_of_its_own() -> None:
    audit = audited(classes_of(a=40, b=40), problems=dict(enumerate(KINDS)))
    assert {k: i.paths for k, i in by_kind(audit.issues()).items()} == {
        kind: (f"a/{n}.jpg",) for n, kind in enumerate(KINDS)
    }


def test_the_same_bytes_under_two_labels_are_an_issue_and_all_copies_are_kept_out() -> None:
    # Two copies in a and one in b: which label is right is not known, so none is used.
    audit = audited(classes_of(a=40, b=40), {3: "same", 7: "same", 50: "same"})
    (issue,) = audit.issues()
    assert (issue.kind, issue.blocking) == ("two_labels", False)
    assert issue.paths == ("a/3.jpg", "a/7.jpg", "b/10.jpg")
    assert "a and b" in issue.message
    assert set(range(80)) - set(audit.usable()) == {3, 7, 50}


def test_pictures_with_two_labels_are_one_issue_that_says_which_belong_together() -> None:
    audit = audited(classes_of(a=40, b=40, c=40), {0: "x", 40: "x", 1: "y", 80: "y"})
    (issue,) = audit.issues()
    assert issue.sets == (("a/0.jpg", "b/0.jpg"), ("a/1.jpg", "c/0.jpg"))
    assert issue.message.startswith("2 pictures under more than one label")


def test_copies_under_one_label_are_noted_and_used() -> None:
    audit = audited(classes_of(a=40, b=40), {1: "x", 2: "x", 41: "y", 42: "y", 43: "y"})
    (issue,) = audit.issues()
    assert (issue.kind, issue.blocking) == ("duplicates", False)
    assert issue.paths == ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", "b/3.jpg")
    assert issue.message.startswith("2 pictures")
    assert audit.usable() == list(range(80))


def test_copies_in_two_given_parts_are_told_from_copies_in_one() -> None:
    examples = classes_of("train", a=40, b=40)
    examples += [example("x", "a", "test"), example("y", "b", "test")]
    audit = audited(examples, {0: "same", 80: "same", 5: "twice", 6: "twice"})
    issues = by_kind(audit.issues())
    assert set(issues) == {"two_parts", "duplicates"}
    assert issues["two_parts"].paths == ("a/0.jpg", "a/x.jpg")
    assert issues["duplicates"].paths == ("a/5.jpg", "a/6.jpg")
    assert not issues["two_parts"].blocking
    assert audit.usable() == list(range(82))


def test_equal_bytes_that_are_no_picture_are_not_copies_of_one() -> None:
    audit = audited(classes_of(a=40, b=40), {0: "x", 40: "x"}, {0: "unreadable", 40: "unreadable"})
    assert [issue.kind for issue in audit.issues()] == ["unreadable"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.integers(0, 12),
            st.sampled_from([None, None, None, *KINDS]),
        ),
        max_size=40,
    )
)
def test_usable_is_what_is_readable_and_has_one_label(
    rows: list[tuple[str, int, str | None]],
) -> None:
    examples = [example(n, label) for n, (label, _, _) in enumerate(rows)]
    contents = {n: content for n, (_, content, _) in enumerate(rows)}
    problems = {n: kind for n, (_, _, kind) in enumerate(rows) if kind}
    audit = audited(examples, contents, problems)
    readable = [row for row in rows if row[2] is None]
    labels = {c: {lab for lab, other, _ in readable if other == c} for _, c, _ in readable}
    expected = [n for n, (_, c, kind) in enumerate(rows) if not kind and len(labels[c]) == 1]
    assert audit.usable() == expected
    named = {path for issue in audit.issues() for path in issue.paths}
    assert {e.path for n, e in enumerate(examples) if n not in expected} <= named


def test_one_class_blocks() -> None:
    for issues in (audited(classes_of(a=40)).issues(), check_listing(_dataset(a=40))):
        (issue,) = issues
        assert (issue.kind, issue.blocking) == ("one_class", True)
        assert "'a'" in issue.message


def _dataset(**counts: int) -> Dataset:
    return Dataset("source", tuple(classes_of(**counts)))


def test_no_images_block_with_the_layout_that_is_expected() -> None:
    for issues in (audited([]).issues(), check_listing(_dataset())):
        (issue,) = issues
        assert (issue.kind, issue.blocking, issue.paths) == ("no_images", True, ())
        assert "SOURCE/CLASS/picture.jpg" in issue.message
    broken = audited(classes_of(a=2), problems={0: "empty", 1: "empty"}).issues()
    assert [issue.kind for issue in broken] == ["no_images", "empty"]  # the blocking one first


@pytest.mark.parametrize("count", [1, FEWEST_PER_CLASS - 1])
def test_too_few_pictures_block_and_name_the_class(count: int) -> None:
    for issues in (
        audited(classes_of(a=40, rare=count)).issues(),
        check_listing(_dataset(a=40, rare=count)),
    ):
        (issue,) = issues
        assert (issue.kind, issue.blocking) == ("too_few", True)
        assert issue.paths == tuple(f"rare/{n}.jpg" for n in range(count))
        assert f"'rare' has {count} " in issue.message


@pytest.mark.parametrize("count", [FEWEST_PER_CLASS, FEW_PER_CLASS - 1])
def test_few_pictures_are_told_and_do_not_block(count: int) -> None:
    (issue,) = audited(classes_of(a=FEW_PER_CLASS, rare=count)).issues()
    assert (issue.kind, issue.blocking) == ("few", False)
    assert "'rare'" in issue.message


def test_copies_groups_and_bad_files_do_not_make_up_for_too_few_pictures() -> None:
    copies = audited(classes_of(a=40, b=9), {40 + n: f"copy{n % 4}" for n in range(9)})
    assert by_kind(copies.issues())["too_few"].blocking
    grouped = classes_of(a=40) + [example(n, "b", None, f"g{n % 4}") for n in range(9)]
    assert by_kind(audited(grouped).issues())["too_few"].blocking
    bad = audited(classes_of(a=40, b=6), problems={40: "truncated", 41: "truncated"})
    assert by_kind(bad.issues())["too_few"].blocking
    two_labels = audited(classes_of(a=40, b=6), {0: "x", 40: "x", 1: "y", 41: "y"})
    assert two_labels.issues()[0].kind == "too_few"


def test_given_parts_need_no_five_pictures_but_some_in_train() -> None:
    parts = ("train", "val", "test")
    examples = [example(f"{part}{n}", "a", part) for part in parts for n in range(30)]
    examples += [example(part, "b", part) for part in parts]
    assert set(by_kind(audited(examples).issues())) == {"few"}
    examples += [example(n, "unseen", "test") for n in range(40)]
    issue = by_kind(audited(examples).issues())["too_few"]
    assert issue.blocking
    assert "'unseen' has no picture in train" in issue.message


def test_a_class_without_train_pictures_blocks_when_val_is_to_be_made_too() -> None:
    examples = classes_of("train", a=40) + classes_of("test", unseen=40)
    issues = by_kind(check_listing(Dataset("source", tuple(examples))))
    assert issues["too_few"].blocking
    assert "'unseen' has no picture in train" in issues["too_few"].message


def test_what_the_listing_noticed_is_told_too_and_blocking_issues_come_first() -> None:
    noticed = Issue("not_an_image", NOTE, ("notes.txt",), "1 file left out")
    issues = audited(classes_of(a=40, b=2), {0: "x", 1: "x"}, {5: "empty"}, (noticed,)).issues()
    assert noticed in issues
    assert [issue.blocking for issue in issues] == sorted(
        [issue.blocking for issue in issues], reverse=True
    )
    assert issues[0].kind == "too_few"
