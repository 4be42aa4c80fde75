"""Networks of the usual notebooks and of today, by their names, from a hub on this machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent / "files" / "hub_networks.py"
NOTEBOOKS = (
    "mobilenetv2_100",
    "resnet50",
    "vgg16",
    "inception_v3",
    "efficientnet_b0",
    "vit_small_patch16_224",
)
MODERN = (
    "vit_small_patch14_dinov2.lvd142m",
    "vit_small_patch16_dinov3.lvd1689m",
    "vit_base_patch16_siglip_224.v2_webli",
    "vit_base_patch16_clip_224.openai",
    "eva02_base_patch16_clip_224.merged2b",
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory, digits):
    """What was told of each, by name; one process, since importing takes longest."""
    folder = tmp_path_factory.mktemp("hub")
    done = subprocess.run(
        [sys.executable, SCRIPT, folder, digits, *MODERN, "--train", *NOTEBOOKS],
        capture_output=True,
        text=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["name"]: row for row in found}, done.stderr


@pytest.mark.parametrize("name", [*MODERN, *NOTEBOOKS])
def test_a_network_is_fetched_by_its_name_and_gives_timms_features(rows, name):
    told, said = rows
    assert name in told, said[-2000:]
    assert told[name]["source"].startswith(f"timm/{name}")
    assert told[name]["off"] < 1e-4


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_network_of_the_usual_notebooks_is_trained_by_its_name(rows, name):
    assert 0 <= rows[0][name]["accuracy"] <= 1
