"""graft's tools for assistants, asked by the protocol's own client."""

import asyncio
import base64
import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from PIL import Image

import graft as package
from graft.mcp_server.server import build


@pytest.fixture(scope="module")
def root(tmp_path_factory, digits, finished, frozen_run):
    folder = tmp_path_factory.mktemp("mcp") / "root"
    shutil.copytree(digits, folder / "digits")
    shutil.copytree(finished, folder / "runs" / "scratch")
    shutil.copytree(frozen_run, folder / "runs" / "frozen")
    return folder


def call(root, name, **given):
    """The result of a tool, from a server in this process."""

    async def ask():
        async with Client(build(root)) as client:
            return await client.call_tool(name, given)

    return asyncio.run(ask())


def value(result):
    """What a tool gave, as data."""
    assert not result.is_error, result.content
    found = result.structured_content
    return found["result"] if set(found) == {"result"} else found


def problem(root, name, **given):
    result = call(root, name, **given)
    assert result.is_error, result
    return result.content[0].text


def test_the_tools_have_schemas_and_only_train_writes(root):
    async def listed():
        async with Client(build(root)) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(listed())}
    assert set(tools) == {
        *("list_runs", "describe_run", "check_folder", "predict", "explain", "summary"),
        *("nearest", "evaluate", "compare", "train", "ask"),
    }
    for name, tool in tools.items():
        assert tool.annotations.read_only_hint is (name != "train")
        assert tool.annotations.destructive_hint is False
        assert tool.description
        assert tool.title
    assert tools["nearest"].input_schema["properties"]["count"]["maximum"] == 20


def test_runs_are_listed_and_described_as_their_files_say(root):
    runs = {run["run"]: run for run in value(call(root, "list_runs"))}
    assert set(runs) == {"runs/scratch", "runs/frozen"}
    stored = json.loads((root / "runs/scratch/metrics.json").read_text())
    assert runs["runs/scratch"]["accuracy"] == stored["accuracy"]
    told = value(call(root, "describe_run", run="runs/scratch"))
    assert told["metrics"]["confusion"] == stored["confusion"]
    network = value(call(root, "summary", run="runs/scratch"))
    first = next(layer for layer in network["layers"] if layer["kernel"])
    assert first["output_shape"] == [32, 16, 16]
    assert first["parameters"] == 864
    assert network["parameters"] == told["model"]["parameters"]["total"]


def test_predictions_neighbors_and_explanations_are_graft_s_own(root):
    image = sorted((root / "digits" / "1").iterdir())[5]
    name = str(image.relative_to(root))
    (found,) = value(call(root, "predict", run="runs/scratch", images=[name]))
    expected = package.load(root / "runs/scratch").predict(image)
    assert found["probabilities"] == expected.probabilities
    assert found["path"] == name
    many = value(call(root, "predict", run="runs/scratch", images=["digits/1", "digits/2"]))
    assert len(many) == 80
    near = value(call(root, "nearest", run="runs/scratch", image=name, count=3))
    assert [each["similarity"] for each in near] == sorted(
        (each["similarity"] for each in near), reverse=True
    )
    text, picture = call(root, "explain", run="runs/scratch", image=name).content
    assert expected.best_guess in text.text
    with Image.open(io.BytesIO(base64.b64decode(picture.data))) as map_:
        assert map_.size == (448, 448)
    told = value(call(root, "ask", run="runs/scratch", question="What is it?", images=[name]))
    assert told["evidence"]["probability"] == expected.probability


def test_a_folder_is_checked_and_a_run_evaluated_on_it(root, make_digits):
    make_digits(root / "more", each=20, start=60)
    found = value(call(root, "check_folder", source="more"))
    assert found["images"] == 60
    make_digits(root / "nested" / "odd", classes="1", each=4)
    make_digits(root / "nested" / "even", classes="02", each=4)
    inner = {"even/0", "even/2", "odd/1"}
    for label_by, expected in ((None, {"even", "odd"}), ("innermost", inner)):
        found = value(call(root, "check_folder", source="nested", label_by=label_by))
        assert set(found["classes"]) == expected
    metrics = value(call(root, "evaluate", run="runs/scratch", source="more"))
    assert metrics["n"] <= 60
    assert metrics["accuracy"]["low"] <= metrics["accuracy"]["value"] <= metrics["accuracy"]["high"]
    both = value(call(root, "compare", runs=["runs/scratch", "runs/frozen"]))
    assert len(both["models"]) == 2


