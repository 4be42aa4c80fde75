"""Edits copies of a run folder at random and reads them by every way there is, in a process of its
own: `python edit_runs.py RUN SOURCE EDITS [whole]`. Prints what came of it as JSON: how many edits
were refused and how many not noticed, the connections tried, and the most memory in use.

A reading that ends in anything but a GraftError of one line fails, and hypothesis prints the edit.
"""

import contextlib
import copy
import json
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import graft
from graft.errors import GraftError
from graft.evaluation.comparison import read_comparison
from graft.inference.evaluate_run import evaluate_run
from graft.report.run_page import write_report
from graft.runs import digests
from graft.runs.digest_file import seal
from graft.runs.run import Run
from graft.utils.progress import Progress

VALUES = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 2, 0.5, 1e-320, 1e308, -1e308, 10**9, 10**30, 10**400),
        *(100_000, 2048, float("nan"), float("inf"), "", "x", "0", "1", "x" * 100_000),
        *("\x1b[2J", "a\nb", "\ud800", "/etc/passwd", "http://127.0.0.1:9/x", "../../x", "\0"),
        *("vit_giant_patch14_clip_224", "deep_cnn", "resnet18", "hf-hub:a/b", "squash", "nearest"),
        *([], {}, [[]], [0, 0, 0], [1e30] * 3, {"url": "http://127.0.0.1:9/x"}, ["0", "0", "2"]),
    ]
)
KEYS = st.sampled_from(
    ["checkpoint_path", "pretrained_cfg", "url", "file", "img_size", "new", "class", "", "\x1b[2J"]
)
JSON = (
    *("model.json", "model.json", "model.json", "config.json", "findings.json", "metrics.json"),
    *("metrics.json", "nearest.json", "history.jsonl", "digests.json", "validation.json"),
    *("speed.json", "heat_maps.json"),
)
TABLES = ("dataset.csv", "predictions.csv")
TENSORS = ("model.safetensors", "model.safetensors", "neighbors.safetensors")
ANY = sorted({*JSON, *TABLES, *TENSORS})
NEW = {
    "speed.json": {"images_per_second": 5.0, "images": 10, "backend": "torch"},
    "validation.json": {
        "folds": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}, "n": 9, "folds": 3}
        | {"left_out": 0},
        "repeats": {"what": "splits", "each": [0.5], "n": [9], "mean": 0.5, "low": 0.4}
        | {"high": 0.6, "method": "m", "standard_deviation": None},
    },
    "heat_maps.json": {"0/0.png": {"map": [[0.0, 1.0]], "sentence": "s"}},
}


def places(value, at=()):
    """Every place in a JSON value, as the keys that lead there."""
    found = [at]
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in list(items)[:40]:
            found += places(inner, (*at, key))
    return found


def edit_json(data, file):
    if file.name in NEW and not file.exists():
        file.write_text(json.dumps(NEW[file.name]))
    text = file.read_text()
    lines = file.suffix == ".jsonl"
    value = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    for _ in range(data.draw(st.integers(1, 3))):
        inner = [place for place in places(value) if place]
        if not inner:
            break
        *above, last = data.draw(st.sampled_from(inner))
        at = value
        for key in above:
            at = at[key]
        how = data.draw(st.sampled_from(["remove", "set", "set", "set", "add", "swap", "twice"]))
        if how == "remove":
            del at[last]
        elif how == "set":
            at[last] = copy.deepcopy(data.draw(VALUES))
        elif how == "add" and isinstance(at[last], dict):
            at[last][data.draw(KEYS)] = copy.deepcopy(data.draw(VALUES))
        elif how == "swap" and isinstance(at[last], list):
            at[last] = at[last][::-1]
        elif how == "twice" and isinstance(at[last], list):
            at[last] = at[last] * 2
    texts = [json.dumps(line) for line in value] if lines else [json.dumps(value)]
    file.write_text("\n".join(texts))


def edit_table(data, file):
    rows = [line.split(",") for line in file.read_text().splitlines()]
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, len(rows[row]) - 1))
    how = data.draw(st.sampled_from(["cell", "cell", "column", "row", "twice", "header", "swap"]))
    if how == "cell":
        rows[row][column] = str(data.draw(VALUES)).encode(errors="replace").decode()
    elif how == "column":
        rows = [line[:column] + line[column + 1 :] for line in rows]
    elif how == "row":
        del rows[row]
    elif how == "twice":
        rows.append(rows[row])
    elif how == "header":
        del rows[1:]
    else:
        rows[0][-2:] = rows[0][:-3:-1]
    file.write_text("\n".join(map(",".join, rows)) + "\n")


