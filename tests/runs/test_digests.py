"""digests.json: what was changed in a run is seen."""

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from safetensors.torch import load_file, save_file

import graft
from graft.errors import ModelError
from graft.report.run_page import write_report
from graft.runs.digest_file import DIGESTED, digest_of, read_digests, renew, seal
from graft.runs.digests import check
from graft.runs.folder import FILES, LARGE_TABLES
from graft.runs.run import Run

# What a run of many images or classes has besides, or instead.
LARGE = {"classes.csv", *LARGE_TABLES.values()}


@pytest.fixture(params=["finished", "frozen_run"])
def copy(request, tmp_path):
    return shutil.copytree(request.getfixturevalue(request.param), tmp_path / "run")


def change(run, name, edit):
    value = json.loads((run / name).read_text())
    edit(value)
    (run / name).write_text(json.dumps(value))


def test_a_finished_run_has_the_sha256_of_each_of_its_files(copy):
    stored = json.loads((copy / "digests.json").read_text())
    assert stored["format"] == 1
    assert set(stored["files"]) == {file.name for file in copy.iterdir()} - {"digests.json"}
    for name, digest in stored["files"].items():
        assert digest == hashlib.sha256((copy / name).read_bytes()).hexdigest(), name
    assert check(copy) == []


def test_what_graft_writes_into_a_finished_run_has_its_digest_too(copy):
    run = Run(copy)
    run.write_speed({"images_per_second": 5.0, "images": 8, "backend": "torch"})
    run.write_heat_maps({})
    run.write_validation({})
    write_report(run)
    assert check(copy) == []
    assert set(json.loads((copy / "digests.json").read_text())["files"]) == {*DIGESTED} - LARGE


def test_a_changed_file_stays_changed_whatever_graft_writes_later(copy):
    change(copy, "config.json", lambda config: config.update(seed=8))
    Run(copy).write_speed({"images_per_second": 5.0})
    write_report(Run(copy))
    assert check(copy) == ["config.json was changed after the run was finished"]


@pytest.mark.parametrize("name", sorted(set(FILES) - {"digests.json"}))
def test_one_byte_more_in_any_file_is_seen(copy, name):
    with (copy / name).open("ab") as stream:
        stream.write(b"\n")
    assert f"{name} was changed after the run was finished" in check(copy)


@pytest.mark.parametrize("name", sorted(set(FILES) - {"digests.json"}))
def test_a_file_that_is_gone_is_seen(copy, name):
    (copy / name).unlink()
    assert f"{name} is missing" in check(copy)


def test_a_file_that_graft_did_not_write_is_seen(copy):
    (copy / "speed.json").write_text('{"images_per_second": 1e6}')
    assert check(copy) == ["speed.json is not in digests.json: graft did not write it"]


def test_a_run_of_an_older_graft_says_so_and_works(copy, noise):
    (copy / "digests.json").unlink()
    (said,) = check(copy)
    assert "an older graft made this run" in said
    assert graft.load(copy, backend="torch").predict(noise).probability > 0
    Run(copy).write_speed({"images_per_second": 5.0})
    assert not (copy / "digests.json").exists()


@pytest.mark.parametrize(
    "text", ["", "{}", '{"format": 1, "files": {"model.json": "0"}}', '{"format": 1, "files": []}']
)
def test_damaged_digests_are_a_problem_and_stay_as_they_are(copy, text):
    (copy / "digests.json").write_text(text)
    assert any("digests.json" in problem for problem in check(copy))
    with pytest.raises(ModelError, match=r"digests\.json"):
        graft.load(copy)
    Run(copy).write_speed({"images_per_second": 5.0})
    assert (copy / "digests.json").read_text() == text


def test_names_that_lead_out_of_the_run_are_not_followed(copy, tmp_path):
    (tmp_path / "mine").write_text("x")
    change(
        copy,
        "digests.json",
        lambda stored: stored["files"].update({"../mine": "0" * 64, "/etc/passwd": "0" * 64}),
    )
    assert check(copy) == []


# load


def test_a_changed_temperature_is_refused_and_the_message_says_what_to_do(copy):
    change(copy, "model.json", lambda model: model.update(temperature=3.0))
    with pytest.raises(ModelError) as raised:
        graft.load(copy)
    said = str(raised.value)
    assert "model.json changed after the run was finished" in said
    assert "delete digests.json" in said
    (copy / "digests.json").unlink()
    assert graft.load(copy).temperature == 3.0


def test_one_weight_that_was_changed_is_refused(copy):
    state = {key: value.clone() for key, value in load_file(copy / "model.safetensors").items()}
    state["head.layers.1.bias"][0] += 1
    save_file(state, copy / "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors changed"):
        graft.load(copy)


def test_a_change_that_is_none_of_the_models_does_not_stop_it(copy, noise):
    with (copy / "report.html").open("a") as page:
        page.write("<!-- mine -->")
    assert graft.load(copy, backend="torch").predict(noise).probability > 0


# Swapped classes: no schema sees them.


def swapped(names):
    names[0], names[1] = names[1], names[0]


@pytest.mark.parametrize("digests", ["kept", "none", "made anew"])
def test_swapped_classes_are_seen(copy, digests):
    change(copy, "model.json", lambda model: swapped(model["classes"]))
    if digests == "none":
        (copy / "digests.json").unlink()
    elif digests == "made anew":
        seal(copy)
    assert "model.json: its classes, or their order, are not those of predictions.csv" in check(
        copy
    )
    with pytest.raises(ModelError, match="classes: number 1"):
        graft.load(copy)


def test_classes_swapped_in_the_predictions_too_do_not_fit_the_confusion_matrix(copy):
    change(copy, "model.json", lambda model: swapped(model["classes"]))
    text = (copy / "predictions.csv").read_text()
    header, rest = text.split("\n", 1)
    (copy / "predictions.csv").write_text(header.replace("0,1,2", "1,0,2") + "\n" + rest)
    change(copy, "metrics.json", lambda metrics: swapped(metrics["classes"]))
    seal(copy)
    assert check(copy) == [
        "metrics.json: confusion is not that of the test images in predictions.csv"
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("dataset.csv", ",0,test,", ",1,test,", "the label of"),
        ("dataset.csv", ",0,test,", ",0,train,", "is not in test of dataset.csv"),
        ("dataset.csv", ",0,train,", ",nine,train,", "'nine' is none of the classes"),
        ("predictions.csv", ",test,0,", ",test,1,", "the label of"),
    ],
)
def test_tables_that_disagree_are_seen(copy, name, old, new, said):
    text = (copy / name).read_text()
    assert old in text
    (copy / name).write_text(text.replace(old, new))
    seal(copy)
    assert any(said in problem for problem in check(copy))


def test_a_folder_that_is_no_run_has_problems_and_no_traceback(tmp_path):
    assert "model.json is missing" in check(tmp_path)
    assert check(tmp_path / "nowhere")


def test_the_digest_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_of(tmp_path / "a").startswith("ba7816bf8f01cfea")  # FIPS 180-2, B.1


def test_many_that_write_into_one_finished_run_lose_nobodys_line(copy):
    names = ["speed.json", "validation.json", "heat_maps.json", "report.html"]

    def write(name):
        for number in range(20):
            (copy / name).write_text(f"{name} {number}")
            renew(copy, name)

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(write, names))
    stored = read_digests(copy)
    assert {name: stored[name] for name in names} == {
        name: digest_of(copy / name) for name in names
    }
