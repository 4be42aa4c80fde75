import csv
import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.data.dataset import Dataset, Example
from graft.errors import DataError, UsageError
from graft.quality.corrected import apply, existing_journal
from graft.quality.correction import Correction
from graft.quality.corrections import COLUMNS, append, read_journal, undo


def sha(name):
    return hashlib.sha256(str(name).encode()).hexdigest()


def relabel(name, old, new):
    return Correction("relabel", sha(name), f"{old}/{name}.jpg", old, new)


def keep(name, label):
    return Correction("keep", sha(name), f"{label}/{name}.jpg", label, label)


def keep_out(name, label):
    return Correction("keep_out", sha(name), f"{label}/{name}.jpg", label, "")


def rename(old, new):
    return Correction("rename", "", "", old, new)


def source(**images):
    """A dataset of images by name with their labels, and the digests of their bytes."""
    examples = [Example(f"{v}/{k}.jpg", Path(f"{v}/{k}.jpg"), v) for k, v in images.items()]
    return Dataset("photos", tuple(examples)), [bytes.fromhex(sha(name)) for name in images]


def labels_after(journal, **images):
    """The label of each image by name; those left out are not there."""
    applied = apply(*source(**images), journal)
    names = list(images)
    return {names[row]: applied.dataset.examples[row].label for row in applied.kept}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "decisions.csv"


def test_a_journal_is_a_table_that_csv_reads(file):
    append(file, [relabel("a", "rose", "tulip"), keep("b", 'a "rare", wild\nrose')])
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert [row["new"] for row in rows] == ["tulip", 'a "rare", wild\nrose']
    assert [row["sha256"] for row in rows] == [sha("a"), sha("b")]
    assert rows[0]["when"].endswith("+00:00")


def test_each_decision_does_what_it_says(file):
    append(file, [relabel("a", "rose", "tulip"), keep_out("b", "rose"), keep("c", "rose")])
    append(file, [Correction("move", sha("d"), "d.jpg", "rose", "wild rose")])
    append(file, [Correction("delete", sha("e"), "e.jpg", "tulip", ""), rename("tulip", "lily")])
    images = {"a": "rose", "b": "rose", "c": "rose", "d": "rose", "e": "tulip", "f": "tulip"}
    found = labels_after(read_journal(file), **images)
    assert found == {"a": "lily", "c": "rose", "d": "wild rose", "f": "lily"}


def test_what_was_undone_does_not_hold_and_stays_to_be_read(file):
    append(file, [relabel("a", "rose", "tulip")])
    append(file, [relabel("b", "rose", "tulip"), rename("rose", "wild rose")])
    undo(file, 2)
    journal = read_journal(file)
    assert [one.sha256 for one in journal.standing] == [sha("a")]
    assert [one.decision for one in journal.lines][-2:] == ["undo", "undo"]
    assert labels_after(journal, a="rose", b="rose", c="tulip") == {
        "a": "tulip",
        "b": "rose",
        "c": "tulip",
    }


def test_one_image_is_taken_back_among_others(file):
    append(file, [relabel("a", "rose", "tulip"), keep("b", "rose")])
    undo(file, sha256=sha("a"))
    assert [one.decision for one in read_journal(file).standing] == ["keep"]
    with pytest.raises(UsageError, match="0 decisions can be taken back on this image, not 1"):
        undo(file, sha256=sha("a"))


def test_the_last_of_some_kinds_is_taken_back_unless_another_kind_came_after_it(file):
    append(file, [relabel("a", "rose", "tulip"), keep("b", "rose")])
    append(file, [Correction("move", sha("b"), "b.jpg", "rose", "tulip")])
    with pytest.raises(UsageError, match="was decided about again since; take that back first"):
        undo(file, kinds=("keep", "relabel"))
    with pytest.raises(UsageError, match="0 decisions can be taken back, not 1"):
        undo(file, kinds=("rename",))
    undo(file, kinds=("move",))
    undo(file, 2, kinds=("keep", "relabel"))
    assert read_journal(file).standing == ()


def test_a_rename_that_was_used_since_is_not_taken_back_alone(file):
    append(file, [rename("rose", "wild rose"), relabel("a", "wild rose", "tulip")])
    append(file, [keep("b", "tulip")])
    with pytest.raises(UsageError, match="take those back first"):
        undo(file, sha256="")
    undo(file, 3)
    assert read_journal(file).standing == ()


