import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from graft.report.glossary import GLOSSARY
from graft.report.run_page import write_report
from graft.runs.run import Run

ROOT = Path(__file__).parents[2]
HOSTILE = ["<script>alert(1)</script>", 'it\'s "quoted" & <b>bold</b>', "犬 כלב", "x" * 300]
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """A page taken apart: its text, tags, ids and images; fails where a tag does not balance."""

    def __init__(self, source):
        super().__init__()
        self.open, self.tags, self.ids, self.words, self.images, self.links = [], [], [], [], [], []
        self.feed(source)
        self.close()
        assert not self.open
        self.text = " ".join(" ".join(self.words).replace("\u00a0", " ").split())

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[key] for key in ("src", "href") if key in values]
        self.images += [values] if tag == "img" else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "title"):
            self.words.append(data)


def read(run):
    """The page of a run folder as it is now."""
    fresh = Run(run.path)
    fresh.files = run.files
    return Page(write_report(fresh).read_text(encoding="utf-8"))


@pytest.fixture
def report(tmp_path, make_run):
    return lambda *arguments, **changes: read(make_run(tmp_path, *arguments, **changes))


@pytest.fixture(scope="module")
def page(tmp_path_factory, make_run):
    return read(make_run(tmp_path_factory.mktemp("three")))


def test_the_page_is_beside_the_run_and_nothing_else_is_left(tmp_path, make_run):
    run = make_run(tmp_path)
    before = {file.name for file in run.path.iterdir()}
    assert write_report(run) == run.path / "report.html"
    assert {file.name for file in run.path.iterdir()} == before | {"report.html"}


def test_a_second_report_replaces_the_first_with_the_same(tmp_path, make_run):
    run = make_run(tmp_path)
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(page):
    # Beside itself it names the files of the mistakes, relative to it.
    elsewhere = [link for link in page.links if not link.startswith(("#", "data:image/"))]
    assert not [link for link in elsewhere if ":" in link.split("/")[0] or link.startswith("/")]
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)


def test_no_id_occurs_twice_and_every_inner_link_arrives(page):
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_the_headline_gives_accuracy_interval_and_baseline(page):
    assert (
        "The classifier is correct on 4 of 6 test images that it had never seen: 66.7 %, with a "
        "95 % interval of 56.7 to 71.7 %. Always predicting “daisy” would reach 11.1 %."
        in page.text
    )
    assert (
        "clearly better than the baseline, which always predicts the most common class" in page.text
    )


def test_the_numbers_of_the_files_are_in_the_page(page):
    for words in (
        "62.5 % 95 % interval 50.0 to 70.0 %",  # macro F1
        "4.2 % 95 % interval 1.0 to 20.0 %",  # ECE
        "2 min 5 s",
        "30 images in 3 classes, from /data/flowers",
        "daisy 6 2 2 10",
        "all classes 18 6 6 30",
        "the classifier learned from 18 (60.0 %) (train)",
        "The seed was 7.",
        "Of its 11,000,000 parameters, 2,565 were trained here",
        "The weights are those of epoch 2, with a validation loss of 0.500 and a "
        "validation accuracy of 80.0 %.",
        "daisy 2 75.0 % 55.0 to 95.0 % 50.0 % 30.0 to 70.0 % 60.0 % 40.0 to 80.0 %",
        "The most frequent mistake: 2 of 2 images of “daisy” were predicted as “rose”.",
        "Where it was about 95.0 % sure (6 images), it was correct 66.7 % of the time.",
        "temperature of 1.234, found on the validation images. It makes the model less confident.",
        "The whole run took 2 min 5 s, most of it for everything else.",
        "2 mistakes on 6 test images",
        "predicted · 95.0 % rose label · 2.5 % daisy daisy/0.jpg",
        "batch size 128",
        "versions · torch 2.9.0",
        "reading images and running the backbone: 3.50 s",
        "everything else: 2 min 0 s",
        "2026-01-02 03:04 UTC",
    ):
        assert words in page.text


def test_six_images_a_class_and_every_mistake_are_shown(page):
    assert len(page.images) == 3 * 6 + 2 + 2  # the mistakes also below the confusion matrix
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.images)
    assert all(image["alt"].endswith(".jpg") for image in page.images)


def test_every_image_leads_to_its_file(tmp_path, make_run):
    run = make_run(tmp_path)
    page = read(run)
    assert len(page.images) > 20
    assert "daisy predicted as rose" in page.text
    links = (link for link in page.links if not link.startswith(("#", "data:")))
    targets = {(run.path / unquote(link)).resolve() for link in links}
    assert targets <= {file.resolve() for file in run.files.values()}
    assert len(targets) == 18


