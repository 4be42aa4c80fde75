import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from graft.features import activations
from graft.features.activations import Store, key_of

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
    found = Store(folder, SHAPE, np.float16).gather([digest(n) for n in wanted])
    assert len(found) == len(wanted)
    expected = np.stack([value(wanted[row]) for row in rows])
    assert np.array_equal(found[np.array(rows)], expected)
    assert np.array_equal(found.columns(1)[np.array(rows)], expected[:, 1:])


def test_a_row_that_was_never_put_is_missed(tmp_path):
    store = filled(tmp_path, [1, 2])
    assert digest(1) in store
    assert digest(3) not in store
    with pytest.raises(KeyError):
        store.gather([digest(1), digest(3)])


def test_rows_wait_in_memory_until_a_shard_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(activations, "SHARD_ROWS", 4)
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
    found = store.gather([digest(n) for n in range(9)])
    assert np.array_equal(found.whole(), np.stack([value(n) for n in range(9)]))


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
from graft.features import activations
activations.SHARD_ROWS = 8
store = activations.Store(Path(sys.argv[1]), (3,), np.float16)
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
    found = store.gather([digest(n) for n in numbers])
    return np.array_equal(found.whole(), np.stack([*map(value, numbers)]))


def test_two_processes_that_fill_one_store_at_once_leave_every_row_right(tmp_path):
    with writer(tmp_path, 1) as one, writer(tmp_path, 2) as two:
        for process in (one, two):
            assert process.stdout.readline() == "ready\n"
        for process in (one, two):
            process.stdin.write("go\n")
            process.stdin.flush()
        assert (one.wait(60), two.wait(60)) == (0, 0)
    assert every_row_is_right(tmp_path, range(4000))
    assert not [file for file in tmp_path.iterdir() if file.name.endswith(".partial")]


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
