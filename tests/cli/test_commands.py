import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.config import SplitConfig, TrainConfig, configs_of

ENTRY = "from graft.cli.main import run; run()"
HEAVY = ("torch", "timm", "openvino", "matplotlib", "torchvision", "sklearn")
GRAFT = str(Path(sys.executable).parent / "graft")


def only_error(ended, code, *needles):
    """The command failed with this code and one line that says so, and answered nothing."""
    assert ended.code == code, ended
    assert ended.out == ""
    assert ended.err.startswith("graft: ")
    assert ended.err.count("\n") == 1, ended.err
    for needle in needles:
        assert needle in ended.err
    return True


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_source_that_is_not_there_is_wrong_usage(graft_here, tmp_path):
    for verb in (["check"], ["train", "--model", "base_cnn", "--out", tmp_path / "run"]):
        ended = graft_here(*verb, tmp_path / "nowhere")
        assert only_error(ended, 2, "nowhere", "no such folder, table or archive", "digits")


def test_an_empty_folder_cannot_be_trained_on(graft_here, tmp_path):
    (tmp_path / "empty").mkdir()
    ended = graft_here("train", tmp_path / "empty", "--model", "base_cnn", "--out", tmp_path / "r")
    assert only_error(ended, 3, "no usable image", "SOURCE/CLASS/image.jpg")


def test_a_single_class_cannot_be_trained_on(graft_here, tmp_path, make_digits):
    source = make_digits(tmp_path / "one", "7", each=9)
    ended = graft_here("train", source, "--model", "base_cnn", "--out", tmp_path / "run")
    assert only_error(ended, 3, "all images have the label '7'", "two classes or more")


def test_a_class_of_too_few_images_is_named(graft_here, tmp_path, make_digits):
    source = make_digits(tmp_path / "small", "7", each=9)
    make_digits(source, "8", each=4)
    ended = graft_here("train", source, "--model", "base_cnn", "--out", tmp_path / "run")
    assert only_error(ended, 3, "class '8' has 4", "at least 5")


def test_a_model_that_nobody_knows_is_refused(graft_here, digits, tmp_path):
    ended = graft_here("train", digits, "--model", "nonsense", "--out", tmp_path / "run")
    assert only_error(ended, 4, "no model 'nonsense'", "graft models", "local-dir:FOLDER")


def test_a_misspelt_model_gets_did_you_mean(graft_here, digits, tmp_path):
    ended = graft_here("train", digits, "--model", "resnet81", "--out", tmp_path / "run")
    assert only_error(ended, 4, "no model 'resnet81'", "did you mean resnet18?")


def test_weights_that_cannot_be_fetched_are_one_line_that_names_what_is_here(
    graft, digits, tmp_path
):
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    ended = graft("train", digits, "--model", "resnet18", "--out", tmp_path / "run", **offline)
    assert only_error(ended, 4, "resnet18", "tf_efficientnet_lite0", "local-dir:FOLDER", "base_cnn")


@pytest.mark.parametrize("there", [(), ("config.json",)])
def test_a_local_folder_without_weights_is_refused(graft_here, digits, tmp_path, there):
    for name in there:
        (tmp_path / name).write_text("{}")
    model = f"local-dir:{tmp_path}"
    ended = graft_here("train", digits, "--model", model, "--out", tmp_path / "run")
    missing = "model.safetensors" if there else "config.json"
    assert only_error(ended, 4, "config.json and model.safetensors", f"{missing} is not there")


def test_zero_epochs_are_wrong_usage(graft_here, digits, tmp_path):
    ended = graft_here("train", digits, "--epochs", "0", "--out", tmp_path / "run")
    assert only_error(ended, 2, "epochs must be a whole number of at least 1, not 0")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_never_overwritten(graft_here, digits, finished):
    before = contents(finished)
    ended = graft_here("train", digits, "--model", "base_cnn", "--out", finished)
    assert only_error(ended, 2, "holds a finished run", "another --out")
    assert contents(finished) == before