def test_bad_slices_and_label_errors_are_shown_as_images(tmp_path, make_run):
    run = make_run(tmp_path)
    metrics = json.loads((run.path / "metrics.json").read_text())
    wrong = sorted(run.files)[:2]
    row = {"quantity": "camera", "value": "Nikon D1", "n": 30, "accuracy": 0.5, "low": 0.3}
    row |= {"high": 0.7, "p": 0.001, "worse": True, "mistakes": wrong}
    (run.path / "metrics.json").write_text(json.dumps(metrics | {"slices": [row]}))
    finding = {"kind": "label_error", "severity": "matters", "paths": wrong, "message": "look"}
    (run.path / "findings.json").write_text(json.dumps([finding]))
    page = read(run)
    assert "50.0 % on the 30 images with camera “Nikon D1”" in page.text
    assert "Mistakes in camera “Nikon D1”" in page.text
    assert "These labels are probably wrong" in page.text
    assert len(page.images) == 3 * 6 + 2 + 2 + 2 + 2


def test_hostile_names_are_words_and_never_markup(report):
    page = report(HOSTILE, each=10, wrong=4)
    assert "script" not in page.tags
    for name in HOSTILE:
        assert name in page.text


def test_hostile_paths_settings_and_messages_are_words_too(report):
    finding = {"kind": "<i>", "severity": "note", "paths": ["<u>.jpg"], "message": "<script>'\"&"}
    changes = {"config": {"settings": {"<b>": "<img src=x>"}, "source": "<h1>/<h6>"}}
    page = report(findings=[finding], **changes)
    assert not {"script", "u", "h6"} & set(page.tags)
    assert "<img src=x>" in page.text


def test_images_that_are_gone_or_broken_are_named_and_counted(tmp_path, make_run):
    run = make_run(tmp_path)
    paths = sorted(run.files)
    run.files[paths[2]].unlink()
    run.files[paths[3]].write_bytes(b"\xff\xd8\xff not an image")
    del run.files[paths[4]]
    page = read(run)
    assert "3 images of the 18 on this page can no longer be opened" in page.text
    assert paths[2] in page.text
    assert len(page.images) == 3 * 6 + 2 + 2 - 3


def test_a_report_needs_no_image_at_all(tmp_path, make_run):
    run = make_run(tmp_path)
    run.files.clear()
    assert not read(run).images


def test_images_of_every_kind_are_shown_the_right_way_up(tmp_path, make_run):
    run = make_run(tmp_path, each=5, wrong=0)
    odd = iter(sorted(run.files))
    for mode in ("L", "P", "LA", "RGBA", "CMYK", "I;16", "F", "1"):
        file = tmp_path / f"{mode.replace(';', '')}.tiff"
        if mode == "P":
            file = file.with_suffix(".gif")
            Image.new("P", (50, 40)).save(file, transparency=0)
        else:
            Image.new(mode, (50, 40)).save(file)
        run.files[next(odd)] = file
    turned = Image.Exif()
    turned[0x0112] = 6
    run.files[next(odd)] = tmp_path / "turned.jpg"
    Image.new("RGB", (900, 600)).save(tmp_path / "turned.jpg", exif=turned)
    page = read(run)
    assert len(page.images) == 15


@pytest.mark.parametrize("names", [["a", "b"], [f"class {i:03}" for i in range(120)]])
def test_two_classes_and_many_both_make_a_whole_page(names, report):
    page = report(names, each=5, wrong=1)
    assert len(page.ids) == len(set(page.ids))
    assert all(name in page.text for name in names)


def test_with_many_classes_tables_are_cut_and_it_says_so(report):
    page = report([f"class {i:03}" for i in range(60)], each=5, wrong=1)
    assert "picked at random, for 20 of the 60 classes" in page.text
    assert page.text.count("The other 40 classes") == 2
    assert "class 000 class 001 1 of 1 100 %" in page.text
    assert len(page.images) == 20 * 5 + 1 + 1


def test_no_mistake_and_no_finding_are_said_in_words(report):
    page = report(wrong=0)
    assert "None: all 6 test images were classified correctly." in page.text
    assert "Findings of the audit No findings." in page.text
    assert "No class was confused with another." in page.text


def test_findings_show_ten_files_and_blocking_ones_come_first(report):
    paths = [f"p{i}.jpg" for i in range(33)]
    small = {"kind": "tiny", "severity": "note", "paths": paths, "message": "Small images."}
    torn = {
        "kind": "two_labels",
        "severity": "blocking",
        "paths": paths[:2],
        "message": "Two labels.",
    }
    page = report(findings=[small, *[torn] * 12])
    assert page.text.index("two labels Two labels.") < page.text.index("tiny Small images.")
    assert "and 23 more, in findings.json" in page.text
    assert "… and 2 more of this kind, in findings.json." in page.text


