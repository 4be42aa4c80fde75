from pathlib import Path

import numpy as np
import pytest
from edits import EDITS
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from test_near_duplicates import fingerprinted, scene

from graft.quality import near_cache, near_search
from graft.quality.near_cache import near_clusters, near_clusters_of_many
from graft.quality.near_cells import MOST, cells_of
from graft.quality.near_duplicates import Ints, clusters, near_pairs
from graft.quality.near_search import near_pairs_in_cells
from graft.quality.near_sketches import Sketches, reduced, sketcher
from graft.utils.progress import Progress

SILENT = Progress()


def searched(gray: np.ndarray, work: Path) -> tuple[Ints, int]:
    return near_pairs_in_cells(gray, np.arange(len(gray)), work, SILENT)


def in_cells_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_search, "cells_of", lambda sketches: cells_of(sketches, size))


def sketched(gray: np.ndarray) -> Sketches:
    small = reduced(gray)
    make = sketcher(small)
    return Sketches(make.whole(small).astype(np.float16), make)


@pytest.fixture(scope="module")
def scenes() -> np.ndarray:
    """Fingerprints of 100 scenes, then of two copies of each kind, of scenes 0 to 15."""
    random = np.random.default_rng(3)
    images = [scene(seed) for seed in range(100)]
    images += [EDITS[e](images[n], random) for n, e in enumerate([*EDITS, *EDITS])]
    return fingerprinted(images)


def test_copies_of_every_kind_are_found_as_by_comparing_all(scenes, tmp_path: Path) -> None:
    pairs, crowd = searched(scenes["gray"], tmp_path)
    assert pairs.tolist() == [[n, 100 + n] for n in range(16)] == near_pairs(scenes).tolist()
    assert crowd == 0


def test_nearly_all_are_found_in_cells_of_few_images(scenes, tmp_path: Path, monkeypatch) -> None:
    in_cells_of(8, monkeypatch)
    pairs, _ = searched(scenes["gray"], tmp_path)
    true = {(n, 100 + n) for n in range(16)}
    found = {tuple(pair) for pair in pairs.tolist()}
    assert found <= true
    assert len(found) >= 15


def test_blank_thumbnails_are_left_out(tmp_path: Path) -> None:
    gray = np.full((50, 64, 64), 90, np.uint8)
    assert len(searched(gray, tmp_path / "blank")[0]) == 0
    assert len(searched(gray[:0], tmp_path / "none")[0]) == 0


class Interrupted(np.ndarray):
    """Thumbnails of which no more than so many reads succeed."""

    left = 0

    def __getitem__(self, rows):
        if isinstance(rows, np.ndarray):
            if not Interrupted.left:
                raise KeyboardInterrupt
            Interrupted.left -= 1
        return np.asarray(self.view(np.ndarray)[rows])