def test_training_reports_progress_and_refuses_a_folder_that_is_there(root):
    heard = []

    async def train():
        async def hear(progress, total, message):
            heard.append(message)

        async with Client(build(root)) as client:
            given = {"source": "digits", "out": "runs/new", "model": "base_cnn", "epochs": 1}
            return await client.call_tool(
                "train", given | {"image_size": 16}, progress_callback=hear
            )

    told = value(asyncio.run(train()))
    assert told["run"] == "runs/new"
    assert told["metrics"]["accuracy"] == package.Run(root / "runs/new").metrics["accuracy"]
    assert len(heard) > 2
    before = {file: file.stat().st_mtime_ns for file in (root / "runs/new").iterdir()}
    said = problem(root, "train", source="digits", out="runs/new", model="base_cnn")
    assert "there already" in said
    assert {file: file.stat().st_mtime_ns for file in (root / "runs/new").iterdir()} == before


def test_errors_reach_the_assistant_as_they_are(root):
    assert "expected a finished run" in problem(root, "describe_run", run="digits")
    assert "no such file" in problem(root, "predict", run="runs/scratch", images=["nothing.jpg"])
    assert "expected one of" in problem(
        root, "explain", run="runs/scratch", image="digits/1", against="9"
    ) or "folder" in problem(root, "explain", run="runs/scratch", image="digits/1")


def test_nothing_outside_of_the_root_is_reached(root, tmp_path):
    outside = tmp_path / "outside"
    shutil.copytree(root / "digits", outside / "digits")
    shutil.copytree(root / "runs" / "scratch", outside / "run")
    some = next((outside / "digits" / "1").iterdir())
    (root / "linked").symlink_to(outside / "digits")
    (root / "linked_run").symlink_to(outside / "run")
    mixed = root / "mixed" / "a"
    mixed.mkdir(parents=True)
    (mixed / "x.png").symlink_to(some)
    with (root / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "label"), (some, "1"), ("digits/1/1.png", "1")])
    run = {"run": "runs/scratch"}
    tries = [
        ("describe_run", {"run": str(outside / "run")}),
        ("describe_run", {"run": "linked_run"}),
        ("predict", run | {"images": [str(some)]}),
        ("predict", run | {"images": ["linked"]}),
        ("predict", run | {"images": ["mixed"]}),
        ("explain", run | {"image": "mixed/a/x.png"}),
        ("nearest", run | {"image": "../outside/digits"}),
        ("check_folder", {"source": "linked"}),
        ("check_folder", {"source": "mixed"}),
        ("check_folder", {"source": "table.csv"}),
        ("evaluate", run | {"source": str(outside / "digits")}),
        ("compare", {"runs": ["runs/scratch", "linked_run"]}),
        ("ask", run | {"question": "what is it", "images": [str(some)]}),
        ("train", {"source": "digits", "out": "../outside/new", "model": "base_cnn"}),
        ("train", {"source": "digits", "out": "linked/new", "model": "base_cnn"}),
        ("train", {"source": "digits", "out": "runs/n", "model": str(outside / "run")}),
        ("train", {"source": "digits", "out": "runs/n", "model": f"local-dir:{outside}"}),
    ]
    try:
        for name, given in tries:
            assert "outside" in problem(root, name, **given), (name, given)
    finally:
        for name in ("linked", "linked_run", "table.csv"):
            (root / name).unlink()
        shutil.rmtree(root / "mixed")
    assert not (outside / "new").exists()
    assert {run["run"] for run in value(call(root, "list_runs"))} >= {"runs/scratch"}


def test_a_process_speaks_the_protocol_on_stdio_and_nothing_else(root):
    async def talk():
        command = str(Path(sys.executable).parent / "graft")
        server = StdioServerParameters(
            command=command, args=["mcp", "--root", str(root)], env=dict(os.environ)
        )
        async with Client(server) as client:
            image = str(next((root / "digits" / "1").iterdir()).relative_to(root))
            await client.call_tool("predict", {"run": "runs/scratch", "images": [image]})
            return await client.call_tool(
                "ask", {"run": "runs/scratch", "question": "How good are you?"}
            )

    found = value(asyncio.run(talk()))
    assert found["intent"] == "accuracy"


def test_without_the_package_the_command_is_one_clear_line(root, graft_here, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "mcp" else find(name, *more),
    )
    ended = graft_here("mcp", "--root", root)
    assert ended.code == 4
    assert (
        ended.err
        == "graft: graft mcp needs a package that is not installed; pip install 'graft[mcp]'\n"
    )
