import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from graft.errors import UsageError
from graft.features import cache
from graft.features.cache import Store, cache_limit, clear, key_of, open_store, trim, usage

SHAPE = (3,)


def digest(number):
    return np.random.default_rng(number).bytes(32)


def value(number):
    return np.float16([number, number / 2, -number])


def filled(folder, numbers):
    store = Store(folder, SHAPE, np.float16)
    for number in numbers:
        store.put(digest(number), value(number))
    store.flush()
    return store


def shards(folder):
    return sorted(folder.rglob("*.safetensors"))


NUMBERS = st.lists(st.integers(0, 50), min_size=1, unique=True)


@settings(deadline=None)
@given(st.data(), st.lists(NUMBERS, min_size=1, max_size=4))
def test_rows_come_back_in_the_order_asked_for(tmp_path_factory, data, runs):
    folder = tmp_path_factory.mktemp("store")
    for numbers in runs:
        filled(folder, numbers)
    known = sorted({number for numbers in runs for number in numbers})
    wanted = data.draw(st.lists(st.sampled_from(known), min_size=1))
    rows = data.draw(st.lists(st.integers(0, len(wanted) - 1), min_size=1))
    activations = Store(folder, SHAPE, np.float16).gather([digest(n) for n in wanted])
    assert len(activations) == len(wanted)
    expected = np.stack([value(wanted[row]) for row in rows])
    assert np.array_equal(activations[np.array(rows)], expected)


def test_a_row_that_was_never_put_is_missed(tmp_path):
    store = filled(tmp_path, [1, 2])
    assert digest(1) in store
    assert digest(3) not in store
    with pytest.raises(KeyError):
        store.gather([digest(1), digest(3)])


def test_rows_wait_in_memory_until_a_shard_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SHARD_ROWS", 4)
    store = Store(tmp_path, SHAPE, np.float16)
    for number in range(9):
        store.put(digest(number), value(number))
        assert digest(number) in store
        assert len(shards(tmp_path)) == (number + 1) // 4


def test_a_shard_of_another_shape_is_left_alone(tmp_path):
    filled(tmp_path, [1])
    other = Store(tmp_path, (5,), np.float16)
    assert digest(1) not in other
    assert len(shards(tmp_path)) == 1


@settings(deadline=None, max_examples=40)
@given(st.floats(0, 1, exclude_max=True))
def test_a_shard_cut_short_is_removed_and_its_rows_computed_again(tmp_path_factory, share):
    folder = tmp_path_factory.mktemp("store")
    filled(folder, range(5))
    (whole,) = shards(folder)
    filled(folder, range(5, 9))
    whole.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    store = Store(folder, SHAPE, np.float16)
    assert not whole.exists()
    assert [n for n in range(9) if digest(n) in store] == [5, 6, 7, 8]
    for number in range(5):
        store.put(digest(number), value(number))
    activations = store.gather([digest(n) for n in range(9)])
    assert np.array_equal(activations[np.arange(9)], np.stack([value(n) for n in range(9)]))


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_a_file_that_is_no_shard_is_as_good_as_absent(tmp_path_factory, junk):
    folder = tmp_path_factory.mktemp("store")
    (folder / "junk.safetensors").write_bytes(junk)
    (folder / "header.safetensors").write_bytes(len(junk).to_bytes(8, "little") + junk)
    (folder / "json.safetensors").write_bytes((2).to_bytes(8, "little") + b"[]" + junk)
    assert digest(1) not in Store(folder, SHAPE, np.float16)
    assert digest(1) in filled(folder, [1])


def test_keys_are_equal_only_if_every_value_is():
    same = {"encoder": "abc", "backend": "torch", "format": 1}
    assert key_of(**same) == key_of(**dict(reversed(same.items())))
    changed = [{**same, "encoder": "abd"}, {**same, "format": 2}, {**same, "more": None}]
    assert len({key_of(**d) for d in [same, *changed]}) == 4


WRITER = """
import sys
from pathlib import Path
import numpy as np
from graft.features import cache
cache.SHARD_ROWS = 8
store = cache.Store(Path(sys.argv[1]), (3,), np.float16)
order = np.random.default_rng(int(sys.argv[2])).permutation(4000)
print("ready", flush=True)
sys.stdin.readline()
for number in order.tolist():
    digest = np.random.default_rng(number).bytes(32)
    if digest not in store:
        store.put(digest, np.float16([number, number / 2, -number]))
store.flush()
"""


def writer(folder, seed):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def every_row_is_right(folder, numbers):
    for shard in shards(folder):
        held = load_file(shard)  # safetensors' own reader refuses what is not whole
        assert len(held["digests"]) == len(held["values"])
    store = Store(folder, SHAPE, np.float16)
    activations = store.gather([digest(n) for n in numbers])
    return np.array_equal(activations[np.arange(len(numbers))], np.stack([*map(value, numbers)]))


def test_two_processes_that_fill_one_store_at_once_leave_every_row_right(tmp_path):
    with writer(tmp_path, 1) as one, writer(tmp_path, 2) as two:
        for process in (one, two):
            assert process.stdout.readline() == "ready\n"
        for process in (one, two):
            process.stdin.write("go\n")
            process.stdin.flush()
        assert (one.wait(60), two.wait(60)) == (0, 0)
    assert every_row_is_right(tmp_path, range(4000))
    assert not [file for file in tmp_path.iterdir() if file.name.endswith(".part")]


def test_a_process_killed_while_it_writes_leaves_whole_shards_only(tmp_path):
    with writer(tmp_path, 1) as process:
        process.stdin.write("go\n")
        process.stdin.flush()
        while len(shards(tmp_path)) < 20:
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    left = sum(len(load_file(shard)["digests"]) for shard in shards(tmp_path))
    assert 160 <= left < 4000
    with writer(tmp_path, 2) as process:
        process.communicate("go\n", timeout=60)
    assert process.returncode == 0
    rows = sum(len(load_file(shard)["digests"]) for shard in shards(tmp_path))
    assert rows == 4000, "what the killed process had written was computed again"
    assert every_row_is_right(tmp_path, range(4000))


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
    old, young = store.folder / ".a.part", store.folder / ".b.part"
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
    assert left == {".b.part", "card", "x.zip"}


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
    assert [file.name for file in tmp_path.rglob("*")] == ["mine.txt"]
    assert clear(tmp_path) == 0


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


def test_the_limit_is_given_in_gigabytes(monkeypatch):
    monkeypatch.delenv("GRAFT_CACHE_LIMIT", raising=False)
    assert cache_limit() == 10 * 2**30
    monkeypatch.setenv("GRAFT_CACHE_LIMIT", "2.5")
    assert cache_limit() == 2_500_000_000
    for given_limit in ("lots", "-1", "nan", "inf"):
        monkeypatch.setenv("GRAFT_CACHE_LIMIT", given_limit)
        with pytest.raises(UsageError, match="GRAFT_CACHE_LIMIT is a number of gigabytes"):
            cache_limit()