def test_a_search_goes_on_where_it_was_interrupted(scenes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(near_search, "SLAB", 40)
    monkeypatch.setattr(near_search, "PAIRS", 4)
    whole, _ = searched(scenes["gray"], tmp_path / "whole")
    work, kept = tmp_path / "work", set()
    for reads in (0, 3, 9):
        Interrupted.left = reads
        with pytest.raises(KeyboardInterrupt):
            searched(scenes["gray"].view(Interrupted), work)
        now = {(file.name, file.stat().st_mtime_ns) for file in work.glob("*")}
        assert kept <= now  # what was there is neither made again nor lost
        assert not list(work.glob(".*"))
        kept = now
    Interrupted.left = 1000
    again, _ = searched(scenes["gray"].view(Interrupted), work)
    assert again.tolist() == whole.tolist()
    assert kept < {(file.name, file.stat().st_mtime_ns) for file in work.glob("*")}


def frames(count: int) -> np.ndarray:
    """Of one fixed camera: a background, noise, and a dark thing that moves."""
    random = np.random.default_rng(0)
    background = np.asarray(scene(5, 64).convert("L"), np.float32)
    gray = np.clip(background + random.normal(0, 2, (count, 64, 64)), 0, 255).astype(np.uint8)
    for frame, (y, x) in zip(gray, random.integers(0, 56, (count, 2)), strict=True):
        frame[y : y + 8, x : x + 8] = 20
    return gray


@pytest.mark.parametrize("equal", [False, True])
def test_a_crowd_is_compared_in_part_and_told(equal: bool, tmp_path: Path, monkeypatch) -> None:
    in_cells_of(32, monkeypatch)
    gray = np.repeat(frames(1), 600, 0) if equal else frames(600)
    pairs, crowd = searched(gray, tmp_path)
    assert len(pairs) <= near_search.NEAREST * 600
    sizes = sorted(map(len, clusters(pairs, 600)), reverse=True)
    assert sum(sizes) > 560
    if equal:
        assert crowd == 600


def test_each_row_is_in_one_cell_and_no_cell_is_large() -> None:
    gray = np.concatenate([frames(700), fingerprinted([scene(n) for n in range(80)])["gray"]])
    cells = cells_of(sketched(gray), 16)
    assert np.sort(cells.members).tolist() == list(range(780))
    assert np.diff(cells.starts).max() <= 16 * MOST
    assert (np.diff(cells.first) > 0).all()
    assert cells.first[-1] == len(cells.centers) == len(cells.crowded)


def test_a_row_is_in_the_cell_whose_middle_is_nearest() -> None:
    sketches = sketched(fingerprinted([scene(n) for n in range(150)])["gray"])
    cells = cells_of(sketches, 16)
    rows = sketches.rough(np.arange(150))
    for region in range(len(cells.regions)):
        for cell in range(*cells.first[region : region + 2]):
            own = rows[cells.cell(cell)]
            assert ((own @ cells.regions.T).argmax(1) == region).all()
            among = cells.centers[slice(*cells.first[region : region + 2])]
            assert ((own @ among.T).argmax(1) == cell - cells.first[region]).all()


@settings(deadline=None)
@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39))))
def test_clusters_are_the_components_of_the_graph(count: int, pairs: list) -> None:
    edges = np.array([p for p in pairs if max(p) < count and p[0] != p[1]], np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges)), edges.T), (count, count))
    _, number = connected_components(graph, directed=False)
    expected: dict[int, list[int]] = {}
    for i, own in enumerate(number.tolist()):
        expected.setdefault(own, []).append(i)
    assert clusters(edges, count) == [group for group in expected.values() if len(group) > 1]


def test_many_images_have_the_clusters_of_few_and_are_searched_once(
    scenes, tmp_path: Path, monkeypatch
) -> None:
    # Image 20 is stored twice, and 0 twice: only the first of each is compared.
    rows = np.concatenate([scenes, scenes[[20, 0]]])
    digests = [n.to_bytes(32, "big") for n in [*range(116), 20, 0]]
    positions, equal = list(range(1000, 1118)), [[1000, 1117], [1020, 1116]]
    expected = near_clusters(positions, rows, equal, None)
    arguments = (positions, rows, rows["gray"], digests, equal)
    found = near_clusters_of_many(*arguments, tmp_path)
    assert found.clusters == expected
    assert [1000, 1117, 1100] in expected
    assert [file.suffix for file in (tmp_path / "near").iterdir()] == [".safetensors"]
    monkeypatch.setattr(near_cache, "near_pairs_in_cells", None)
    assert near_clusters_of_many(*arguments, tmp_path) == found
    monkeypatch.undo()
    assert near_clusters_of_many(*arguments, None) == found


def test_very_small_images_are_left_out_of_many(scenes) -> None:
    rows = scenes.copy()
    rows["width"][:8] = 40
    digests = [n.to_bytes(32, "big") for n in range(116)]
    found = near_clusters_of_many(list(range(116)), rows, rows["gray"], digests, [], None)
    assert found.clusters == [[n, 100 + n] for n in range(8, 16)]


@pytest.mark.slow
def test_of_real_photos_all_that_is_told_of_few_is_told_of_many(
    flowers: Path, tmp_path: Path, monkeypatch
) -> None:
    photos = sorted(flowers.rglob("*.jpg"))
    np.random.default_rng(0).shuffle(photos)
    random = np.random.default_rng(1)
    images = [Image.open(photo).convert("RGB") for photo in photos[:200]]
    images += [EDITS[e](images[n], random) for n, e in enumerate([*EDITS] * 6)]
    rows = fingerprinted(images)
    in_cells_of(32, monkeypatch)
    expected = {tuple(pair) for pair in near_pairs(rows).tolist()}
    found = {tuple(pair) for pair in searched(rows["gray"], tmp_path)[0].tolist()}
    assert len(found & expected) >= 0.97 * len(expected)
    assert len(found - expected) <= 2