def test_a_folder_of_other_files_is_never_written_to(graft_here, digits, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "history.jsonl").write_text("mine")
    ended = graft_here("train", digits, "--model", "base_cnn", "--out", tmp_path)
    assert only_error(ended, 2, "thesis.tex")
    assert contents(tmp_path) == {"thesis.tex": b"years of work", "history.jsonl": b"mine"}


def test_a_file_is_no_run_folder(graft_here, digits, tmp_path):
    (tmp_path / "notes").write_text("mine")
    ended = graft_here("train", digits, "--model", "base_cnn", "--out", tmp_path / "notes")
    assert only_error(ended, 2, "notes is a file")
    assert contents(tmp_path) == {"notes": b"mine"}


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_a_folder_that_is_no_run_says_what_is_missing(graft_here, digits, tmp_path, verb):
    ended = graft_here(verb, tmp_path, digits)
    assert only_error(ended, 4, str(tmp_path), "model.json is not there")


def test_a_refusal_of_the_system_is_one_line_and_no_traceback(graft, tmp_path):
    (tmp_path / "file").write_text("")
    ended = graft("check", "digits", GRAFT_CACHE=str(tmp_path / "file" / "cache"))
    assert ended.code != 0
    assert ended.err.startswith("graft: ")
    assert ended.err.count("\n") == 1
    assert str(tmp_path / "file") in ended.err


def test_train_answers_on_stdout_and_tells_its_progress_on_stderr(trained, finished):
    ended, _ = trained
    assert json.loads(ended.out) == json.loads((finished / "metrics.json").read_text())
    assert ended.out.count("\n") == 1
    assert "fitting: 12 done" in ended.err
    assert "Warning" not in ended.err


def test_evaluate_prints_the_same_numbers_as_a_table_or_as_json(graft_here, digits, finished):
    table = graft_here("evaluate", finished, digits)
    metrics = json.loads(graft_here("evaluate", finished, digits, "--json").out)
    assert table.code == 0
    assert f"accuracy {metrics['accuracy']['value']:.1%}" in table.out
    for name, row in metrics["per_class"].items():
        line = next(x for x in table.out.splitlines() if x.split()[:1] == [name])
        cells = (
            f"{row[k]:.3f} ({row[f'{k}_low']:.2f}-{row[f'{k}_high']:.2f})"
            for k in ("precision", "recall", "f1")
        )
        assert line.split()[1:] == [*" ".join(cells).split(), str(row["n"])]


def test_check_prints_json_with_the_findings_by_file(graft, tmp_path, make_digits):
    source = make_digits(tmp_path / "source", "34", each=30)
    (source / "3" / "void.png").write_bytes(b"")
    ended = graft("check", source, "--json")
    found = json.loads(ended.out)
    assert ended.code == 0
    assert set(found) == {"images", "usable", "classes", "findings"}
    assert (found["images"], found["usable"]) == (61, 60)
    assert found["classes"] == {"3": 31, "4": 30}
    finding, tiny = found["findings"]  # the digits have eight pixels a side
    assert (tiny["kind"], len(tiny["paths"])) == ("tiny", 60)
    assert set(finding) == {"kind", "severity", "paths", "message", "sets"}
    assert (finding["kind"], finding["severity"]) == ("empty", "matters")
    assert finding["paths"] == ["3/void.png"]


def test_check_of_what_cannot_be_trained_on_answers_and_ends_with_3(graft_here, tmp_path):
    (tmp_path / "empty").mkdir()
    ended = graft_here("check", tmp_path / "empty", "--json")
    assert ended.code == 3
    assert [
        i["kind"] for i in json.loads(ended.out)["findings"] if i["severity"] == "blocking"
    ] == ["no_images"]


