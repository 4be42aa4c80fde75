"""Heads that begin at what the names of the classes say, and weights mixed with those."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from graft.config import TrainConfig
from graft.errors import UsageError
from graft.models.head import Head
from graft.models.runtime import Runtime
from graft.training.weight_mixing import SHARES, mix_weights, mixture


def test_a_linear_head_begins_at_given_weights_whatever_its_statistics():
    head = Head(5, 3, 0, 0.2, 0.5).eval()
    head.standardize(torch.randn(5), torch.rand(5) + 0.5)
    weights, features = torch.randn(3, 5), torch.randn(7, 5)
    head.begin_at(weights)
    assert torch.allclose(head(features), features @ weights.T, atol=1e-5)


def test_a_mixture_has_both_states_at_its_ends_and_their_means_between():
    before, after = ({"w": torch.randn(4), "n": torch.tensor(i)} for i in (1, 2))
    assert mixture(before, after, 1.0)["w"].equal(after["w"])
    assert mixture(before, after, 0.0)["w"].equal(before["w"])
    half = mixture(before, after, 0.5)
    assert torch.allclose(half["w"], (before["w"] + after["w"]) / 2)
    assert half["n"] == 2


def test_the_mixture_with_the_lowest_validation_loss_is_found():
    # The loss of one weight w on these two images is lowest near the middle of -1 and 3.
    model = nn.Linear(1, 2, bias=False)
    ends = [{"weight": torch.tensor([[0.0], [end]])} for end in (-4.0, 6.0)]
    x = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
    labels = (np.random.default_rng(0).random(40) < 1 / (1 + np.exp(-3 * x[:, 0]))).astype(np.int64)
    model.load_state_dict(ends[1])
    runtime = Runtime(torch.device("cpu"), torch.float32)
    said = mix_weights(model, ends[0], lambda: iter([(x, labels)]), runtime)
    found = float(model.weight.detach()[1, 0])
    losses = {}
    for share in SHARES:
        logits = x * (-4 + 10 * share)
        losses[share] = np.logaddexp(0, np.where(labels[:, None], -logits, logits)).mean()
    # A temperature is fitted for each, so that only the direction counts.
    assert found > 0
    assert said.startswith("WiSE-FT: ")
    assert "zero-shot" in said


@pytest.mark.parametrize("head", ["zero-shot", "wise-ft"])
def test_a_head_of_names_needs_a_text_tower(head):
    with pytest.raises(UsageError, match=f"--head {head} needs a model with a text tower"):
        TrainConfig(model="resnet18", head=head)


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """The `--model` of a tiny random network of images and captions."""
    pytest.importorskip("open_clip", reason="needs open_clip_torch (graft[zero-shot])")
    return f"open-clip:{write_model(tmp_path_factory.mktemp('open_clip') / 'tiny')}"


def write_model(folder):
    import json

    import open_clip
    from safetensors.torch import save_file

    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    vision = {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8}
    config = {"embed_dim": 48, "vision_cfg": vision, "text_cfg": text}
    folder.mkdir()
    stored = json.dumps({"model_cfg": config, "preprocess_cfg": {}})
    (folder / "open_clip_config.json").write_text(stored)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return folder


def test_training_begins_at_the_zero_shot_head(named, digits, fit, tmp_path):
    """With no learning to speak of, the run says what the zero-shot classifier says."""
    from graft.inference.saved_model import load, zero_shot

    run = fit(digits, tmp_path / "run", model=named, head="zero-shot", epochs=1, learning_rate=1e-9)
    files = [digits / path for path in run.predictions("test")[0]]
    expected = zero_shot(("0", "1", "2"), named, "float32").predict_proba(files)
    predictor = load(run.path, "float32")
    predictor.temperature = 1.0
    assert predictor.predict_proba(files) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("unfreeze", ["none", "1"])
def test_mixed_weights_make_an_ordinary_run_that_needs_no_open_clip(
    named, digits, fit, tmp_path, unfreeze, monkeypatch
):
    monkeypatch.setattr("graft.training.stages.MARGIN", -1e9)
    settings = {"epochs": 2, "views": 1, "learning_rate": 1e-3}
    run = fit(digits, tmp_path / "run", model=named, head="wise-ft", unfreeze=unfreeze, **settings)
    assert "WiSE-FT: " in " ".join(run.config["training_notes"])
    paths, _, expected = run.predictions("test")
    program = (
        "import sys; sys.modules['open_clip'] = None; from graft import load; "
        "found = load(sys.argv[1]).predict(sys.argv[2]); print(*found.probabilities.values())"
    )
    arguments = [sys.executable, "-c", program, run.path, digits / paths[0]]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.array(done.stdout.split(), float) == pytest.approx(expected[0], abs=5e-3)
