import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.data.dataset import Dataset, Example
from graft.data.decode import UnusableImageError
from graft.data.fingerprint import FINGERPRINT, Fingerprints
from graft.data.split import FEWEST_PER_CLASS
from graft.features.activations import Activations, open_store
from graft.quality import near_cache
from graft.quality.audit import Audit, audit
from graft.quality.class_sizes import FEW_PER_CLASS
from graft.quality.duplicates import crowd_findings, equal_groups
from graft.quality.finding import KINDS, SEVERITIES, Finding
from graft.quality.listing import check_listing

BAD_FILES = ("empty", "truncated", "unreadable", "oversized")


@dataclass
class FakeTable:
    """What the audit reads of a FeatureTable. All images are too small for near-duplicates."""

    digests: list[bytes | None]
    problems: dict[int, UnusableImageError]
    known: Activations | None = None
    asked: Sequence[int] = ()
    width: int = 40

    def fingerprints(self, rows: Sequence[int]) -> Fingerprints:
        assert not set(rows) & set(self.problems)
        found = np.zeros(len(rows), FINGERPRINT)
        found["width"] = found["height"] = self.width
        found["gray"] = np.random.default_rng(0).integers(0, 256, found["gray"].shape)
        found["spread"], found["sharpness"], found["mean"] = 60, 1, 128
        return found

    def features(self, rows: Sequence[int]) -> Activations | None:
        self.asked = rows
        return self.known