def test_check_reads_deeper_folders_and_links_as_it_is_told(graft_here, tmp_path, make_digits):
    make_digits(tmp_path / "source" / "even", "02", each=30)
    make_digits(tmp_path / "source" / "odd", "13", each=30)
    make_digits(tmp_path / "elsewhere", "5", each=30)
    (tmp_path / "source" / "odd" / "5").symlink_to(tmp_path / "elsewhere" / "5")
    usual = json.loads(graft_here("check", tmp_path / "source", "--json").out)
    assert usual["classes"] == {"even": 60, "odd": 60}
    kinds = {finding["kind"]: finding for finding in usual["findings"]}
    assert "--label-by innermost" in kinds["subfolders"]["message"]
    assert kinds["link_outside"]["paths"] == ["odd/5"]
    told = ("--label-by", "innermost", "--follow-links")
    asked = json.loads(graft_here("check", tmp_path / "source", *told, "--json").out)
    assert set(asked["classes"]) == {"even/0", "even/2", "odd/1", "odd/3", "odd/5"}
    assert not {"subfolders", "link_outside"} & {f["kind"] for f in asked["findings"]}


def test_a_run_lists_its_source_again_as_it_was_told_to(graft_here, tmp_path, make_digits):
    make_digits(tmp_path / "source" / "even", "02", each=12)
    make_digits(tmp_path / "source" / "odd", "13", each=12)
    settings = ["--model", "base_cnn", "--image-size", "16", "--epochs", "1", "--views", "1"]
    run = tmp_path / "run"
    ended = graft_here(
        "train", tmp_path / "source", *settings, "--label-by", "innermost", "--out", run
    )
    assert ended.code == 0, ended.err
    assert json.loads((run / "config.json").read_text())["settings"]["label_by"] == "innermost"
    make_digits(tmp_path / "new" / "even", "02", each=5, start=100)
    make_digits(tmp_path / "new" / "odd", "3", each=5, start=100)
    ended = graft_here("evaluate", run, tmp_path / "new", "--json")
    assert json.loads(ended.out)["n"] == 15


def test_a_table_with_all_rows_in_test_stops_before_training(graft_here, tmp_path, make_digits):
    files = sorted(make_digits(tmp_path / "source", "01", each=30).rglob("*.png"))
    table = tmp_path / "source" / "table.csv"
    rows = [f"{file.parent.name}/{file.name},{file.parent.name},test" for file in files]
    table.write_text("\n".join(["image,label,split", *rows]))
    assert graft_here("check", table).code == 3
    ended = graft_here("train", table, "--out", tmp_path / "run")
    assert ended.code == 3
    assert "class '0' has no image in train, so it cannot be learned" in ended.err
    assert not (tmp_path / "run").exists()


def test_a_class_of_unreadable_photos_stops_the_training(graft_here, tmp_path, make_digits):
    source = make_digits(tmp_path / "source", "01", each=30)
    (source / "fish").mkdir()
    for n in range(40):
        (source / "fish" / f"{n}.heic").write_bytes(b"\0\0\0\x1cftypheic" + bytes(100 + n))
    ended = graft_here("train", source, "--out", tmp_path / "run")
    assert ended.code == 3
    last = ended.err.splitlines()[-1]
    assert "class 'fish' loses 40 of its 40 images, which cannot be used (fish/0.heic " in last


def test_models_lists_the_chosen_few_and_a_pattern_asks_timm(graft_here):
    rows = json.loads(graft_here("models", "--json").out)
    here = {row["name"]: row["here"] for row in rows}
    assert here["base_cnn"]
    assert here["tf_efficientnet_lite0"]
    assert not here["vgg16"], "never fetched by the tests"
    rows = json.loads(graft_here("models", "resnet1[08]*", "--json").out)
    assert any(row["name"].startswith("resnet18") for row in rows)
    assert only_error(graft_here("models", "zzz*"), 4, "'zzz*'")


def test_the_cache_counts_unpacked_sources_and_clear_removes_them(
    graft_here, tmp_path, monkeypatch
):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path))
    assert graft_here("check", "digits").code == 0
    held = json.loads(graft_here("cache", "--json").out)
    stored = [file for file in tmp_path.rglob("*.png") if file.is_file()]
    assert held["sources"]["files"] == len(stored) == 1797
    assert held["sources"]["bytes"] == sum(file.stat().st_size for file in stored)
    cleared = json.loads(graft_here("cache", "--clear", "--json").out)
    assert cleared["removed"] == held["sources"]["bytes"] + held["near"]["bytes"]
    assert cleared["sources"] == {"files": 0, "bytes": 0}
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("given", ["much", "-1", "inf", "nan"])
def test_an_impossible_cache_limit_is_wrong_usage(graft_here, monkeypatch, given):
    monkeypatch.setenv("GRAFT_CACHE_LIMIT", given)
    assert only_error(graft_here("cache"), 2, "GRAFT_CACHE_LIMIT", repr(given))


