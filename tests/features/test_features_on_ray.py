"""The same shards as tasks of Ray: the same bytes, whoever dies meanwhile."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

import graft
from graft.cluster import Cluster, raise_if_failed, run_shards
from graft.data.feature_folder import folder_status
from graft.data.shard import Shard
from graft.errors import DataError, ModelError, UsageError
from graft.utils.progress import Progress

pytestmark = pytest.mark.slow
TESTS = str(Path(__file__).parent)


@pytest.fixture(scope="module")
def ray():
    """Ray, which workers find these tests' functions through."""
    module = pytest.importorskip("ray", reason="needs the package ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([TESTS, *sys.path]))
        patch.syspath_prepend(TESTS)
        yield module
        module.shutdown()


def outcome_of(shard, folder):
    """Each shard ends in another way; the third kills its process once."""
    if shard.number == 1:
        raise DataError("no image of it can be read")
    if shard.number == 2:
        raise ZeroDivisionError("a mistake\nof several lines")
    if shard.number == 3 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    print("this must not reach stdout")
    return shard.number


def refused(shard):
    raise UsageError(f"shard {shard}: of another job")


def test_a_shard_that_fails_is_named_and_one_that_dies_is_begun_again(ray, tmp_path, capfd):
    import test_features_on_ray as here

    shards = [Shard(number, 5) for number in range(1, 6)]
    work = partial(here.outcome_of, folder=tmp_path)
    found = run_shards(work, shards, Cluster("local"), Progress())
    assert found.done == {Shard(n, 5): n for n in (3, 4, 5)}
    assert found.failed == {
        Shard(1, 5): "no image of it can be read",
        Shard(2, 5): "ZeroDivisionError: a mistake",
    }
    assert capfd.readouterr().out == ""
    assert not ray.is_initialized()
    with pytest.raises(DataError, match=r"2 of 5 shards failed \(first: 1/5: no image"):
        raise_if_failed(found)


def test_what_every_shard_would_fail_by_stops_all(ray):
    import test_features_on_ray as here

    with pytest.raises(UsageError, match="of another job"):
        run_shards(here.refused, [Shard(n, 50) for n in range(1, 51)], Cluster("local"), Progress())
    assert not ray.is_initialized()


def test_a_task_that_fits_nowhere_and_a_cluster_that_is_not_there_are_one_line(ray):
    shards = [Shard(1, 1)]
    with pytest.raises(UsageError, match="fits into no machine"):
        run_shards(refused, shards, Cluster("local", gpus=64), Progress())
    with pytest.raises(UsageError, match="no Ray cluster answers there"):
        run_shards(refused, shards, Cluster("127.0.0.1:1"), Progress())


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'graft\[ray\]'"):
        run_shards(refused, [Shard(1, 1)], Cluster(), Progress())


def test_the_features_are_those_of_this_process_to_the_bit(ray, digits, finished, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    graft.extract_features(digits, here, shards=3, model=str(finished))
    # A cache of its own: nothing that was computed here may be found.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
        status = graft.extract_features(
            digits, there, shards=3, model=str(finished), cluster="local"
        )
    assert status.complete
    assert contents(here) == contents(there)


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def logged(work, shard):
    """A shard of `graft features` that notes when it is begun."""
    from graft.training.feature_shards import features_of_shard

    with (work.out.parent / "starts").open("a") as stream:
        stream.write(f"{shard.number}\n")
    done = features_of_shard(work, shard)
    time.sleep(0.05)
    return done


DRIVER = """
import sys
from functools import partial
from pathlib import Path
import test_features_on_ray as here
from graft.cluster import Cluster, raise_if_failed, run_shards
from graft.config import TrainConfig, SplitConfig
from graft.training.feature_shards import FeatureWork, unfinished
from graft.utils.progress import Progress

source, out, model, count = sys.argv[1:]
config = TrainConfig(model=model)
work = FeatureWork(source, Path(out), int(count), config, SplitConfig())
left = unfinished(work)
raise_if_failed(run_shards(
    partial(here.logged, work), left, Cluster("local", retries=20), Progress()))
"""


def workers():
    """The processes of Ray that run tasks, of this user's."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "cmdline").read_bytes().split(b"\0")[0]
            except OSError:
                continue
            if name.startswith(b"ray::_told"):
                found.append(int(entry.name))
    return found


def test_killing_workers_and_drivers_loses_nothing(ray, make_digits, finished, tmp_path):
    """Twenty kills at random moments: what is computed twice is what was under way."""
    source = make_digits(tmp_path / "digits", "0123456789", each=60)
    out, count, chance = tmp_path / "out", 40, random.Random(0)
    command = [sys.executable, "-c", DRIVER, str(source), str(out), str(finished), str(count)]
    kills = Counter()
    deadline = time.monotonic() + 1500
    while time.monotonic() < deadline:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as driver:
            while driver.poll() is None:
                time.sleep(chance.uniform(0.05, 0.6))
                running = workers()
                if kills.total() >= 20 or not running:
                    continue
                if kills["driver"] < 5 and chance.random() < 0.25:
                    kills["driver"] += 1
                    driver.kill()
                    break
                kills["worker"] += 1
                os.kill(chance.choice(running), signal.SIGKILL)
            said = driver.stderr.read().decode()
        if driver.returncode == 0:
            break
        assert driver.returncode == -signal.SIGKILL, said
        while workers():  # those of a driver that was killed end by themselves
            time.sleep(0.1)
    assert kills.total() == 20, (kills, "the shards were done before")
    status = folder_status(out)
    assert status.complete
    assert status.images == 600
    starts = Counter((tmp_path / "starts").read_text().split())
    assert len(starts) == count
    # Each kill of a worker ends one shard that was under way, each of a driver two.
    assert starts.total() <= count + kills["worker"] + 2 * kills["driver"], (starts, kills)
    whole = tmp_path / "whole"
    graft.extract_features(source, whole, shards=count, model=str(finished))
    assert contents(whole) == contents(out)
    print(json.dumps({"kills": kills, "starts": starts.total(), "shards": count}))
