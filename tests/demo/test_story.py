import json
import re

import pytest

from graft.demo.story import _calibration, _claims
from graft.runs.run import Run


@pytest.fixture(scope="module")
def told(tmp_path_factory, graft):
    out = tmp_path_factory.mktemp("demo") / "out"
    return graft("demo", "--out", out, "--json"), out


@pytest.mark.slow
def test_every_claim_of_the_demo_holds(told):
    ended, out = told
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert all(claim["held"] for claim in result["claims"])
    assert len(result["claims"]) == 8
    assert json.loads((out / "demo.json").read_text()) == result


@pytest.mark.slow
def test_its_page_shows_what_was_found_and_needs_nothing_else(told):
    _, out = told
    result, page = json.loads((out / "demo.json").read_text()), (out / "report.html").read_text()
    assert page.count('class="claim"') == 8
    assert f"{100 * result['ways']['frozen']['accuracy']['value']:.1f}" in page
    assert not re.search(r'(src|href)="https?:', page)
    for link in re.findall(r'href="(runs/[^"]+)"', page):
        assert (out / link).is_file()


@pytest.mark.slow
def test_an_earlier_demo_is_replaced_and_nothing_else_is(told, graft_here):
    _, out = told
    (out / "mine.txt").write_text("keep me")
    ended = graft_here("demo", "--out", out)
    assert (ended.code, ended.out) == (2, "")
    assert "something else than a demo" in ended.err
    assert (out / "mine.txt").read_text() == "keep me"


def result_with(**changes):
    """What the demo found, with all claims held but for the changes."""
    audit = {
        "label_errors": {"planted": 12, "found": 9},
        "near_duplicates": {"planted": 10, "found": 9},
        "broken": {"found": 1},
        "shortcut": {"found": 1},
    }
    found = {
        "audit": audit,
        "gains": {"frozen": {"low": 0.01}},
        "answers": {"careful": {"wrong": 5, "answered": 100, "unseen_refused": 21, "unseen": 40}},
        "calibration": {"low": 0.8, "said": 0.9, "high": 0.95},
    }
    return found | changes


def test_a_claim_that_does_not_hold_is_named():
    assert all(claim["held"] for claim in _claims(result_with()))
    tie = _claims(result_with(gains={"frozen": {"low": 0.0}}))
    assert [c["claim"] for c in tie if not c["held"]] == [
        "transfer learning beats learning from scratch, by an interval without zero"
    ]
    unsure = _claims(result_with(calibration={"low": 0.8, "said": 0.96, "high": 0.95}))
    assert sum(not claim["held"] for claim in unsure) == 1


def test_the_calibration_table_counts_every_test_image_once(finished):
    run = Run(finished)
    found = _calibration(run)
    _, labels, probabilities = run.predictions("test")
    assert sum(row["n"] for row in found["rows"]) == len(labels)
    assert found["right"] == pytest.approx(run.metrics["accuracy"]["value"])
    assert found["said"] == pytest.approx(probabilities.max(1).mean())
    for row in found["rows"]:
        assert row["from"] <= row["said"] <= row["to"]