def digest(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def example(
    name: object, label: str, split: str | None = None, group: str | None = None
) -> Example:
    return Example(f"{label}/{name}.jpg", Path(f"{label}/{name}.jpg"), label, split, group)


def classes_of(split: str | None = None, **counts: int) -> list[Example]:
    return [example(n, label, split) for label, count in counts.items() for n in range(count)]


def table_of(
    count: int, contents: dict[int, object] | None = None, problems: dict[int, str] | None = None
) -> FakeTable:
    """The table of so many images; `contents` gives the same bytes to several."""
    return FakeTable(
        [digest((contents or {}).get(index, ("alone", index))) for index in range(count)],
        {i: UnusableImageError(kind, f"reason {i}") for i, kind in (problems or {}).items()},
    )


def audited(
    examples: list[Example],
    contents: dict[int, object] | None = None,
    problems: dict[int, str] | None = None,
    left_out: dict[str, tuple[str, ...]] | None = None,
) -> Audit:
    dataset = Dataset("source", tuple(examples), left_out or {})
    return audit(dataset, table_of(len(examples), contents, problems))


def by_kind(findings: Sequence[Finding]) -> dict[str, Finding]:
    kinds = [finding.kind for finding in findings]
    assert len(set(kinds)) == len(kinds)
    return dict(zip(kinds, findings, strict=True))


def test_good_classes_of_thirty_have_no_finding_and_all_are_usable() -> None:
    found = audited(classes_of(a=30, b=30))
    assert found == Audit((), list(range(60)), [])
    assert check_listing(_dataset(a=30, b=30)) == []


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_are_named_with_their_kind_and_kept_out(kind: str) -> None:
    examples = classes_of(a=32, b=31)
    found = audited(examples, problems={4: kind, 40: kind})
    (finding,) = found.findings
    assert (finding.kind, finding.blocking) == (kind, False)
    assert finding.paths == (examples[4].path, examples[40].path)
    assert "2 images" in finding.message
    assert f"{examples[4].path} reason 4" in finding.message
    assert found.usable == [i for i in range(63) if i not in (4, 40)]


def test_each_kind_of_problem_is_a_finding_of_its_own() -> None:
    found = audited(classes_of(a=40, b=40), problems=dict(enumerate(BAD_FILES)))
    assert {k: i.paths for k, i in by_kind(found.findings).items()} == {
        kind: (f"a/{n}.jpg",) for n, kind in enumerate(BAD_FILES)
    }


def test_the_same_bytes_under_two_labels_are_a_finding_and_all_copies_are_kept_out() -> None:
    # Two copies in a and one in b: which label is right is not known, so none is used.
    found = audited(classes_of(a=40, b=40), {3: "same", 7: "same", 50: "same"})
    (finding,) = found.findings
    assert (finding.kind, finding.blocking) == ("two_labels", False)
    assert finding.paths == ("a/3.jpg", "a/7.jpg", "b/10.jpg")
    assert "a and b" in finding.message
    assert set(range(80)) - set(found.usable) == {3, 7, 50}


def test_images_with_two_labels_are_one_finding_that_says_which_belong_together() -> None:
    found = audited(classes_of(a=40, b=40, c=40), {0: "x", 40: "x", 1: "y", 80: "y"})
    (finding,) = found.findings
    assert finding.sets == (("a/0.jpg", "b/0.jpg"), ("a/1.jpg", "c/0.jpg"))
    assert finding.message.startswith("2 images with more than one label for the same bytes")


def test_copies_under_one_label_are_noted_and_used() -> None:
    found = audited(classes_of(a=40, b=40), {1: "x", 2: "x", 41: "y", 42: "y", 43: "y"})
    (finding,) = found.findings
    assert (finding.kind, finding.blocking) == ("duplicates", False)
    assert finding.paths == ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", "b/3.jpg")
    assert finding.message.startswith("2 images")
    assert found.usable == list(range(80))


def test_copies_in_two_given_splits_differ_from_copies_in_one() -> None:
    examples = classes_of("train", a=40, b=40)
    examples += [example("x", "a", "test"), example("y", "b", "test")]
    found = audited(examples, {0: "same", 80: "same", 5: "twice", 6: "twice"})
    findings = by_kind(found.findings)
    assert set(findings) == {"two_splits", "duplicates"}
    assert findings["two_splits"].paths == ("a/0.jpg", "a/x.jpg")
    assert findings["duplicates"].paths == ("a/5.jpg", "a/6.jpg")
    assert not findings["two_splits"].blocking
    assert found.usable == list(range(82))


def test_equal_bytes_that_are_no_image_are_not_copies_of_one() -> None:
    found = audited(classes_of(a=40, b=40), {0: "x", 40: "x"}, {0: "unreadable", 40: "unreadable"})
    assert [finding.kind for finding in found.findings] == ["unreadable"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.integers(0, 12),
            st.sampled_from([None, None, None, *BAD_FILES]),
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
    found = audited(examples, contents, problems)
    readable = [row for row in rows if row[2] is None]
    labels = {c: {lab for lab, other, _ in readable if other == c} for _, c, _ in readable}
    expected = [n for n, (_, c, kind) in enumerate(rows) if not kind and len(labels[c]) == 1]
    assert found.usable == expected
    named = {path for finding in found.findings for path in finding.paths}
    assert {e.path for n, e in enumerate(examples) if n not in expected} <= named


def test_one_class_blocks() -> None:
    for findings in (audited(classes_of(a=40)).findings, check_listing(_dataset(a=40))):
        (finding,) = findings
        assert (finding.kind, finding.blocking) == ("one_class", True)
        assert "'a'" in finding.message


def _dataset(**counts: int) -> Dataset:
    return Dataset("source", tuple(classes_of(**counts)))


def test_no_images_block_with_the_layout_that_is_expected() -> None:
    for findings in (audited([]).findings, check_listing(_dataset())):
        (finding,) = findings
        assert (finding.kind, finding.blocking, finding.paths) == ("no_images", True, ())
        assert "SOURCE/CLASS/image.jpg" in finding.message
    broken = audited(classes_of(a=2), problems={0: "empty", 1: "empty"}).findings
    # The blocking ones first.
    assert [finding.kind for finding in broken] == ["lost_class", "no_images", "empty"]


@pytest.mark.parametrize("count", [1, FEWEST_PER_CLASS - 1])
def test_too_few_images_block_and_name_the_class(count: int) -> None:
    for findings in (
        audited(classes_of(a=40, rare=count)).findings,
        check_listing(_dataset(a=40, rare=count)),
    ):
        (finding,) = findings
        assert (finding.kind, finding.blocking) == ("too_few", True)
        assert finding.paths == tuple(f"rare/{n}.jpg" for n in range(count))
        assert f"'rare' has {count} " in finding.message


@pytest.mark.parametrize("count", [FEWEST_PER_CLASS, FEW_PER_CLASS - 1])
def test_few_images_are_a_finding_that_does_not_block(count: int) -> None:
    (finding,) = audited(classes_of(a=FEW_PER_CLASS, rare=count)).findings
    assert (finding.kind, finding.blocking) == ("few", False)
    assert "'rare'" in finding.message


def test_copies_groups_and_bad_files_do_not_make_up_for_too_few_images() -> None:
    copies = audited(classes_of(a=40, b=9), {40 + n: f"copy{n % 4}" for n in range(9)})
    assert by_kind(copies.findings)["too_few"].blocking
    grouped = classes_of(a=40) + [example(n, "b", None, f"g{n % 4}") for n in range(9)]
    assert by_kind(audited(grouped).findings)["too_few"].blocking
    bad = audited(classes_of(a=40, b=6), problems={40: "truncated", 41: "truncated"})
    assert by_kind(bad.findings)["too_few"].blocking
    two_labels = audited(classes_of(a=40, b=6), {0: "x", 40: "x", 1: "y", 41: "y"})
    assert two_labels.findings[0].kind == "too_few"


def test_given_splits_need_no_five_images_but_some_in_train() -> None:
    splits = ("train", "val", "test")
    examples = [example(f"{split}{n}", "a", split) for split in splits for n in range(30)]
    examples += [example(split, "b", split) for split in splits]
    assert set(by_kind(audited(examples).findings)) == {"few"}
    examples += [example(n, "unseen", "test") for n in range(40)]
    finding = by_kind(audited(examples).findings)["too_few"]
    assert finding.blocking
    assert "'unseen' has no image in train" in finding.message


def test_a_class_without_train_images_blocks_when_val_is_to_be_made_too() -> None:
    examples = classes_of("train", a=40) + classes_of("test", unseen=40)
    findings = by_kind(check_listing(Dataset("source", tuple(examples))))
    assert findings["too_few"].blocking
    assert "'unseen' has no image in train" in findings["too_few"].message


def test_what_the_listing_left_out_is_a_finding_and_blocking_findings_come_first() -> None:
    left_out = {"not_an_image": ("notes.txt",), "missing": ("x.jpg", "y.jpg")}
    examples = classes_of(a=40, b=2)
    found = audited(examples, {0: "x", 1: "x"}, {5: "empty"}, left_out).findings
    assert [finding.kind for finding in found] == [
        *("too_few", "missing", "empty", "not_an_image", "duplicates")
    ]
    assert by_kind(found)["missing"].paths == ("x.jpg", "y.jpg")
    assert by_kind(found)["missing"].message.startswith("2 files in the table do not exist; ")
    listed = check_listing(Dataset("source", tuple(examples), left_out))
    assert {finding.kind for finding in listed} == {"not_an_image", "missing", "too_few"}


def test_a_class_that_loses_most_of_its_images_blocks_and_says_why() -> None:
    lost = dict.fromkeys(range(40, 61), "unreadable")
    finding = by_kind(audited(classes_of(a=40, fish=40), problems=lost).findings)["lost_class"]
    assert finding.blocking
    assert finding.message.startswith("class 'fish' loses 21 of its 40 images, which cannot be")
    assert "(fish/0.jpg reason 40)" in finding.message
    assert finding.paths == tuple(f"fish/{n}.jpg" for n in range(21))
    half = dict.fromkeys(range(40, 60), "unreadable")
    assert "lost_class" not in by_kind(audited(classes_of(a=40, b=40), problems=half).findings)


def test_what_the_listing_left_out_of_a_class_counts_as_lost_whatever_is_left() -> None:
    gone = {"missing": ("x.jpg",)}
    examples = tuple(classes_of(a=40, b=40))
    whole = Dataset("source", examples, gone, {"fish": 40, "b": 40})
    assert "lost_class" not in by_kind(check_listing(Dataset("source", examples, gone, {"b": 40})))
    for findings in (check_listing(whole), audit(whole, table_of(80)).findings):
        finding = by_kind(findings)["lost_class"]
        assert finding.message.startswith("class 'fish' loses 40 of its 40 images")
    both = Dataset("source", examples, gone, {"fish": 40, "b": 41})
    message = by_kind(check_listing(both))["lost_class"].message
    assert message.startswith("classes 'b' and 'fish' lose more than half of their images")


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_table_without_any_train_rows_blocks(split: str) -> None:
    examples = classes_of(split, a=40, b=40)
    for findings in (check_listing(Dataset("s", tuple(examples))), audited(examples).findings):
        blocking = [finding for finding in findings if finding.blocking]
        assert {finding.kind for finding in blocking} == {"too_few"}
        assert "no image in train" in blocking[0].message


def test_many_small_classes_are_one_finding() -> None:
    small = {f"c{n:03d}": 3 + n % 20 for n in range(200)}
    findings = audited(classes_of(**small)).findings
    found = by_kind(findings)
    assert set(found) == {"too_few", "few"}
    assert found["too_few"].message.startswith(
        "20 classes have fewer than 5 different usable images ('c000' 3, 'c020' 3, "
    )
    assert found["few"].message.startswith("180 classes have fewer than 30 images ('c002' 5, ")
    assert sum(len(finding.message) for finding in findings) < 600
    unlearned = by_kind(audited(classes_of("test", **small) + classes_of("train", z=40)).findings)
    assert unlearned["too_few"].message.startswith("200 classes ('c000', 'c001', 'c002' and 197 mo")


def test_label_errors_are_looked_for_among_usable_images_only(tmp_path: Path) -> None:
    # Image 3 cannot be read, 7 and 50 have the same bytes; image 9 looks like the other class.
    examples = classes_of(a=40, b=40)
    table = table_of(80, {7: "x", 50: "x"}, {3: "truncated"})
    usable = [i for i in range(80) if i not in (3, 7, 50)]
    rows = np.random.default_rng(0).uniform(-0.1, 0.1, (len(usable), 4)).astype(np.float16)
    rows[:, 0] += [float(i >= 40 or i == 9) for i in usable]
    store = open_store(tmp_path, "key", "view0", (4,), np.float16)
    for i, row in zip(usable, rows, strict=True):
        store.put(digest(i), row)
    table.known = store.gather([digest(i) for i in usable])
    dataset = Dataset("source", tuple(examples))
    found = by_kind(audit(dataset, table).findings)
    assert set(found) == {"truncated", "two_labels", "label_error"}
    assert found["label_error"].paths == ("a/9.jpg",)
    assert table.asked == usable
    without = audit(dataset, table, labels=False).findings
    assert set(by_kind(without)) == {"truncated", "two_labels"}


def test_near_duplicates_are_clusters_with_every_copy_and_are_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def pairs(fingerprints: Fingerprints) -> np.ndarray:
        asked.append(len(fingerprints))
        return np.array([[0, 4]])

    monkeypatch.setattr(near_cache, "near_pairs", pairs)
    examples = classes_of(a=40, b=40)
    # Of 80 images one cannot be read, and two are copies of the first: 77 are compared.
    table = table_of(80, {0: "x", 2: "x", 3: "x"}, {1: "empty"})
    for _ in range(2):
        found = audit(Dataset("source", tuple(examples)), table, tmp_path)
        assert found.near == [[0, 2, 3, 7]]
        assert by_kind(found.findings)["near_duplicates"].sets == (
            ("a/0.jpg", "a/2.jpg", "a/3.jpg", "a/7.jpg"),
        )
    assert asked == [77]
    (stored,) = (tmp_path / "near").iterdir()
    stored.write_bytes(b"damaged")
    assert audit(Dataset("source", tuple(examples)), table, tmp_path).near == found.near
    table.width = 41
    audit(Dataset("source", tuple(examples)), table, tmp_path)
    assert asked == [77, 77, 77]


def test_every_kind_of_finding_has_a_severity_and_a_meaning() -> None:
    for kind, (severity, meaning) in ((name, (k.severity, k.meaning)) for name, k in KINDS.items()):
        assert severity in SEVERITIES, kind
        assert meaning, kind
    with pytest.raises(KeyError):
        _ = Finding("no such kind", "message").severity


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([b"a", b"b", b"c", None]))))
def test_equal_files_are_groups_in_the_order_of_the_first(digests) -> None:
    expected: dict[bytes, list[int]] = {}
    for position, name in digests:
        if name is not None:
            expected.setdefault(name, []).append(position)
    assert equal_groups(digests) == [group for group in expected.values() if len(group) > 1]


def test_more_images_than_are_compared_with_all_have_the_same_findings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    examples = classes_of(a=40, b=40)
    table = table_of(80, {0: "x", 2: "x", 3: "x"}, {1: "empty"})
    table.width = 60
    dataset = Dataset("source", tuple(examples))
    expected = audit(dataset, table)
    monkeypatch.setattr("graft.quality.audit.LARGE", 10)
    assert audit(dataset, table) == expected


def test_a_crowd_is_told() -> None:
    assert crowd_findings(0) == []
    (finding,) = crowd_findings(123_456)
    assert finding.kind == "not_checked"
    assert "123,456 images are so much alike" in finding.message
