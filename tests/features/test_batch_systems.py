"""What docs/cluster.md gives to SLURM, Kubernetes and xargs, run as they would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from graft.data.feature_folder import folder_status

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
SHARDS = 2


@pytest.fixture
def shell(tmp_path, make_digits):
    """Runs the words of the page in a folder with `photos`, in 2 shards instead of 100."""
    make_digits(tmp_path / "photos", each=6)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(text, **variables):
        for written, here in (("/data/photos", "photos"), ("s3://bucket/photos", "photos")):
            text = text.replace(written, here)
        text = re.sub(r"(?<= )/(data/)?features", "features", text)
        text = re.sub(r"\b100\b", str(SHARDS), text)
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=tmp_path,
            env=os.environ | {"PATH": path} | variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (text, done.stderr)

    yield run
    status = folder_status(tmp_path / "features")
    assert (status.complete, status.images) == (True, 18)


def block(after, kind):
    """The first code block of a kind after these words of the page."""
    return re.search(rf"```{kind}\n(.*?)```", PAGE[PAGE.index(after) :], re.DOTALL)[1]


def test_an_array_of_slurm(shell):
    for number in range(1, SHARDS + 1):
        shell(block("SLURM, one array task", "bash"), SLURM_ARRAY_TASK_ID=str(number))


def test_an_indexed_job_of_kubernetes(shell):
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load(block("Kubernetes, an Indexed Job", "yaml"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-c"]
    for number in range(SHARDS):
        shell(container["args"][0], JOB_COMPLETION_INDEX=str(number))


def test_xargs_on_one_machine(shell):
    (line,) = [x for x in block("GNU parallel, over", "bash").splitlines() if "xargs" in x]
    shell(line)
