"""graft summary, as a learner types it."""

import json

import pytest


def test_the_table_and_one_layer_in_full(graft_here):
    table = graft_here("summary", "base_cnn", "--image-size", 32)
    assert table.code == 0, table.err
    assert "blocks.2.3" in table.out
    assert "parameters: 287,456 (all of them trainable)" in table.out
    layer = graft_here("summary", "base_cnn", "--layer", "blocks.0.3")
    assert "3 × 3 × 32 × 32 = 9,216 weights, no biases = 9,216 parameters" in layer.out
    several = graft_here("summary", "base_cnn", "--layer", "blocks.1")
    assert several.out.count("blocks.1.") == 7


def test_a_wrong_layer_is_one_line_with_the_nearest_names(graft_here):
    ended = graft_here("summary", "base_cnn", "--layer", "block.0.0")
    assert ended.code == 2
    assert ended.err.startswith("graft: no layer 'block.0.0'; the nearest names: blocks.0.0, ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("more", [[], ["--layer", "blocks.0.0"]])
def test_json_has_the_same_numbers(graft_here, more):
    ended = graft_here("summary", "base_cnn", "--batch", 16, "--json", *more)
    found = json.loads(ended.out)
    layer = found[0] if more else found["layers"][0]
    assert (layer["name"], layer["parameters"], layer["kernel"]) == ("blocks.0.0", 864, [3, 3])
    if not more:
        assert found["parameters"] == 287456
        assert found["memory"]["batch"] == 16
        assert sum(each["multiply_adds"] for each in found["layers"]) == found["multiply_adds"]


def test_a_run_of_ones_own_and_its_page(graft_here, frozen_run, tmp_path):
    page = tmp_path / "network.html"
    ended = graft_here("summary", frozen_run, "--html", page)
    assert ended.code == 0, ended.err
    assert "head.standardize" in ended.out
    assert "frozen" in ended.out
    assert page.is_file()
    assert ended.err == f"written: {page}\n"
