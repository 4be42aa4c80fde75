"""A run folder of somebody else: edited by hand, by accident or on purpose."""

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import graft
from graft.errors import DataError, ModelError
from graft.inference.saved_model import save
from graft.models.weights import find_backbone
from graft.runs.csv_files import read_predictions
from graft.runs.run import Run
from graft.runs.timm_arguments import OTHERS, REPEATS, check_arguments

RESULTS = ("config", "findings", "metrics", "nearest", "validation", "speed", "heat_maps")


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of a run without its digests, as whoever edits it on purpose would leave it."""
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "digests.json").unlink()
    return folder


def edited(run, name, change):
    """Change the JSON of a file of the run by a function of its value."""
    value = json.loads((run / name).read_text()) if (run / name).exists() else {}
    change(value)
    (run / name).write_text(json.dumps(value))
    return run


def refused(run, *words):
    with pytest.raises(ModelError) as raised:
        graft.load(run, backend="torch")
    said = str(raised.value)
    assert "\n" not in said
    assert "\x1b" not in said
    assert len(said) < 600
    for word in (str(run), *words):
        assert word in said
    return said


def setter(path, value):
    """The edit that sets a field of model.json, by its dotted path; and its twin, where the field
    is stored twice.
    """

    def change(model):
        for prefix in ("", "backbone.") if path.startswith("preprocess.") else ("",):
            *above, last = (prefix + path).split(".")
            at = model
            for name in above:
                at = at[name]
            at[last] = value

    return change


MODEL = {
    "a height of 100,000": ("preprocess.height", 100_000, "preprocess.height"),
    "a width of 0": ("preprocess.width", 0, "preprocess.width"),
    "a height that is no number": ("preprocess.height", "224", "preprocess.height"),
    "a height of 1.5": ("preprocess.height", 1.5, "preprocess.height"),
    "a crop that asks for a huge image": ("preprocess.crop", 1e-6, "pixels a side"),
    "a crop of 0": ("preprocess.crop", 0, "preprocess.crop"),
    "two means": ("preprocess.mean", [0.5, 0.5], "preprocess.mean"),
    "a std of 0": ("preprocess.std", [0.5, 0.5, 0], "preprocess.std.2"),
    "a mean that is huge": ("preprocess.mean", [0.5, 1e30, 0], "preprocess.mean.1"),
    "an unknown filter": ("preprocess.interpolation", "magic", "preprocess.interpolation"),
    "an unknown resize": ("preprocess.resize", ["crop"], "preprocess.resize"),
    "an unknown field of preprocess": ("preprocess.file", "/etc/passwd", "preprocess.file"),
    "a temperature of -1": ("temperature", -1, "temperature"),
    "a temperature of 0": ("temperature", 0, "temperature"),
    "a temperature of 1e308": ("temperature", 1e308, "temperature"),
    "a temperature that is true": ("temperature", True, "temperature"),
    "a temperature of 400 digits": ("temperature", 10**400, "temperature"),
    "no temperature": ("temperature", None, "temperature"),
    "a class twice": ("classes", ["0", "0", "1"], "'0' comes twice"),
    "a class without a name": ("classes", ["0", "", "1"], "classes.1"),
    "a class that is a number": ("classes", ["0", 1, "2"], "classes.1"),
    "a class too few": ("classes", ["0", "1"], "head.classes"),
    "classes that are a text": ("classes", "012", "classes"),
    "swapped classes": ("classes", ["1", "0", "2"], "classes: number 1"),
    "renamed classes": ("classes", ["0", "1", "two"], "classes: number 3"),
    "an OOD limit of 0": ("ood_limit", 0, "ood_limit"),
    "no OOD limit beside its tensors": ("ood_limit", None, "unknown tensor ood."),
    "a format of 0": ("format", 0, "format"),
    "a head of other features": ("head.features", 7, "head.features"),
    "a head of a billion features": ("head.features", 10**9, "head.features"),
    "a hidden layer that has no weights": ("head.hidden", 64, "lacks tensor head.layers"),
    "a dropout of 1.5": ("head.dropout_in", 1.5, "head.dropout_in"),
    "an unknown field of the head": ("head.checkpoint_path", "x", "head.checkpoint_path"),
    "a head that is a list": ("head", [], "head"),
    "another architecture": ("backbone.architecture", "deep_cnn", "model.safetensors"),
    "an architecture that takes 7 GB": (
        "backbone.architecture",
        "vit_giant_patch14_clip_224",
        "model.safetensors",
    ),
    "an architecture that nobody knows": ("backbone.architecture", "nonesuch", "nonesuch"),
    "an architecture that is an address": (
        "backbone.architecture",
        "hf-hub:someone/something",
        "backbone.architecture",
    ),
    "an architecture that is a path": (
        "backbone.architecture",
        "local-dir:/etc",
        "backbone.architecture",
    ),
    "checkpoint_path": (
        "backbone.arguments",
        {"checkpoint_path": "/etc/passwd"},
        "backbone.arguments: checkpoint_path",
    ),
    "pretrained": ("backbone.arguments", {"pretrained": True}, "arguments: pretrained"),
    "pretrained_cfg.url": (
        "backbone.arguments",
        {"pretrained_cfg": {"url": "http://127.0.0.1:9/x"}},
        "arguments: pretrained_cfg",
    ),
    "pretrained_cfg.file": (
        "backbone.arguments",
        {"pretrained_cfg_overlay": {"file": "/etc/passwd"}},
        "arguments: pretrained_cfg_overlay",
    ),
    "cache_dir": ("backbone.arguments", {"cache_dir": "/"}, "arguments: cache_dir"),
    "num_classes": ("backbone.arguments", {"num_classes": 10**9}, "arguments: num_classes"),
    "a depth of a million": ("backbone.arguments", {"depth": 10**6}, "arguments: depth"),
    "a layer that is a path": ("backbone.arguments", {"act_layer": "../x"}, "act_layer"),
    "a size that is an object": ("backbone.arguments", {"img_size": {}}, "img_size"),
    "a size of 400 digits": ("backbone.arguments", {"img_size": [10**400]}, "img_size"),
    "arguments that are a list": ("backbone.arguments", ["img_size"], "arguments"),
    "weights elsewhere": ("backbone.weights", "/etc/passwd", "backbone.weights"),
    "held weights": ("backbone.held", {"a": 1}, "backbone.held"),
    "a digest that is no digest": ("backbone.digest", "../../x", "backbone.digest"),
    "other features of the backbone": ("backbone.features", 2, "features"),
    "taps that are a text": ("backbone.taps", "yes", "backbone.taps"),
    "a preprocess that is not the backbone's": (
        "backbone.preprocess.height",
        32,
        "preprocess and backbone.preprocess differ",
    ),
}


@pytest.mark.parametrize("name", MODEL)
def test_an_edited_model_is_one_line_that_names_the_field(copy, name):
    path, value, said = MODEL[name]
    refused(edited(copy, "model.json", setter(path, value)), said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[]", "expected an object"),
        ("null", "expected an object"),
        ("{", "not JSON"),
        ("[" * 200_000, "too deep"),
        ('{"temperature": NaN}', "NaN is no number"),
        ('{"temperature": 1' + "0" * 9000 + "}", "not JSON"),
        ('{"classes": ["\\ud800"]}', "surrogate"),
        ("[" + "0," * 6_000_000 + "0]", "values"),
        ("\xff\xfe", "UTF-8"),
    ],
    ids=lambda text: text[:20].strip() or "nothing",
)
def test_a_model_json_that_is_no_such_thing_is_one_line(copy, text, said):
    (copy / "model.json").write_bytes(text.encode("latin-1"))
    refused(copy, "model.json", said)


def test_every_field_of_a_model_is_missed_by_its_name(copy):
    whole = (copy / "model.json").read_text()
    for part in ("", "head", "backbone"):
        for name in json.loads(whole) if not part else json.loads(whole)[part]:
            if name in ("ood_limit", "mirrored"):
                continue  # an older graft did not know them
            (copy / "model.json").write_text(whole)
            edited(copy, "model.json", lambda m, p=part, n=name: (m[p] if p else m).pop(n))
            refused(copy, f"{part}.{name}".lstrip("."), "is missing")


def test_fields_of_a_newer_graft_are_left_alone(copy):
    edited(copy, "model.json", lambda model: model.update(license="MIT"))
    edited(copy, "metrics.json", lambda metrics: metrics.update(kappa=0.9))
    assert graft.load(copy).classes == ("0", "1", "2")
    assert Run.finished(copy).metrics["kappa"] == 0.9


# The weights.


def first(state, start="encoder."):
    return next(k for k, v in state.items() if k.startswith(start) and v.is_floating_point())


def spoiled(state, how):
    key = first(state)
    if how == "NaN":
        state[key].view(-1)[3] = float("nan")
    elif how == "infinity":
        state["head.layers.1.bias"][0] = float("inf")
    elif how == "another shape":
        state[key] = state[key].reshape(-1)
    elif how == "a class more":
        state["head.layers.1.bias"] = torch.zeros(4)
    elif how == "another type":
        state[key] = state[key].to(torch.int32)
    elif how == "a tensor less":
        del state[key]
    elif how == "a tensor more":
        state["encoder.hidden.payload"] = torch.zeros(8)
    elif how == "a std of 0":
        state["head.std"][1] = 0
    elif how == "an OOD std below 0":
        state["ood.std"][1] = -1
    elif how == "directions of other features":
        state["ood.directions"] = state["ood.directions"][:5].contiguous()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("NaN", "NaN"),
        ("infinity", "head.layers.1.bias holds NaN or infinity"),
        ("another shape", "has the shape"),
        ("a class more", "head.layers.1.bias has the shape [4], not [3]"),
        ("another type", "is of the type I32"),
        ("a tensor less", "lacks tensor encoder."),
        ("a tensor more", "unknown tensor encoder.hidden.payload"),
        ("a std of 0", "head.std"),
        ("an OOD std below 0", "ood.std"),
        ("directions of other features", "ood.directions has the shape"),
    ],
)
def test_edited_weights_are_one_line_that_names_the_tensor(copy, how, said):
    file = copy / "model.safetensors"
    state = {key: value.clone() for key, value in load_file(file).items()}
    spoiled(state, how)
    save_file(state, file)
    refused(copy, "model.safetensors", said)


def test_a_header_that_claims_gigabytes_is_refused_unread(copy):
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[:8] = (2**40).to_bytes(8, "little")
    (copy / "model.safetensors").write_bytes(data)
    refused(copy, "a header of")


@pytest.mark.parametrize(
    ("start", "value", "said"),
    [("encoder.", 1e30, "not finite"), ("head.layers", 3e38, "NaN or infinity")],
)
def test_weights_too_large_for_their_sums_are_an_error_and_not_nan(copy, noise, start, value, said):
    file = copy / "model.safetensors"
    state = load_file(file)
    for key in state:
        if key.startswith(start) and state[key].ndim > 1:
            state[key] = torch.full_like(state[key], value)
    save_file(state, file)
    with pytest.raises(ModelError, match=said):
        graft.load(copy, backend="torch").predict(noise)


# Files that are no files.


def sparse(file):
    file.unlink()
    with file.open("wb") as stream:
        stream.truncate(30 * 2**30)


SPECIAL = {
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
    "a link to a device": lambda file: (file.unlink(), file.symlink_to("/dev/zero")),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "30 GB of nothing": sparse,
}


@pytest.mark.skipif(os.name == "nt", reason="needs pipes and devices")
@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "predictions.csv"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_neither_hangs_nor_fills_the_memory(copy, kind, name):
    SPECIAL[kind](copy / name)
    with pytest.raises(ModelError) as raised:
        graft.load(copy)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(os.name == "nt", reason="needs pipes and devices")
@pytest.mark.parametrize("name", [*(f"{each}.json" for each in RESULTS), "dataset.csv"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_a_finished_run_is_read_from_files_alone(copy, kind, name):
    (copy / name).touch()
    SPECIAL[kind](copy / name)
    with pytest.raises(DataError) as raised:
        Run.finished(copy)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


# The results.

RATE = {"value": 0.5, "low": 0.4, "high": 0.6}


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("metrics", {"accuracy": {**RATE, "value": 7}}, "accuracy.value"),
        ("metrics", {"accuracy": None}, "accuracy"),
        ("metrics", {"n": 0}, "n:"),
        ("metrics", {"n": "many"}, "n:"),
        ("metrics", {"classes": ["0", "1", "1"]}, "comes twice"),
        ("metrics", {"classes": ["0", "1"]}, "per_class and classes"),
        ("metrics", {"classes": ["2", "1", "0"]}, "differ in their classes"),
        ("metrics", {"confusion": [[1, 2], [3, 4]]}, "confusion is not 3 × 3"),
        ("metrics", {"confusion": [[-1] * 3] * 3}, "confusion.0.0"),
        ("metrics", {"per_class": {}}, "per_class"),
        ("metrics", {"reliability": [{"low": 0}]}, "reliability.0"),
        ("metrics", {"ece": 10**500}, "ece"),
        ("metrics", {"slices": [{"worse": True}]}, "slices.0"),
        ("metrics", {"seconds": {"total": -5}}, "seconds.total"),
        ("metrics", {"seconds": {"total": 5, "fit": "long"}}, "seconds.fit"),
        ("metrics", {"intervals": {"ece": [0.1]}}, "intervals.ece"),
        ("metrics", {"baseline": {"majority_class": 1}}, "baseline"),
        ("metrics", {"selective_prediction": {"n": 0}}, "selective_prediction"),
        ("config", {"source": 5}, "source"),
        ("config", {"seed": -1}, "seed"),
        ("config", {"notes": "one"}, "notes"),
        ("config", {"settings": []}, "settings"),
        ("speed", {"images_per_second": 0}, "images_per_second"),
        ("speed", {"images_per_second": "fast"}, "images_per_second"),
        ("validation", {"folds": {"folds": 5}}, "folds"),
        ("validation", {"learning_curve": {"points": []}}, "learning_curve"),
        ("validation", {"repeats": {"each": []}}, "repeats"),
        ("nearest", {"a.png": "b.png"}, "a.png"),
        ("heat_maps", {"a.png": {"map": [[0, 1], [2]], "sentence": ""}}, "one length"),
        ("heat_maps", {"a.png": {"map": [[1e300]], "sentence": ""}}, "map.0.0"),
        ("heat_maps", {"a\n\x1b[2J": {}}, "a\\n\\x1b[2J.map"),
    ],
)
def test_edited_results_are_one_line_that_names_the_field(copy, name, change, said):
    edited(copy, f"{name}.json", lambda value: value.update(change))
    with pytest.raises(DataError) as raised:
        Run.finished(copy)
    found = str(raised.value)
    assert f"{name}.json" in found
    assert said in found
    assert "\n" not in found
    assert "\x1b" not in found


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ({}, "expected a list"),
        ([{"kind": "tiny", "severity": "terrible", "paths": [], "message": ""}], "0.severity"),
        ([{"kind": "tiny", "severity": "note", "paths": [1], "message": ""}], "0.paths.0"),
    ],
)
def test_edited_findings_are_one_line(copy, findings, said):
    (copy / "findings.json").write_text(json.dumps(findings))
    with pytest.raises(ModelError, match=said):
        _ = Run(copy).findings


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('{"epoch": 0}', "0.epoch"),
        ('{"epoch": 1}\n{"epoch": 1e99}', "1.epoch"),
        ('{"epoch": 1, "val_loss": "low"}', "0.val_loss"),
        ("[]", "expected an object"),
        ('{"epoch": 1', "not JSON"),
    ],
)
def test_an_edited_history_is_one_line(copy, lines, said):
    (copy / "history.jsonl").write_text(lines)
    with pytest.raises(ModelError, match=said):
        _ = Run(copy).history


def test_a_loss_that_was_not_finite_is_kept_in_the_history(copy):
    (copy / "history.jsonl").write_text('{"epoch": 1, "val_loss": NaN}\n')
    assert np.isnan(Run(copy).history[0]["val_loss"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,split,label,a,a\n", "twice"),
        ("path,split,label,a,\n", "without a name"),
        ("path,split,label\n", "first line"),
        ("name,split,label,a,b\n", "first line"),
        ("path,split,label,a,b\nx,test,a,0.9,0.9\n", "sum 1"),
        ("path,split,label,a,b\nx,test,a,nan,1\n", "sum 1"),
        ("path,split,label,a,b\nx,test,a,-1,2\n", "sum 1"),
        ("path,split,label,a,b\nx,test,a,1e400,0\n", "sum 1"),
        ("path,split,label,a,b\nx,test,a,1\n", "1 probabilities for 2 classes"),
        ("path,split,label,a,b\nx,test\x1b[2J,c,1,0\n", "the label 'c'"),
        ("path,split,label,a,b\n" + "x" * 200_000, "field larger"),
        ("path,split,label," + "\0" * 20_000_000, "a line of more than"),
    ],
)
def test_a_table_of_predictions_has_what_it_says(tmp_path, text, said):
    (tmp_path / "predictions.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_predictions(tmp_path / "predictions.csv")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,b,train,c", "columns"),
        ("a,b,train,c," + "0" * 64 + ",d", "columns"),
        ("a,b,holdout,c," + "0" * 64, "'holdout'"),
        ("a,b,train,c," + "g" * 64, "sha256"),
        (",b,train,c," + "0" * 64, "never empty"),
        ("", "no image"),
    ],
)
def test_a_table_of_images_has_what_it_says(tmp_path, row, said):
    (tmp_path / "dataset.csv").write_text(f"path,label,split,group_id,sha256\n{row}\n")
    with pytest.raises(ModelError, match=said):
        _ = Run(tmp_path).images


@pytest.mark.parametrize("how", ["rows beyond the table", "rows below 0", "NaN", "another width"])
def test_neighbors_that_are_not_the_runs_are_one_line(copy, noise, how):
    file = copy / "neighbors.safetensors"
    stored = load_file(file)
    if how.startswith("rows"):
        stored["rows"][0] = 10**9 if "beyond" in how else -1
    elif how == "NaN":
        stored["places"][0, 0] = float("nan")
    else:
        stored["places"] = stored["places"][:, :1].contiguous()
    save_file(stored, file)
    predictor = graft.load(copy, backend="torch")
    with pytest.raises(ModelError, match=r"neighbors\.safetensors"):
        predictor.predict(noise, graft.Policy(nearest=3))


# Loaded means loaded.


@pytest.mark.parametrize("gone", ["deleted", "moved"])
def test_a_loaded_run_predicts_the_same_when_its_folder_is_gone(frozen_run, digits, tmp_path, gone):
    copy = shutil.copytree(frozen_run, tmp_path / "run")
    files = sorted(digits.rglob("*.png"))[:6]
    predictor = graft.load(copy)
    expected = graft.load(frozen_run).predict(files)
    if gone == "moved":
        copy.rename(tmp_path / "elsewhere")
    else:
        shutil.rmtree(copy)
    assert predictor.predict(files) == expected
    assert predictor.classifier.encoder is not None
    assert predictor.backbone.state().keys() == graft.load(frozen_run).backbone.state().keys()
    with pytest.raises(ModelError, match="is missing"):
        predictor.predict(files, graft.Policy(nearest=1))


# No connection, and no file but the run's own.


@pytest.fixture
def timm_run(untrained, tmp_path):
    """A run's model with a network of timm, of random weights."""
    made = untrained("mobilenetv3_small_050")
    encoder = made.backend.build()
    width = made.head.shape["features"]
    held = encoder.body.state_dict()
    backbone = replace(made.backbone, features=width, parameters=10**6, held=held)
    folder = tmp_path / "run"
    folder.mkdir()
    save(replace(made, backbone=backbone), Run(folder), trained=1)
    return folder