def loaded_by(*arguments):
    """The modules that a command imports, from Python's own account of it."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", ENTRY, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert len(lines) > 50
    return {line.rsplit("|", 1)[1].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["train", "--help"]])
def test_help_waits_for_nothing(arguments):
    found = loaded_by(*arguments)
    assert found.isdisjoint({*HEAVY, "numpy", "PIL", "rich", "pyarrow"})
    assert ("pydantic" in found) == (arguments[0] == "train")


def test_check_and_cache_never_load_torch(digits):
    assert loaded_by("check", digits).isdisjoint({*HEAVY, "pydantic"})
    assert loaded_by("cache").isdisjoint(HEAVY)


def test_help_names_every_verb_in_the_order_of_the_work_and_the_exit_codes(graft_here):
    shown = graft_here("--help").out
    verbs = re.findall(r"^  ([a-z]+)  ", shown.partition("Commands:")[2], re.M)
    assert verbs[:7] == ["classify", "check", "rank", "augment", "train", "evaluate", "validate"]
    assert verbs[7:11] == ["compare", "tune", "review", "next"]
    assert verbs[11:16] == ["predict", "explain", "summary", "explore", "chat"]
    assert verbs[16:18] == ["mcp", "lesson"]
    assert verbs[18:23] == ["export", "verify", "push", "serve", "app"]
    assert verbs[23:] == ["features", "models", "cache", "demo", "import", "doctor", "completion"]
    for words in ("Exit codes: 0 done", "2 wrong usage", "130 interrupted"):
        assert words in " ".join(shown.split())


def test_the_help_of_train_fits_on_a_screen_and_help_all_has_every_setting(graft_here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown, everything = graft_here("train", "--help").out, graft_here("train", "--help-all").out
    assert len(shown.splitlines()) <= 40
    assert max(map(len, everything.splitlines())) <= 80
    assert "--learning-rate FLOAT" in everything
    assert "--learning-rate FLOAT" not in shown
    for name in {**TrainConfig.model_fields, **SplitConfig.model_fields}:
        option = f"--{name.replace('_', '-')}"
        assert option in shown, "named at least"
        assert f"\n  {option} " in everything


def test_every_option_of_a_setting_reaches_it(graft_here, monkeypatch, tmp_path):
    asked = {"val_fraction": 0.05, "group_by": "folder", "time_by": "exif", "seed": 7}
    asked |= {"unfreeze": "all", "image_size": 64, "resize": "squash", "augment": "light"}
    asked |= {"flip": False, "views": 2, "epochs": 3, "batch_size": 8, "learning_rate": 0.1}
    asked |= {"weight_decay": 0.2, "optimizer": "sgd", "schedule": "cosine", "patience": 4}
    asked |= {"label_smoothing": 0.0, "ema": 0.9, "batch_norm": "train", "mixup": 0.1}
    asked |= {"cutmix": 1.0, "balance": "sampling", "backend": "torch", "model": "resnet18"}
    asked |= {"label_by": "innermost", "follow_links": True}
    asked |= {"head": "new", "pixels": "tf", "sync_batch_norm": False}
    assert set(asked) == {*TrainConfig.model_fields, *SplitConfig.model_fields}
    came = []
    monkeypatch.setattr(
        "graft.api.train_or_resume",
        lambda source, config, split, *_: came.append((config, split)) or 1,
    )
    options = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
    options = [o for o in options if not o.startswith(("--flip", "--follow", "--sync"))]
    with pytest.raises(AttributeError):  # no run was trained
        graft_here(
            "train",
            tmp_path,
            *options,
            "--no-flip",
            "--no-sync-batch-norm",
            "--follow-links",
            "--out",
            tmp_path / "run",
        )
    assert came == [configs_of(asked, TrainConfig)]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("train x --epocs 3", "graft train: no such option --epocs; did you mean --epochs?"),
        ("trian x", "graft: no such command trian; did you mean train?"),
        ("train", "graft train: SOURCE is missing; see graft train --help"),
        ("train x --epochs a", "graft train: --epochs: 'a' is not a valid integer; see"),
        ("train x y", "graft train: got unexpected extra argument (y); see"),
        ("train x --schedule cosin", "graft: schedule must be one of one-cycle, cosine, plateau"),
        ("check x --backend x", "graft check: --backend: 'x' is not one of 'auto', 'openvino'"),
    ],
)
def test_a_slip_in_the_command_line_is_told_in_one_line(graft_here, written, said):
    ended = graft_here(*written.split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(said)
    assert ended.err.count("\n") == 1


def test_validate_without_options_does_all_three(graft_here, monkeypatch, finished):
    asked = []
    interval = {"value": 0.9, "low": 0.8, "high": 0.95}
    found = {"folds": {"folds": 5, "accuracy": interval, "n": 120, "each": [0.85, 0.95]}}
    point = {"images": 9, "low": 0.5, "high": 1.0}
    points = [point | {"accuracy": 0.6}, point | {"accuracy": 0.8}]
    found["learning_curve"] = {"points": points}
    monkeypatch.setattr(
        "graft.training.validation.validate",
        lambda run, progress, *what: asked.append((run.path, *what)) or found,
    )
    ended = graft_here("validate", finished)
    assert ended.code == 0, ended.err
    assert "5-fold cross-validation" in ended.out
    assert "0.900 (0.80-0.95)" in ended.out
    assert "0.700, mean of 2" in ended.out
    assert json.loads(graft_here("validate", finished, "--folds", "3", "--json").out) == found
    assert asked == [(finished, 5, 5, True), (finished, 3, None, False)]


@pytest.mark.parametrize(
    ("more", "said"), [(["--seed", "3"], "as they are"), (["--models", "a,b"], "one source")]
)
def test_finished_runs_are_compared_without_settings(graft_here, finished, more, said):
    assert only_error(graft_here("compare", finished, finished, *more), 2, said)


@pytest.mark.parametrize(("option", "least"), [("--folds", 2), ("--repeats", 1)])
def test_too_few_folds_or_repeats_are_wrong_usage(graft_here, tmp_path, option, least):
    ended = graft_here("validate", tmp_path, option, least - 1)
    assert only_error(ended, 2, f"{option[2:]} must be a whole number of at least {least}")


def test_an_interrupted_run_keeps_its_cache_and_the_same_command_goes_on(tmp_path, digits):
    arguments = ["--model", "base_cnn", "--image-size", "16", "--epochs", "2", "--views", "1"]
    command = [GRAFT, "train", str(digits), *arguments, "--out", str(tmp_path / "run")]
    environment = os.environ | {"GRAFT_CACHE": str(tmp_path / "cache")}
    told = []
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:  # until the images are read and the fitting begins
            told.append(line)
            if line.startswith("reading"):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    # The signal may come when the audit has spoken already.
    known = ("reading", "tiny:", "graft: interrupted;", "other work")
    assert [line for line in told if line.strip() and not line.startswith(known)] == []
    assert told[-1].startswith("graft: interrupted;")
    assert list((tmp_path / "cache" / "activations").rglob("*.safetensors"))
    assert not (tmp_path / "run" / "metrics.json").exists()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "run" / "report.html").exists()


def test_rank_reads_a_deeper_folder_as_it_is_asked_to(graft_here, finished, tmp_path):
    generator = np.random.default_rng(0)
    for name in ("birds/robin", "birds/wren", "fish/carp", "fish/tench"):
        (tmp_path / name).mkdir(parents=True)
        for i in range(5):
            pixels = generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    for way, label in (("innermost", "class 'fish/carp'"), ("outermost", "class 'fish'")):
        ended = graft_here("rank", tmp_path, "--backbones", finished, "--label-by", way)
        assert ended.code == 0, ended.err
        assert f"{label} has only" in ended.err
