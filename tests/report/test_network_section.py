import json
import re

import pytest
from safetensors.numpy import load_file

from graft.report.network_section import command_name, from_scratch, steps
from graft.report.run_page import write_report
from graft.runs.run import Run


def counts(text):
    return [int(n.replace("\N{NARROW NO-BREAK SPACE}", "").replace(",", "")) for n in text]


def test_the_parameters_of_the_steps_are_those_of_the_stored_weights(finished):
    model = json.loads((finished / "model.json").read_text())
    found = steps(model, model["classes"])
    assert [step.name for step in found] == ["Image", "Backbone", "Output layer", "Softmax"]
    stored = load_file(finished / "model.safetensors")
    last = max(key for key in stored if key.startswith("head.layers") and key.endswith("weight"))
    weights, biases = stored[last], stored[last.replace("weight", "bias")]
    numbers = counts(re.findall(r"[\d,\u202f]+", found[2].parameters))
    assert numbers == [weights.shape[1], weights.shape[0], len(biases), weights.size + biases.size]
    assert "16 × 16 × 3 = 768 numbers" in found[0].gives


def test_a_hidden_layer_is_a_step_of_its_own():
    model = {
        "backbone": {"name": "some_net", "taps": True, "features": 10, "parameters": 7},
        "head": {"features": 10, "classes": 4, "hidden": 6},
        "preprocess": {"height": 8, "width": 8, "resize": "squash"},
        "frozen": True,
        "temperature": 0.5,
    }
    image, backbone, hidden, output, softmax = steps(model, ["a", "b", "c", "d"])
    assert hidden.parameters == "10 × 6 weights + 6 biases = 66"
    assert output.parameters == "6 × 4 weights + 4 biases = 28"
    assert backbone.parameters == "7 parameters, not trained here"
    assert "whole" in image.does
    assert "0.5" in softmax.does
    assert softmax.gives.endswith("a, b, c, …")


def test_a_record_without_a_head_has_no_steps():
    assert steps({}, ["a"]) == []


@pytest.mark.parametrize("source", ["trained from scratch", "package x"])
def test_a_network_from_scratch_is_known_by_its_source(source):
    assert from_scratch({"backbone": {"source": source}}) == (source == "trained from scratch")


def test_the_report_answers_a_beginners_questions_by_links_that_lead_somewhere(finished):
    run = Run(finished)
    page = write_report(run).read_text()
    section = page[page.index('id="network"') : page.index('id="settings"')]
    assert section.count("<dt>") >= 10
    links = set(re.findall(r'href="#([a-z0-9-]+)"', section))
    assert {"mistakes", "calibration", "confusions", "training", "data", "glossary"} <= links
    assert {f"glossary-{word}" for word in ("channel", "convolution", "image-size")} <= links
    assert all(f'id="{link}"' in page for link in links)
    assert f"graft explain {command_name(run)} IMAGE" in section


def test_a_command_names_the_run_as_it_was_given_but_never_the_machine(finished, monkeypatch):
    assert command_name(Run(finished)) == finished.name
    monkeypatch.chdir(finished.parents[1])
    given = finished.relative_to(finished.parents[1])
    assert command_name(Run(given)) == str(given)
