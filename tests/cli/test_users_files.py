"""Where the user says to write: only what graft wrote before is overwritten."""

import shutil

import pytest

PAGES = {
    "classify": lambda run, image: ["classify", image, "--html"],
    "predict": lambda run, image: ["predict", run, image, "--html"],
    "explain": lambda run, image: ["explain", run, image, "--html"],
    "summary": lambda run, image: ["summary", run, "--html"],
    "explore": lambda run, image: ["explore", run, image, "--out"],
    "check": lambda run, image: ["check", image.parents[1], "--html"],
    "augment": lambda run, image: ["augment", image.parents[1], "--image-size", "16", "--out"],
}


@pytest.fixture
def image(digits):
    return sorted((digits / "1").iterdir())[0]


@pytest.mark.parametrize("verb", PAGES)
@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "mine.html"])
def test_a_file_of_the_users_is_not_overwritten(graft_here, tmp_path, finished, image, verb, name):
    mine = tmp_path / name
    mine.write_bytes(image.read_bytes())
    ended = graft_here(*PAGES[verb](finished, image), mine)
    assert (ended.code, ended.out) == (2, ""), ended
    assert ended.err.count("\n") == 1, "it is refused before any work is done"
    assert str(mine) in ended.err
    assert mine.read_bytes() == image.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("verb", ["predict", "explore", "check", "augment", "summary"])
def test_what_graft_wrote_is_written_again(graft_here, tmp_path, finished, image, verb):
    page = tmp_path / ("sheet.png" if verb == "augment" else "page.html")
    for _ in range(2):
        ended = graft_here(*PAGES[verb](finished, image), page)
        assert ended.code == 0, ended.err
    assert [file.name for file in tmp_path.iterdir()] == [page.name]


def test_a_link_to_a_file_of_the_users_is_not_overwritten_either(
    graft_here, tmp_path, finished, image
):
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    (tmp_path / "page.html").symlink_to(tmp_path / "mine.html")
    (tmp_path / "lost.html").symlink_to(tmp_path / "nowhere.html")
    for name in ("page.html", "lost.html"):
        assert graft_here("predict", finished, image, "--html", tmp_path / name).code == 2
    assert (tmp_path / "mine.html").read_text() == "<p>mine</p>"
    assert (tmp_path / "page.html").is_symlink()


@pytest.mark.parametrize("name", ["comparison.html", "comparison.pdf", "comparison.json"])
def test_a_comparison_does_not_overwrite_what_it_did_not_write(
    graft_here, tmp_path, finished, frozen_run, name
):
    (tmp_path / name).write_text("mine")
    ended = graft_here("compare", finished, frozen_run, "--out", tmp_path)
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_comparison_is_written_again(graft_here, tmp_path, finished, frozen_run):
    # Copies: `compare` writes speed.json into the runs, and other tests read these.
    runs = [shutil.copytree(run, tmp_path / run.name) for run in (finished, frozen_run)]
    for _ in range(2):
        ended = graft_here("compare", *runs, "--out", tmp_path / "both")
        assert ended.code == 0, ended.err