def test_a_decision_that_contradicts_an_earlier_one_is_refused_and_nothing_written(file):
    append(file, [relabel("a", "rose", "tulip")])
    before = file.read_bytes()
    with pytest.raises(UsageError, match=r"label was 'rose', but .* the label is 'tulip'"):
        append(file, [keep("b", "rose"), relabel("a", "rose", "daisy")])
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("bad", "needle"),
    [
        (relabel("a", "rose", "rose"), "two classes"),
        (relabel("a", "rose", ""), "two classes"),
        (replace(keep("a", "rose"), new="tulip"), "same class"),
        (replace(keep_out("a", "rose"), new="rose"), "nothing in new"),
        (replace(keep("a", "rose"), sha256="abc"), "64 hexadecimal digits"),
        (replace(rename("a", "b"), sha256=sha("a")), "empty for a rename"),
        (replace(keep("a", "rose"), decision="like"), "one of relabel, keep_out"),
        (replace(keep("a", "rose"), path="\ud800"), "surrogate"),
        (replace(keep("a", "rose"), when="yesterday"), "2026-11-30T16:05:00"),
        (replace(keep("a", "rose"), when="2026-11-30T16:05:00"), "2026-11-30T16:05:00"),
    ],
)
def test_an_impossible_decision_is_refused(file, bad, needle):
    with pytest.raises(UsageError, match=needle):
        append(file, [bad])
    assert read_journal(file).lines == ()


def test_the_half_line_of_a_killed_writer_is_left_out_said_and_written_over(file):
    append(file, [keep("a", "rose"), relabel("b", "rose", "tulip")])
    whole = file.read_bytes()
    first = whole[: whole.rindex(b"\n", 0, -1) + 1]
    for end in range(len(first) + 1, len(whole) - 1):  # cut anywhere in the last line
        file.write_bytes(whole[:end])
        journal = read_journal(file)
        assert [one.decision for one in journal.standing] == ["keep"], whole[:end]
        assert journal.cut_off
        assert "cut off" in journal.notes[0]
    append(file, [keep("c", "rose")])
    assert [one.sha256 for one in read_journal(file).standing] == [sha("a"), sha("c")]
    assert not read_journal(file).cut_off


@pytest.mark.parametrize("end", range(len(",".join(COLUMNS)) + 1))
def test_a_journal_cut_off_in_its_first_line_is_an_empty_one(file, end):
    file.write_bytes(",".join(COLUMNS).encode()[:end])
    assert read_journal(file).lines == ()
    append(file, [keep("a", "rose")])
    assert len(read_journal(file).lines) == 1


def test_a_last_line_without_its_end_counts_where_its_quotes_are_closed(file):
    append(file, [keep("a", "rose")])
    file.write_bytes(file.read_bytes().rstrip())
    assert len(read_journal(file).standing) == 1
    append(file, [keep("b", "rose")])
    assert len(read_journal(file).standing) == 2


def test_a_journal_that_a_spreadsheet_saved_is_read(file):
    append(file, [keep("a", "rose"), relabel("b", "rose", "tulip")])
    lines = list(read_journal(file).lines)
    text = file.read_text().replace('"', "").replace("\n", "\r\n")
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert list(read_journal(file).lines) == lines


@pytest.mark.parametrize(
    ("damage", "needle"),
    [
        (lambda text: text.replace("keep", "keap"), "line 2: decision is one of"),
        (lambda text: text.replace(sha("b"), "xyz"), "line 3: sha256 is 64"),
        (lambda text: text.replace('"tulip",', ""), "line 3: expected 6 cells"),
        (lambda text: text.replace('"rose"', '"rose', 1), "line 2: "),
        (lambda text: text.replace("when", "time"), "expected a journal of corrections"),
        (lambda text: "image,label\na.jpg,rose\n", "expected a journal of corrections"),
        (lambda text: "just words", "expected a journal of corrections"),
        (lambda text: text + text.splitlines()[2] + "\n", "line 5: .* the label is 'tulip'"),
        (lambda text: text.replace('"relabel"', '"undo"'), "line 3: there is no such decision"),
    ],
)
def test_a_damaged_journal_is_one_line_that_names_the_place(file, damage, needle):
    append(file, [keep("a", "rose"), relabel("b", "rose", "tulip"), keep("c", "rose")])
    file.write_text(damage(file.read_text()))
    with pytest.raises(DataError, match=needle) as raised:
        read_journal(file)
    assert str(raised.value).startswith(str(file))
    assert "\n" not in str(raised.value)
    before = file.read_bytes()
    with pytest.raises(DataError):
        append(file, [keep("d", "rose")])
    assert file.read_bytes() == before


def test_a_file_of_zeros_a_folder_and_a_huge_file_are_refused(tmp_path):
    (tmp_path / "zeros").write_bytes(b"\0" * 1000)
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(2**26 + 1)
    os.mkfifo(tmp_path / "pipe")
    for name in ("zeros", "huge", "pipe"):
        with pytest.raises(DataError, match="expected a journal of corrections"):
            read_journal(tmp_path / name)
    with pytest.raises(DataError):
        read_journal(tmp_path)


