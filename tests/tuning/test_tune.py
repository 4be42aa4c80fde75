"""A whole search: what it writes, and that the test split plays no part in its choices."""

import json

import numpy as np
import pytest

import graft
from graft.errors import UsageError
from graft.tuning.trial_files import TrialFiles
from graft.utils.time_budget import seconds_of

TIMES = ("seconds", "at", "curves")


def of_choice(found):
    """What a search found but for times and the test."""
    left_out = ("source", "search_seconds", "search_seconds_of_all", "seconds", "test", "honest")
    kept = {k: v for k, v in found.items() if k not in (*left_out, "best_by_time", "pareto")}
    kept.pop("over_budget"), kept.pop("outlook"), kept.pop("after_search")
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in kept.pop("trials")]
    return kept, rows


def test_wrong_test_labels_change_nothing_but_the_test(tuned, write_table, tiny, tmp_path):
    table = write_table(tmp_path / "table.csv", poisoned=True)
    poisoned = graft.tune(table, budget="5h", out=tmp_path / "run", space=tiny, engine="portfolio")
    assert of_choice(poisoned.found) == of_choice(tuned.found)
    assert tuned.found["test"]["value"] > 0.8
    assert poisoned.found["test"]["value"] < 0.2, "it was poison"
    for one, other in zip(
        TrialFiles(tuned.run.path).passes(), TrialFiles(poisoned.run.path).passes(), strict=True
    ):
        np.testing.assert_array_equal(one.logits, other.logits)


def test_no_image_of_test_is_among_those_searched_on(tuned):
    rows = {row for found in TrialFiles(tuned.run.path).passes() for row in found.rows.tolist()}
    assert rows == set(range(tuned.found["images"]))
    splits = [row["split"] for row in tuned.run.images]
    assert len(rows) == splits.count("train") + splits.count("val")
    assert tuned.found["test"]["n"] == splits.count("test")


def test_the_winner_is_an_ordinary_run(tuned, graft_here, digits):
    run = graft.Run.finished(tuned.run.path)
    paths, labels, expected = run.predictions("test")
    predictor = graft.load(run.path)
    found = predictor.predict([run.files[path] for path in paths[:6]])
    for one, row in zip(found, expected, strict=False):
        assert max(one.probabilities.values()) == pytest.approx(row.max(), abs=2e-3)
    assert run.metrics["accuracy"]["value"] == tuned.found["test"]["value"]
    assert graft_here("evaluate", run.path, digits).code == 0
    assert run.config["tuned"]["described"] == tuned.found["winner_described"]
    del labels


def test_tune_json_and_the_page_say_the_same(tuned):
    folder = tuned.run.path / "tune"
    stored = json.loads((folder / "tune.json").read_text())
    assert stored == {"generator": "graft", **json.loads(json.dumps(tuned.found))}
    page = (folder / "tune.html").read_text()
    for sentence in (*stored["reasons"], *stored["outlook"]):
        assert sentence.split(";")[0].replace("'", "&#39;") in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    assert page.count("<svg") == 5


def test_the_default_is_the_first_trial_and_every_trial_was_tested_on_all_images(tuned):
    first, *rest = tuned.found["trials"]
    assert first["candidates"][0]["head"] == "fitted"
    assert first["candidates"][0]["hidden"] == 256
    assert len(rest) >= 4
    assert {row["tested"] for row in (first, *rest)} == {tuned.found["images"]}
    assert tuned.found["compared"] == len(rest) + 1


def test_a_finished_search_is_never_overwritten(tuned, tiny, write_table, tmp_path):
    table = write_table(tmp_path / "table.csv")
    for resume in (False, True):
        with pytest.raises(UsageError, match="holds a finished run"):
            graft.tune(table, out=tuned.run.path, space=tiny, resume=resume)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"budget": "soon"}, "--budget is a time"),
        ({"epochs": 3}, "epochs itself"),
        ({"models": "base_cnn"}, "from scratch"),
        ({"engine": "luck"}, "auto, optuna or portfolio"),
        ({"time_by": "exif"}, "time-by"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(digits, tmp_path, wrong, said):
    with pytest.raises(UsageError, match=said):
        graft.tune(digits, out=tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()


def test_a_budget_is_read_as_a_time():
    assert seconds_of("2.5m", "--budget") == 150


def test_validate_refuses_a_run_whose_head_is_not_the_usual_one(tuned, graft_here):
    usual = tuned.found["trials"][tuned.found["winner"]]["candidates"][0]["hidden"] == 256
    ended = graft_here("validate", tuned.run.path, "--folds", "2")
    assert ended.code == (0 if usual else 2), ended.err
