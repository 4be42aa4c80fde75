import json
import os
import platform
import re
import shutil
from importlib import metadata

import pytest

from graft.diagnosis import doctor
from graft.diagnosis.doctor import Doctor


@pytest.fixture
def fake(tmp_path):
    """Puts packages before the real ones: fake(torch="raise OSError()") gives the environment."""

    def put(**packages):
        for name, text in packages.items():
            (tmp_path / "fake" / name).mkdir(parents=True)
            (tmp_path / "fake" / name / "__init__.py").write_text(text)
        first = [str(tmp_path / "fake"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        return {"PYTHONPATH": os.pathsep.join(filter(None, first))}

    return put


DOES_NOT_FIT = "raise RuntimeError('operator torchvision::nms does not exist')"


def test_a_healthy_installation_has_no_problem_and_names_all_that_a_report_needs(graft_here):
    ended = graft_here("doctor", "--json")
    found = json.loads(ended.out)
    assert (ended.code, found["problems"]) == (0, [])
    assert found["graft"]["version"] == metadata.version("graft")
    assert found["python"] == platform.python_version()
    for name in ("torch", "torchvision", "timm", "openvino", "numpy", "pillow", "scikit-learn"):
        assert found["packages"][name] == metadata.version(name)
    assert found["broken"] == []
    assert "tf_efficientnet_lite0" in found["weights"]
    assert found["processor"]["cores"] == len(os.sched_getaffinity(0))
    assert found["cache"]["folder"] == os.environ["GRAFT_CACHE"]
    assert found["cache"]["free"] == pytest.approx(shutil.disk_usage("/tmp").free, rel=0.2)
    assert found["environment"]["GRAFT_CACHE"] == os.environ["GRAFT_CACHE"]


def test_for_people_each_line_is_short_and_ends_with_the_verdict(graft_here):
    lines = graft_here("doctor").out.splitlines()
    assert lines[0].split()[:2] == ["graft", f"{metadata.version('graft')},"]
    assert [line for line in lines if len(line) > 92 and "/" not in line] == []
    assert lines[-1].strip() == "no problem found"
    backend = next(line for line in lines if line.startswith("backend"))
    assert " on " in backend


def test_the_backend_is_the_one_that_graft_chooses_and_says_why(graft_here, graft):
    from graft.features.backends import choose

    here = json.loads(graft_here("doctor", "--json").out)["backend"]
    assert here["name"] == choose()
    assert "because" in here["why"]
    asked = graft("doctor", "--json", GRAFT_PRECISION="float32")
    assert asked.code == 0
    backend = json.loads(asked.out)["backend"]
    assert " f32 " in backend["name"]
    assert "float32, because GRAFT_PRECISION asks for it" in backend["why"]


def test_a_torchvision_that_does_not_fit_is_one_problem_and_the_rest_is_told(graft, fake):
    environment = fake(torchvision=DOES_NOT_FIT, openvino="raise ImportError('no libopenvino')")
    ended = graft("doctor", "--json", **environment)
    found = json.loads(ended.out)
    assert ended.code == 1
    assert found["broken"] == ["torchvision", "openvino", "timm"]
    torchvision, openvino = found["problems"]
    assert "torchvision::nms does not exist" in torchvision["what"]
    assert "torch torchvision" in torchvision["todo"]
    assert "no libopenvino" in openvino["what"]
    assert found["backend"]["name"].startswith("torch ")
    assert "OpenVINO cannot be imported" in found["backend"]["why"]


def test_without_torch_the_doctor_tells_the_one_cause_and_what_else_it_knows(graft, fake):
    ended = graft("doctor", **fake(torch="raise OSError('libcudart.so.13: cannot open')"))
    assert ended.code == 1
    assert ended.out.count("PROBLEM") == 1
    assert "cannot be imported: libcudart.so.13: cannot open" in " ".join(ended.out.split())
    assert "\nmemory " in ended.out
    assert "\ncache " in ended.out
    assert "Traceback" not in ended.err


def test_a_cache_that_cannot_be_written_and_impossible_settings_are_problems(graft, tmp_path):
    (tmp_path / "file").write_text("")
    wrong = {"GRAFT_PRECISION": "half", "GRAFT_CACHE_LIMIT": "much"}
    ended = graft("doctor", "--json", GRAFT_CACHE=str(tmp_path / "file" / "cache"), **wrong)
    told = " ".join(problem["what"] for problem in json.loads(ended.out)["problems"])
    assert ended.code == 1
    assert "'half'" in told
    assert "'much'" in told
    assert f"the cache cannot be written: {tmp_path / 'file'}" in told


def test_a_full_disk_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor, "FREE_AT_LEAST", 10**18)
    (problem,) = Doctor().diagnose()["problems"]
    assert re.match(r"only [\d.]+ GB are free on the disk of the cache", problem["what"])


def test_the_password_of_an_address_is_not_shown(graft_here, monkeypatch):
    monkeypatch.setenv("GRAFT_MIRROR", "https://me:secret@example.org/data")
    shown = graft_here("doctor").out
    assert "GRAFT_MIRROR=https://…@example.org/data" in shown
    assert "secret" not in shown


def test_training_with_a_torchvision_that_does_not_fit_is_one_line(graft, fake, digits, tmp_path):
    run = ("train", digits, "--model", "resnet18", "--out", tmp_path / "run")
    ended = graft(*run, **fake(torchvision=DOES_NOT_FIT))
    assert (ended.code, ended.out) == (4, "")
    *_, last = ended.err.splitlines()
    assert last.startswith("graft: torchvision cannot be imported (operator torchvision::nms")
    assert "graft doctor" in last
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("needs", ["torch==2.5.1", "torch (>=99.1)"])
def test_a_torchvision_made_for_another_torch_is_told_by_their_versions(
    graft, fake, tmp_path, needs
):
    environment = fake(torchvision=DOES_NOT_FIT)
    told = tmp_path / "fake" / "torchvision-0.20.1.dist-info" / "METADATA"
    told.parent.mkdir()
    told.write_text(f"Name: torchvision\nVersion: 0.20.1\nRequires-Dist: {needs}\n")
    ended = graft("models", "resnet1*", **environment)
    needs = re.sub("[ ()]", "", needs)
    why = f"torchvision 0.20.1 needs {needs}, {metadata.version('torch')} is installed"
    assert (ended.code, ended.out, ended.err.count("\n")) == (4, "", 1)
    assert f"torchvision cannot be imported ({why})" in ended.err


def test_a_bug_of_graft_is_not_taken_for_a_broken_package(graft_here, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("graft.models.zoo.list_models", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        graft_here("models")
