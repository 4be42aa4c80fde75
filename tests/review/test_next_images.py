import csv
import json

import pytest

import graft
from graft.errors import UsageError
from graft.runs.run import Run

pytestmark = pytest.mark.slow
SMALL = {"model": "base_cnn", "image_size": 16, "epochs": 2, "views": 1}


@pytest.fixture(scope="module")
def made(make_digits, tmp_path_factory):
    """A run on 3 × 60 digits, and a folder of others: 50 new ones, a copy, one of the run's own
    and a file that is no image.
    """
    folder = tmp_path_factory.mktemp("next")
    source = make_digits(folder / "source", each=60)
    run = graft.train(source, out=folder / "run", **SMALL)
    new = make_digits(folder / "new", each=20, start=70)
    first = sorted((new / "0").iterdir())[0]
    (new / "copy.png").write_bytes(first.read_bytes())
    (new / "known.png").write_bytes(sorted((source / "1").iterdir())[0].read_bytes())
    (new / "broken.png").write_bytes(b"no image")
    return run, new


def test_images_to_label_are_new_readable_and_different(made):
    run, new = made
    found = graft.next_to_label(run.path, new, count=12)
    assert len({each.path for each in found.chosen}) == 12
    assert (found.looked_at, found.known, found.copies) == (60, 1, 1)
    assert [path.rpartition("/")[2] for path in found.unreadable] == ["broken.png"]
    assert not {"known.png", "broken.png"} & {each.path.rpartition("/")[2] for each in found.chosen}
    predictor = graft.load(run.path)
    for each in found.chosen[:3]:
        one = predictor.predict(each.path)
        if one.probability > 0.6:  # close calls are computed again, exactly
            assert (each.guess, each.probability) == (
                one.best_guess,
                pytest.approx(one.probability, abs=2e-3),
            )
    assert found.curve["test_images"] == sum(r["split"] == "test" for r in run.images)
    assert found.curve["labels"][0] == 6
    assert [each.path for each in graft.next_to_label(run.path, new, count=12).chosen] == [
        each.path for each in found.chosen
    ], "the same each time"


def test_the_command_writes_a_page_a_table_to_fill_in_and_json(made, graft_here, tmp_path):
    run, new = made
    page, table = tmp_path / "next.html", tmp_path / "next.csv"
    ended = graft_here(
        "next", run.path, new, "--count", 9, "--html", page, "--csv", table, "--json"
    )
    assert ended.code == 0, ended.err
    chosen = json.loads(ended.out)["chosen"]
    assert len(chosen) == 9
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["image"] for row in rows] == [each["path"] for each in chosen]
    assert {row["label"] for row in rows} == {""}
    text = page.read_text()
    assert text.count("data:image/jpeg") == 9
    assert "accuracy against labels" in text
    for row in rows:  # filled in, it is a source
        row["label"] = "0"
    again = graft_here("next", run.path, new, "--count", 9, "--csv", table)
    assert (again.code, "new .csv file" in again.err) == (2, True)


def test_without_labeled_images_there_is_no_simulation_and_it_is_said(made, tmp_path):
    run, new = made
    moved = run.path.parent / "source"
    moved.rename(tmp_path / "elsewhere")
    try:
        assert graft.next_to_label(run.path, new, count=3).curve is None
    finally:
        (tmp_path / "elsewhere").rename(moved)
    assert Run(run.path).files


def test_what_cannot_be_chosen_from_is_one_line(made, graft_here, tmp_path):
    run, new = made
    with pytest.raises(UsageError, match="at least 1"):
        graft.next_to_label(run.path, new, count=0)
    ended = graft_here("next", run.path, tmp_path / "nowhere")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    ended = graft_here("next", run.path, run.path.parent / "source", "--no-curve")
    assert ended.code == 3
    assert "in the run already" in ended.err
