"""Reports of very many classes: the tables end early, and every class can be found."""

import csv
import shutil

import pytest

from graft.report import run_page
from graft.report.run_page import write_report
from graft.runs.digests import check
from graft.runs.run import Run


@pytest.fixture
def report(finished, tmp_path, monkeypatch):
    """The report of a run of three classes, written as if these were very many."""
    run = shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr(run_page, "MANY", 1)
    monkeypatch.setattr(run_page, "TABLE_MOST", 2)
    monkeypatch.setattr(run_page, "TABLE_SHOWN", 2)
    return write_report(Run(run))


def test_all_classes_are_in_the_table_beside_the_page(report):
    with (report.parent / "classes.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    metrics = Run(report.parent).metrics
    assert [row["class"] for row in rows] == metrics["classes"]
    for row in rows:
        scores = metrics["per_class"][row["class"]]
        assert int(row["n"]) == scores["n"] == int(row["test"])
        assert float(row["f1_low"]) == pytest.approx(scores["f1_low"], rel=1e-5)
    assert "All 3\u00a0classes are in" in report.read_text()
    assert check(report.parent) == []


def test_a_class_is_found_by_its_name_in_a_browser(report, browser):
    tab = browser.new_page()
    said = []
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("console", lambda message: said.append(message.text))
    tab.goto(report.as_uri())
    tab.fill("#class-search input", "1")
    row = tab.locator("#class-search tbody tr")
    assert row.count() == 1
    assert row.locator("th").inner_text() == "1"
    assert tab.locator("#class-search output").inner_text() == "1 class"
    tab.fill("#class-search input", "nothing")
    assert row.count() == 0
    tab.close()
    assert said == []


def test_the_page_of_few_classes_runs_no_script(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    text = write_report(Run(run)).read_text()
    assert "<script" not in text
    assert "script-src" not in text
    assert not (run / "classes.csv").exists()
