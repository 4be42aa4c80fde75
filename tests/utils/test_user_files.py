import json

import pytest

from graft.errors import UsageError
from graft.utils.user_files import check_target, replacing_own, write_page, write_result

PAGE = '<meta name="generator" content="graft">'


def test_what_was_written_is_written_again_and_nothing_else_is(tmp_path):
    write_page(tmp_path / "new" / "page.html", PAGE)
    write_page(tmp_path / "new" / "page.html", f"{PAGE} again")
    write_result(tmp_path / "found.json", {"n": 1})
    write_result(tmp_path / "found.json", {"n": 2})
    assert json.loads((tmp_path / "found.json").read_text()) == {"generator": "graft", "n": 2}
    (tmp_path / "found.json").write_text('{"n": 3}')
    with pytest.raises(UsageError, match=r"found\.json is there already and was not written by"):
        write_result(tmp_path / "found.json", {"n": 4})
    assert (tmp_path / "found.json").read_text() == '{"n": 3}'


def test_a_table_is_never_overwritten(tmp_path):
    with replacing_own(tmp_path / "table.csv") as beside:
        beside.write_text("a,b\n")
    with pytest.raises(UsageError, match="is there already"), replacing_own(tmp_path / "table.csv"):
        pass
    assert (tmp_path / "table.csv").read_text() == "a,b\n"


def test_a_file_that_comes_meanwhile_is_kept(tmp_path):
    page = tmp_path / "page.html"

    def written_late():
        with replacing_own(page) as beside:
            beside.write_text(PAGE)
            page.write_text("mine")

    with pytest.raises(UsageError, match="is there already"):
        written_late()
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    assert page.read_text() == "mine"


def test_names_that_cannot_be_a_page_are_refused(tmp_path):
    (tmp_path / "folder.html").mkdir()
    for name, said in (("photo.jpg", "takes the name of a .html"), ("folder.html", "is a folder")):
        with pytest.raises(UsageError, match=said):
            check_target(tmp_path / name, (".html",), "--html")
