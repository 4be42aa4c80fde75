import errno
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.errors import UsageError
from graft.features import cache
from graft.features.activations import Store, open_store
from graft.features.cache import clear, trim, usage
from graft.utils.cache_folder import LOCK, cache_folder, cache_in_use, cache_limit

SHAPE = (3,)


def digest(number):
    return np.random.default_rng(number).bytes(32)


def filled(folder, numbers):
    store = Store(folder, SHAPE, np.float16)
    for number in numbers:
        store.put(digest(number), np.full(3, number, np.float16))
    store.flush()
    return store


def shards(folder):
    return sorted(folder.rglob("*.safetensors"))


AGES = st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 60)), min_size=1, max_size=6)


@settings(deadline=None)
@given(AGES, st.floats(0, 1.2))
def test_trim_removes_what_was_used_longest_ago_and_no_more(tmp_path_factory, made, share):
    root = tmp_path_factory.mktemp("cache")
    ages = {}
    for place, (age, rows) in enumerate(made):
        folder = root / "activations" / f"key{place}" / "view0"
        filled(folder, range(rows + 1))
        (shard,) = shards(folder)
        os.utime(shard, (1e9 - age, 1e9 - age))
        ages[shard] = age, shard.stat().st_size
    total = sum(size for _, size in ages.values())
    limit = int(total * share)
    removed = trim(root, limit)
    kept = {shard for shard in ages if shard.exists()}
    gone = set(ages) - kept
    assert removed == sum(ages[shard][1] for shard in gone)
    assert total - removed <= limit
    assert min([ages[s][0] for s in gone], default=10**7) >= max(
        [ages[s][0] for s in kept], default=0
    )
    if gone:  # one fewer would not have done
        last = min(gone, key=lambda s: (ages[s][0], ages[s][1]))
        smallest = min(ages[s][1] for s in gone if ages[s][0] == ages[last][0])
        largest = max(ages[s][1] for s in gone if ages[s][0] == ages[last][0])
        assert total - removed + max(smallest, largest) > limit


def test_opening_a_store_counts_as_use(tmp_path):
    for key in ("old", "new"):
        filled(open_store(tmp_path, key, "view0", SHAPE, np.float16).folder, [1])
    old, new = shards(tmp_path / "activations" / "old")[0], shards(tmp_path / "activations" / "new")
    for age, shard in ((2000, old), (1000, new[0])):
        os.utime(shard, (time.time() - age,) * 2)
    assert digest(1) in open_store(tmp_path, "old", "view0", SHAPE, np.float16)
    trim(tmp_path, old.stat().st_size)
    assert old.exists()
    assert not new[0].exists()


def test_trim_leaves_sources_and_encoders_and_clears_away_old_fragments(tmp_path):
    store = open_store(tmp_path, "key", "view0", SHAPE, np.float16)
    filled(store.folder, [1])
    old, young = store.folder / ".a.partial", store.folder / ".b.partial"
    for file in (old, young, tmp_path / "encoders" / "card", tmp_path / "sources" / "x.zip"):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(1000))
    os.utime(old, (time.time() - cache.STALE - 60,) * 2)
    trim(tmp_path, 10**9)
    assert not old.exists()
    assert len(shards(tmp_path)) == 1
    trim(tmp_path, 0)
    assert not shards(tmp_path)
    left = {file.name for file in tmp_path.rglob("*") if file.is_file()}
    assert left == {".b.partial", "card", "x.zip"}


def test_clear_removes_all_of_the_caches_own_and_nothing_else(tmp_path):
    filled(open_store(tmp_path, "key", "view0", SHAPE, np.float16).folder, range(10))
    for kind in ("encoders", "sources/datasets/digits"):
        (tmp_path / kind).mkdir(parents=True)
        (tmp_path / kind / "file").write_bytes(bytes(100))
    (tmp_path / "mine.txt").write_text("not of the cache")
    held = {entry.kind: (entry.files, entry.bytes) for entry in usage(tmp_path)}
    assert held["encoders"] == held["sources"] == (1, 100)
    assert held["activations"] == (1, shards(tmp_path)[0].stat().st_size)
    assert clear(tmp_path) == sum(size for _, size in held.values())
    assert sorted(file.name for file in tmp_path.rglob("*")) == [LOCK, "mine.txt"]
    assert clear(tmp_path) == clear(tmp_path / "nowhere") == 0
    assert not (tmp_path / "nowhere").exists()


def test_a_cache_in_use_is_not_cleared(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "new"))
    store = open_store(cache_folder(), "key", "view0", SHAPE, np.float16)
    filled(store.folder, range(10))
    with cache_in_use(), cache_in_use():
        with pytest.raises(UsageError, match="in use by another graft command"):
            clear(cache_folder())
        assert shards(tmp_path)
    assert clear(cache_folder()) > 0
    assert not shards(tmp_path)


def test_a_cache_that_cannot_be_locked_because_nothing_can_be_written_is_read(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path))

    def refused(*_, **__):
        raise PermissionError(errno.EROFS, "Read-only file system", str(tmp_path))

    monkeypatch.setattr("graft.utils.cache_folder.lock", refused)
    with cache_in_use():
        assert not list(tmp_path.iterdir())


def test_what_the_cache_holds_is_told_while_another_run_unpacks(tmp_path):
    root = tmp_path / "sources"
    program = """
import shutil, sys
from pathlib import Path
while True:
    for number in range(50):
        Path(sys.argv[1], f".unpacking-{number}", "whole").mkdir(parents=True)
    shutil.rmtree(sys.argv[1])
"""
    with subprocess.Popen([sys.executable, "-c", program, str(root)]) as process:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            usage(tmp_path)
        assert process.poll() is None
        process.kill()


def test_the_folder_and_its_limit_in_gigabytes_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("GRAFT_CACHE_LIMIT", raising=False)
    assert cache_limit() == 10 * 2**30
    monkeypatch.setenv("GRAFT_CACHE_LIMIT", "2.5")
    assert cache_limit() == 2_500_000_000
    for given_limit in ("lots", "-1", "nan", "inf"):
        monkeypatch.setenv("GRAFT_CACHE_LIMIT", given_limit)
        with pytest.raises(UsageError, match="GRAFT_CACHE_LIMIT is a number of gigabytes"):
            cache_limit()
