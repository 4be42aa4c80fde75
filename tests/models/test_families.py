"""Families of timm, each from random weights: docs/families.md says what was found.

The small ones in the default run; all of them, and ONNX, in the slow one.
"""

import re

import pytest
import timm
from model_families import CHECKS, DOCS, FAMILIES, examined

SMALL = ("byobnet", "convnext", "efficientnet", "mambaout", "nfnet", "resnet", "vision_transformer")
QUICK = ("20%", "all", "gradients", "image size")


def documented():
    """The cells of the table by family, in the order of CHECKS."""
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \| (\d*) \| (.*) \|$", DOCS.read_text(), re.M)
    return {
        family: (name, dict(zip(CHECKS, cells.split(" | "), strict=True)))
        for family, name, _, cells in rows
    }


def test_at_least_thirty_families_are_documented_and_each_network_is_of_its_family():
    table = documented()
    assert len(table) >= 30
    for family, (name, _) in table.items():
        assert name == FAMILIES[family].name
        assert timm.model_entrypoint(name).__module__ == f"timm.models.{family}"


def test_nothing_fails_without_a_reason():
    assert "**no**" not in DOCS.read_text()


@pytest.mark.parametrize("family", SMALL)
def test_small_networks_do_what_the_page_says(family, tmp_path):
    found, (_, said) = examined(family, tmp_path, QUICK), documented()[family]
    assert {name: found[name].partition(":")[0] for name in QUICK} == {
        name: said[name] for name in QUICK
    }


@pytest.mark.slow
@pytest.mark.parametrize("family", documented())
def test_each_family_does_what_the_page_says(family, tmp_path):
    _, said = documented()[family]
    tried = tuple(name for name, word in said.items() if word != "not tried")
    found = examined(family, tmp_path, tried)
    assert {name: found[name].partition(":")[0] for name in tried} == {n: said[n] for n in tried}
