"""What the demo plants is what its audit is held against."""

import numpy as np
import pytest
from PIL import Image

from graft.data.named_datasets import UNSEEN, materialize
from graft.demo.messy_folder import compared, make_messy_folder
from graft.demo.rendered_images import TEST, rendered_images
from graft.quality.check import check
from graft.quality.finding import Finding


@pytest.fixture(scope="module")
def images():
    return rendered_images()


@pytest.fixture(scope="module")
def planted(images, tmp_path_factory):
    return make_messy_folder(images, tmp_path_factory.mktemp("demo") / "messy")


def test_the_rendered_images_are_a_named_dataset_without_the_unseen_class(tmp_path):
    folder = materialize("rendered_objects", tmp_path)
    assert len(list(folder.iterdir())) == 6
    assert all(len(list(each.iterdir())) == 64 for each in folder.iterdir())
    assert not (folder / UNSEEN).exists()
    assert len(list((folder.parent / "unseen" / UNSEEN).iterdir())) == 40


def test_larger_tables_hold_the_smaller_and_the_test_images_are_the_same(images, tmp_path):
    def rows(train, val):
        lines = images.write_table(tmp_path / "table.csv", train, val).read_text().splitlines()
        return {tuple(line.split(",")) for line in lines[1:]}

    few, more = rows(4, 1), rows(16, 4)
    assert few < more
    assert len([row for row in more if row[2] == "test"]) == 6 * TEST
    assert len(few) == 6 * (TEST + 5)
    assert len({row[0] for row in rows(20, 14)}) == 6 * 64, "no image is in two splits"


def test_every_planted_fault_is_there(images, planted):
    for path, truth in planted.labels.items():
        name = path.partition("/")[2].removeprefix(f"{truth}-")
        moved = planted.folder / path
        assert moved.parent.name != truth
        assert not (planted.folder / truth / name).exists()
        if truth != planted.framed:
            assert moved.read_bytes() == (images.folder / truth / name).read_bytes()
    for copy, original in planted.copies.items():
        assert (planted.folder / copy).is_file()
        assert (planted.folder / original).is_file()
    with pytest.raises(OSError, match=r"truncated|image file|decode"):
        Image.open(planted.folder / planted.broken).load()
    framed = next((planted.folder / planted.framed).glob("[0-9]*"))
    edge = np.asarray(Image.open(framed).convert("RGB"))[0]
    assert edge.min() > 240


def test_the_audit_finds_them_without_a_network_but_for_the_labels(planted):
    found = compared(planted, check(planted.folder).findings)
    assert found["near_duplicates"]["found"] >= 9
    assert (found["broken"]["found"], found["broken"]["besides"]) == (1, 0)
    assert found["shortcut"]["found"] == 1
    assert found["label_errors"]["found"] == 0


def test_what_is_found_and_what_is_reported_besides_are_counted_apart(planted):
    wrong, right = next(iter(planted.labels)), "mug/000.webp"
    copy, original = next(iter(planted.copies.items()))
    findings = [
        Finding("label_error", "", (wrong, right)),
        Finding("near_duplicates", "", (), ((copy, original), ("a", "b"))),
        Finding("truncated", "", ("elsewhere.webp",)),
    ]
    found = compared(planted, findings)
    counts = {kind: (row["found"], row["besides"]) for kind, row in found.items()}
    assert counts == {
        "label_errors": (1, 1),
        "near_duplicates": (1, 1),
        "broken": (0, 1),
        "shortcut": (0, 0),
    }
