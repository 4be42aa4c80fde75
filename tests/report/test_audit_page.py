import csv
import json

import pytest
from PIL import Image


@pytest.fixture
def messy(tmp_path, make_digits):
    """Digits enlarged to 64 pixels, with a copy, a blank image and an empty file."""
    source = make_digits(tmp_path / "source", "34", each=30)
    for file in source.rglob("*.png"):
        Image.open(file).resize((64, 64), Image.Resampling.BICUBIC).save(file)
    first = sorted((source / "3").iterdir())[0]
    (source / "3" / "copy.png").write_bytes(first.read_bytes())
    Image.new("RGB", (64, 64), "white").save(source / "4" / "white.png")
    (source / "4" / "void.png").write_bytes(b"")
    return source


def test_the_page_shows_each_finding_with_its_images(messy, tmp_path, graft_here):
    page = tmp_path / "pages" / "audit.html"
    ended = graft_here("check", messy, "--html", page)
    assert ended.code == 0, ended.err
    text = page.read_text()
    for words in ("Blank", "Duplicates", "Empty", "4/white.png", "3/copy.png"):
        assert words in text
    assert text.count("data:image/jpeg") >= 3
    assert "http" not in text.split("</style>")[1]


def test_the_cleaned_table_leaves_out_what_cannot_be_used_and_touches_no_file(
    messy, tmp_path, graft_here
):
    before = {file: file.read_bytes() for file in messy.rglob("*.png")}
    table = tmp_path / "cleaned.csv"
    ended = graft_here("check", messy, "--fix", table)
    assert "60 images, 3 left out" in ended.err
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = {row["image"].rsplit("/", 1)[1] for row in rows}
    assert len(rows) == 60
    assert not names & {"white.png", "void.png"}
    assert {file: file.read_bytes() for file in messy.rglob("*.png")} == before
    again = json.loads(graft_here("check", table, "--json").out)
    assert again["usable"] == 60
    assert not {i["kind"] for i in again["findings"]} & {"blank", "empty", "duplicates"}


def test_a_cleaned_table_must_be_a_table(messy, graft_here):
    ended = graft_here("check", messy, "--fix", "cleaned.txt")
    assert (ended.code, "cleaned.csv" in ended.err) == (2, True)


def test_a_model_finds_label_errors_too(digits, finished, tmp_path, graft_here):
    table = tmp_path / "flipped.csv"
    files = sorted(digits.rglob("*.png"))
    flipped = files[7]
    wrong = {"0": "1", "1": "2", "2": "0"}[flipped.parent.name]
    lines = [f"{f},{wrong if f == flipped else f.parent.name}" for f in files]
    table.write_text("\n".join(["image,label", *lines]))
    found = json.loads(graft_here("check", table, "--model", finished, "--json").out)
    told = {finding["kind"]: finding["paths"] for finding in found["findings"]}
    assert str(flipped) in told["label_error"]
    assert len(told["label_error"]) < 5