def edit_tensors(data, file):
    state = {name: value.clone() for name, value in load_file(file).items()}
    name = data.draw(st.sampled_from(sorted(state)))
    value = state[name]
    how = data.draw(
        st.sampled_from(["nan", "inf", "huge", "zero", "shape", "type", "remove", "add", "cut"])
    )
    if how in ("nan", "inf", "huge", "zero") and value.is_floating_point() and value.numel():
        number = {"nan": float("nan"), "inf": float("inf"), "huge": 3e38, "zero": 0.0}[how]
        value.view(-1)[data.draw(st.integers(0, value.numel() - 1)) :] = number
    elif how == "shape":
        state[name] = value.reshape(-1) if value.ndim > 1 else value[:, None].contiguous()
    elif how == "type":
        state[name] = value.to(data.draw(st.sampled_from([torch.float16, torch.int8])))
    elif how == "remove":
        del state[name]
    elif how == "add":
        state[f"{name}.more"] = torch.zeros(3)
    elif how == "cut" and value.ndim:
        state[name] = value[: len(value) // 2].contiguous()
    save_file(state, file)


def edit_bytes(data, file):
    if file.name in NEW and not file.exists():
        file.write_text(json.dumps(NEW[file.name]))
    content = bytearray(file.read_bytes())
    how = data.draw(
        st.sampled_from(
            ["cut", "empty", "flip", "pipe", "folder", "gone", "sparse", "deep", "zero"]
        )
    )
    if how in ("pipe", "folder", "gone", "sparse", "zero"):
        file.unlink()
    if how == "cut":
        file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "flip":
        for _ in range(5):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        file.write_bytes(content)
    elif how == "pipe":
        os.mkfifo(file)
    elif how == "folder":
        file.mkdir()
    elif how == "zero":
        file.symlink_to("/dev/zero")
    elif how == "sparse":
        with file.open("wb") as stream:
            stream.truncate(30 * 2**30)
    elif how == "deep":
        file.write_text("[" * 100_000)


EDITS = ((edit_json, JSON), (edit_table, TABLES), (edit_tensors, TENSORS), (edit_bytes, ANY))


def ways(run, whole, source, noise, data):
    """Every way to read a run, by name; the slow ones where the `whole` is asked for."""
    yield "check", lambda: digests.check(run)
    policy = graft.Policy(nearest=data.draw(st.sampled_from([0, 3])))
    yield "predict", lambda: graft.load(run, backend="torch").predict(noise, policy)
    yield "policy", lambda: graft.policy(run, coverage=0.9)
    yield "compare", lambda: read_comparison([run, run])
    if whole or data.draw(st.integers(0, 3)) == 0:
        yield "report", lambda: write_report(Run.finished(run))
    if whole and data.draw(st.integers(0, 3)) == 0:
        yield "evaluate", lambda: evaluate_run(run, source, Progress(), "torch")
        yield "explain", lambda: graft.explain(run, noise, method="gradients")


def attempt(name, read, done):
    note(f"then {name}")
    try:
        found = read()
    except GraftError as error:
        said = str(error)
        assert "\n" not in said, f"{name}: {said!r}"
        assert "\x1b" not in said, f"{name}: {said!r}"
        assert len(said) < 5000, name
        done["refused"] += 1
        return
    problems = found if name == "check" else []
    assert all(problem.isprintable() for problem in problems), problems
    if name == "predict":
        values = list(found.probabilities.values())
        assert abs(sum(values) - 1) < 1e-6
        assert np.isfinite([found.probability, found.ood_score or 0.0]).all()
        json.dumps(found.to_json() if hasattr(found, "to_json") else values, allow_nan=False)
    done["read"] += 1


def main(run, source, count, whole):
    done = {"edits": 0, "refused": 0, "read": 0}
    connections = []

    def watch(event, arguments):
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
            connections.append(f"{event} {arguments[-1]}")

    sys.addaudithook(watch)
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3)).astype(np.uint8)

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],  # an edit is small already, and each takes a while to read
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def edits(data):
        with tempfile.TemporaryDirectory() as folder:
            edited = Path(shutil.copytree(run, Path(folder) / "run"))
            edit, names = data.draw(st.sampled_from(EDITS))
            file = edited / data.draw(st.sampled_from(names))
            after = data.draw(st.sampled_from(["kept", "none", "none", "sealed"]))
            if after == "none" and file.name != "digests.json":
                (edited / "digests.json").unlink()
            edit(data, file)
            if after == "sealed":
                with contextlib.suppress(OSError):
                    if not file.exists() or file.stat().st_size < 2**20:
                        seal(edited)
            done["edits"] += 1
            for name, read in ways(edited, whole, source, noise, data):
                attempt(name, read, done)

    edits()
    print(json.dumps(done | {"connections": connections, "peak": peak_memory()}))


def peak_memory():
    """The most bytes that this process has held. Not ru_maxrss, which begins with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), "whole" in sys.argv)