def test_a_class_that_is_not_there_is_named_with_its_line(file):
    append(file, [keep("a", "rose"), relabel("b", "rose", "tulpi")])
    with pytest.raises(DataError, match=r"decisions.csv, line 3: there is no class 'tulpi'"):
        labels_after(read_journal(file), a="rose", b="rose", c="tulip")
    undo(file)
    append(file, [rename("lily", "tulip")])
    with pytest.raises(DataError, match="there is no class 'lily'"):
        labels_after(read_journal(file), a="rose", b="rose")


def test_a_class_is_gone_once_it_is_renamed(file):
    append(file, [rename("rose", "wild rose"), relabel("a", "tulip", "rose")])
    with pytest.raises(DataError, match="there is no class 'rose'"):
        labels_after(read_journal(file), a="tulip", b="rose")


def test_a_label_that_the_source_has_changed_since_is_a_conflict_unless_it_is_the_right_one(file):
    append(file, [relabel("a", "rose", "tulip")])
    journal = read_journal(file)
    assert labels_after(journal, a="tulip", b="rose") == {"a": "tulip", "b": "rose"}
    with pytest.raises(DataError, match=r"line 2: .* was 'rose', but photos says 'daisy'"):
        labels_after(journal, a="daisy", b="tulip")


def test_images_that_are_not_there_are_counted_and_a_foreign_journal_is_refused(file):
    append(file, [relabel("a", "rose", "tulip"), keep("gone", "rose")])
    applied = apply(*source(a="rose", b="tulip"), read_journal(file))
    assert [one.sha256 for one in applied.missing] == [sha("gone")]
    assert any("1 image of the corrections not in the source" in note for note in applied.notes)
    with pytest.raises(DataError, match="none of its 2 images is in photos"):
        apply(*source(c="rose", d="tulip"), read_journal(file))


def test_copies_of_the_same_bytes_share_a_decision(file):
    append(file, [relabel("a", "rose", "tulip")])
    dataset, digests = source(a="rose", b="tulip")
    applied = apply(dataset, [digests[0], digests[0]], read_journal(file))
    assert [example.label for example in applied.dataset.examples] == ["tulip", "tulip"]


def test_a_journal_that_a_user_names_must_be_there(file):
    with pytest.raises(UsageError, match="there is no such journal"):
        existing_journal(file)


WRITER = """
import sys
from graft.quality.correction import Correction
from graft.quality.corrections import append
for n in range(20):
    name = sys.argv[2] + f"{n:063x}"
    append(sys.argv[1], [Correction("keep", name, "a,b\\n", "rose", "rose")] )
"""


def test_several_writers_at_once_lose_nothing(file):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, file, digit]) for digit in "abc"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    assert len(read_journal(file).standing) == 60


def test_a_full_disk_leaves_the_journal_as_it_was(file, monkeypatch):
    append(file, [keep("a", "rose")])
    before, real = file.read_bytes(), os.write

    def half(descriptor, data):
        if len(data) > 10 and b"keep" in bytes(data):
            return real(descriptor, bytes(data)[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        append(file, [keep("b", "rose")])
    monkeypatch.undo()
    assert file.read_bytes() == before


CLASSES = st.sampled_from(["rose", "tulip", 'wild "dog,\nrose'])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["relabel", "move", "keep", "keep_out", "delete", "undo"]),
        st.sampled_from("abcd"),
        CLASSES,
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_history_reads_back_as_a_list_of_states_kept_by_hand(tmp_path_factory, steps):
    """The independent reference: a stack of labels for each image, None for left out."""
    file = tmp_path_factory.mktemp("journal") / "decisions.csv"
    begun = dict(zip("abcd", ("rose", "tulip", 'wild "dog,\nrose', "rose"), strict=True))
    states = {name: [label] for name, label in begun.items()}
    for decision, name, wanted in steps:
        stack = states[name]
        if decision == "undo":
            possible = len(stack) > 1
            if possible:
                undo(file, sha256=sha(name))
                stack.pop()
            continue
        old = stack[-1]
        new = {"keep": old, "keep_out": None, "delete": None}.get(decision, wanted)
        if old is None or (decision in ("relabel", "move") and new == old):
            continue
        append(file, [Correction(decision, sha(name), name, old, new or "")])
        stack.append(new)
    if not file.exists():
        return
    journal = read_journal(file)
    found = labels_after(journal, **begun) if journal.standing else begun
    assert found == {n: s[-1] for n, s in states.items() if s[-1] is not None}
    assert len(journal.standing) == sum(len(stack) - 1 for stack in states.values())
    # Whatever byte a writer was killed at, what it had written whole is there.
    data, last = file.read_bytes(), len(journal.lines)
    file.write_bytes(data[:-2])
    assert len(read_journal(file).lines) == last - 1