def test_one_epoch_is_not_called_epochs(report):
    epoch = {"epoch": 1, "train_loss": 1.0, "val_loss": 0.9, "val_accuracy": 0.5, "seconds": 1}
    page = report(history=[epoch])
    assert "Training took 1 epoch and 1.00 s." in page.text


def test_a_run_without_epochs_has_no_curves(report):
    assert "No epochs were recorded." in report(history=[]).text


def test_a_lead_that_could_be_chance_is_not_called_better(report):
    near = {"value": 0.6, "low": 0.4, "high": 0.8}
    rule = {"majority_class": "rose", "accuracy": near, "chosen_on": "train"}
    assert "this could be chance" in report(metrics={"baseline": rule}).text


def test_groups_or_copies_in_two_splits_are_pointed_out(tmp_path, make_run):
    run = make_run(tmp_path)
    table = (run.path / "dataset.csv").read_text(encoding="utf-8")
    torn = re.sub(r",(\w+),0\w+,0\w+", r",\1,given:one plant,5a", table)
    (run.path / "dataset.csv").write_text(torn, encoding="utf-8")
    page = read(run)
    assert "Careful: 1 group is in more than one split" in page.text
    assert "Careful: 1 file is in more than one split" in page.text


def test_a_class_without_test_images_has_dashes_for_scores(report):
    none = dict.fromkeys(("precision", "recall", "f1", "n"), 0.0) | {"n": 0}
    none |= {f"{name}_{end}": i for name in none for i, end in enumerate(("low", "high"))}
    row = none | {"n": 2, "f1": 0.5, "recall": 0.5}
    page = report(metrics={"per_class": {"daisy": row, "rose": row, "tulip": none}})
    assert "tulip 0 0 % 0 to 100 % – –" in page.text


def test_what_a_run_does_not_know_is_left_out(tmp_path, report, make_run):
    page = report(model={"extra": {"deep": [1, {"a": None}]}})
    assert "extra · deep" in page.text
    (tmp_path / "bare").mkdir()
    run = make_run(tmp_path / "bare")
    (run.path / "config.json").write_text("{}")
    (run.path / "model.json").write_text("{}")
    metrics = json.loads((run.path / "metrics.json").read_text())
    for key in ("intervals", "temperature", "seconds"):
        del metrics[key]
    (run.path / "metrics.json").write_text(json.dumps(metrics))
    assert "Total time" not in read(run).text


def test_the_report_imports_neither_torch_nor_scikit_learn_nor_pyplot():
    code = (
        "import sys, graft.report.run_page; "
        "print([n for n in ('torch', 'sklearn', 'matplotlib.pyplot') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\[\]\s*", done.stdout)


def test_every_term_has_an_entry_of_the_same_address_in_the_docs():
    headings = re.findall(r"^### (.+)$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    addresses = {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headings}
    assert set(GLOSSARY) <= addresses


def test_every_term_that_the_page_links_to_is_explained_in_its_glossary(page):
    used = {link for link in page.links if link.startswith("#glossary-")}
    assert len(used) > 10
    assert {link[1:] for link in used} == {i for i in page.ids if i.startswith("glossary-")}
    assert "Expected calibration error (ECE) The average gap between" in page.text


def test_budgets_sets_and_abstentions_are_told_with_their_intervals(report):
    budget = {"max_error": 0.05, "min_probability": 0.69, "answered": 5, "wrong": 1}
    budget |= {"answered_interval": [0.5, 0.97], "error_interval": [0.04, 0.6]}
    sets = {"coverage": 0.9, "set_probability": 0.4, "covered": 6, "mean_size": 1.5}
    sets |= {"covered_interval": [0.6, 1.0], "mean_size_interval": [1.1, 1.9]}
    selective = {"n": 6, "error_budgets": [budget, {"max_error": 0.01, "min_probability": None}]}
    selective |= {"prediction_sets": [sets], "abstained_ood": 1}
    selective |= {"abstained_ood_interval": [0.01, 0.5]}
    text = report(metrics={"selective_prediction": selective}).text
    for words in (
        "5.0 % 69.0 % 83.3 % 50.0 to 97.0 % 1 of 5 4.0 to 60.0 %",
        "1.0 % too few validation images to show this",
        "90.0 % 100 % 60.0 to 100 % 1.50 1.10 to 1.90",
        "a false alarm: 1 of them (16.7 %, 95 % interval 1.0 to 50.0 %)",
    ):
        assert words in text
