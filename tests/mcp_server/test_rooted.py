"""Paths of an assistant cannot leave the root, whatever they are made of."""

import pytest

from graft.errors import UsageError
from graft.mcp_server.rooted import Rooted


@pytest.fixture
def place(tmp_path):
    root = tmp_path / "root"
    (root / "runs").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.txt").write_text("secret")
    (tmp_path / "root-2").mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "file").symlink_to(tmp_path / "secret" / "a.txt")
    (root / "circle").symlink_to(root / "circle")
    (root / "within").symlink_to(root / "runs")
    return Rooted(root)


@pytest.mark.parametrize(
    "path",
    [
        *("..", "../secret", "runs/../../secret", "/etc/passwd", "link", "link/a.txt", "file"),
        *("./././../root-2", "../root-2", "runs/\0", "link/../../secret/a.txt", "//etc"),
    ],
)
def test_a_path_that_leads_out_is_refused(place, path):
    with pytest.raises(UsageError):
        place.inside(path)


def test_a_path_below_the_root_is_resolved(place):
    assert place.inside("runs") == (place.root / "runs").resolve()
    assert place.inside("within/new") == (place.root / "runs" / "new").resolve()
    assert place.inside(str(place.root / "runs")) == (place.root / "runs").resolve()
    assert place.inside(".") == place.root.resolve()
    assert place.name(place.root / "runs") == "runs"


def test_a_circle_of_links_is_refused(place):
    with pytest.raises(UsageError):
        place.there("circle")


def test_what_is_not_there_and_what_is_already_there_are_refused(place):
    with pytest.raises(UsageError, match="no such file"):
        place.there("nothing")
    with pytest.raises(UsageError, match="there already"):
        place.free("runs")
    assert place.free("runs/new") == place.root.resolve() / "runs" / "new"


def test_a_root_that_is_itself_a_link_works(place, tmp_path):
    (tmp_path / "door").symlink_to(place.root)
    through = Rooted(tmp_path / "door")
    assert through.there("runs") == place.root.resolve() / "runs"
    with pytest.raises(UsageError):
        through.inside("../secret")