WATCHED = """
import json, sys
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "os.system"):
        seen.append(f"{event} {arguments}")
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        seen.append("open " + str(arguments[0]))
import graft, timm, numpy
from pathlib import Path
image = numpy.zeros((32, 32, 3), numpy.uint8)
from graft.runs import schema_model, schema_results
from PIL import Image
sys.addaudithook(watch)
for run in sys.argv[1:]:
    seen.clear()
    try:
        graft.load(run, backend="torch").predict(image)
        said = "predicted"
    except graft.errors.ModelError as error:
        said = f"ModelError {error}"
    print(json.dumps([said, seen]))
"""

BEYOND_THE_FOLDER = {
    "nothing": {},
    "pretrained_cfg": {"pretrained_cfg": {"url": "ADDRESS", "hf_hub_id": "a/b"}},
    "pretrained": {"pretrained": True},
    "checkpoint_path": {"checkpoint_path": "SECRET"},
    "pretrained_cfg_overlay": {"pretrained_cfg_overlay": {"file": "SECRET"}, "pretrained": True},
}


@pytest.fixture
def address():
    """The address of a web server here, and what was asked of it."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/weights.safetensors", asked
    server.shutdown()
    server.server_close()


def naming(run, arguments, address, tmp_path):
    """The run with these arguments for timm, and a file that it must not open."""
    (tmp_path / "secret.pth").write_bytes(b"mine")
    text = json.dumps(arguments).replace("ADDRESS", address)
    text = text.replace("SECRET", str(tmp_path / "secret.pth"))
    edited(run, "model.json", lambda m: m["backbone"].update(arguments=json.loads(text)))


def watched(*command, **environment):
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_field_of_a_model_makes_a_connection_or_opens_another_file(timm_run, address, tmp_path):
    url, asked = address
    runs = []
    for name, arguments in BEYOND_THE_FOLDER.items():
        runs.append(shutil.copytree(timm_run, tmp_path / name))
        naming(runs[-1], arguments, url, tmp_path)
    lines = watched(sys.executable, "-c", WATCHED, *runs).splitlines()
    for run, line in zip(runs, lines, strict=True):
        said, seen = json.loads(line)
        assert said.split()[0] == ("predicted" if run.name == "nothing" else "ModelError")
        package = str(Path(graft.__file__).parent)
        own = (str(run), sys.prefix, sys.base_prefix, package, "/proc/", "/sys/", "/dev/null")
        strange = [line for line in seen if not line.removeprefix("open ").startswith(own)]
        assert not strange, run.name
    assert not asked


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("name", BEYOND_THE_FOLDER)
def test_the_kernel_sees_no_connection_and_no_other_file(timm_run, address, tmp_path, name):
    url, asked = address
    naming(timm_run, BEYOND_THE_FOLDER[name], url, tmp_path)
    trace = tmp_path / "trace"
    watched(
        *("strace", "-f", "-qq", "-e", "trace=connect,openat,open", "-o", str(trace)),
        *(sys.executable, "-c", WATCHED, timm_run),
    )
    lines = trace.read_text(errors="replace").splitlines()
    assert any(str(timm_run / "model.safetensors") in line for line in lines) or name != "nothing"
    assert not [line for line in lines if "AF_INET" in line]
    assert not [line for line in lines if "secret.pth" in line]
    assert not asked


def test_a_local_folder_of_weights_may_say_no_more_than_a_network_needs(tmp_path):
    import timm

    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(timm.create_model("resnet10t").state_dict(), folder / "model.safetensors")
    config = {"architecture": "resnet10t", "num_classes": 1000, "pretrained_cfg": {}}
    config["model_args"] = {"checkpoint_path": "/etc/passwd"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="checkpoint_path is no argument"):
        find_backbone(f"local-dir:{folder}", tmp_path / "cache")


def test_the_arguments_that_graft_passes_to_timm_name_no_file_address_or_classes():
    names = REPEATS | OTHERS
    for word in ("pretrained_cfg", "checkpoint_path", "url", "file", "cache_dir", "num_classes"):
        assert word not in names
    odd = [n for n in names if any(w in n for w in ("path", "file", "url", "hub", "cfg", "dir"))]
    assert sorted(odd) == ["bidirectional", "cfgs", "drop_path_rate"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"pad_type": "same"},
        {"img_size": [224, 448], "reg_tokens": 4, "init_values": 1e-5},
        {"global_pool": "", "class_token": False, "window_size": [[7, 7], [14, 14]]},
    ],
)
def test_the_arguments_that_published_weights_have_are_passed(arguments):
    check_arguments(arguments)


def test_a_named_data_set_that_is_not_here_is_not_fetched_for_a_report(copy, monkeypatch):
    def refuse(*arguments, **named):
        raise AssertionError("a connection")

    monkeypatch.setattr("socket.socket.connect", refuse)
    edited(copy, "config.json", lambda config: config.update(source="cats_vs_dogs"))
    assert Run(copy).files == {}
    for source in ("http://127.0.0.1:9/x.zip", "\0", "a" * 5000, "//host/share"):
        edited(copy, "config.json", lambda config, s=source: config.update(source=s))
        assert Run(copy).files == {}


def test_a_run_that_does_not_say_how_it_was_trained_cannot_be_fitted_again(copy):
    edited(copy, "config.json", lambda config: config.pop("resolved"))
    with pytest.raises(ModelError, match="lacks the source"):
        _ = Run(copy).resolved
