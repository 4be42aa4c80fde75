"""Adapters in a training run: an ordinary run comes of it, which needs peft no more."""

import subprocess
import sys

import numpy as np
import pytest
from safetensors.torch import load_file

from graft.errors import UsageError
from graft.inference.saved_model import load

pytest.importorskip("peft", reason="needs the package peft (graft[lora])")


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    """A vision transformer of random weights for images of 32 pixels, in timm's local-dir form."""
    import json

    import timm
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = timm.create_model("test_vit", img_size=32)
    save_file(body.state_dict(), folder / "model.safetensors")
    fed = {"input_size": [3, 32, 32], "num_classes": 1000, "classifier": "head"}
    stored = {"architecture": "test_vit", "num_classes": 1000, "model_args": {"img_size": 32}}
    (folder / "config.json").write_text(json.dumps(stored | {"pretrained_cfg": fed}))
    return folder


@pytest.fixture(scope="module")
def tuned(transformer, digits, fit, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "lora"
    settings = {"epochs": 2, "views": 1, "learning_rate": 1e-2, "unfreeze": "lora"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graft.training.stages.MARGIN", -1e9)
        return fit(digits, out, model=f"local-dir:{transformer}", **settings)


def test_the_run_holds_the_networks_own_tensors_of_which_the_linear_layers_have_moved(
    tuned, transformer
):
    before = load_file(transformer / "model.safetensors")
    after = load_file(tuned.path / "model.safetensors")
    own = {k.removeprefix("encoder."): v for k, v in after.items() if k.startswith("encoder.")}
    assert own.keys() == {k for k in before if not k.startswith("head.")}
    moved = {name for name, value in own.items() if not value.equal(before[name])}
    layers = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")
    assert moved == {name for name in own if name.endswith(layers)}
    assert 0 < tuned.model["parameters"]["trained"] < tuned.model["parameters"]["total"] / 2


def test_without_peft_it_predicts_what_predictions_csv_says(tuned, digits):
    paths, _, expected = tuned.predictions("test")
    program = (
        "import sys; sys.modules['peft'] = None; from graft import load; "
        "found = load(sys.argv[1]).predict(sys.argv[2]); print(*found.probabilities.values())"
    )
    arguments = [sys.executable, "-c", program, tuned.path, digits / paths[0]]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.array(done.stdout.split(), float) == pytest.approx(expected[0], abs=5e-3)


def test_it_is_explained_and_exported_as_any_other(tuned, digits):
    from graft.explanation.heat_map import explain
    from graft.explanation.layer_table import summary
    from graft.export.graph import graph_of
    from graft.export.writers import torch_program

    predictor = load(tuned.path, "float32")
    found = explain(predictor, digits / tuned.predictions("test")[0][0], method="gradients")
    assert found.map.max() > 0
    assert "adapters of rank 8" in str(summary(tuned.path))
    assert torch_program(graph_of(predictor), None)


def test_a_convolutional_network_is_refused_before_anything_is_made(
    digits, finished, fit, tmp_path
):
    with pytest.raises(UsageError, match="lora is for transformers, and BaseCNN has no attention"):
        fit(digits, tmp_path / "run", model=str(finished), unfreeze="lora")
    assert not (tmp_path / "run" / "model.json").exists()
