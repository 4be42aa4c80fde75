"""Networks from scratch, heads from the names of the classes, adapters: where each is tried."""

import json
import time

import numpy as np
import pytest
import torch

import graft
from graft.config import configs_of
from graft.models.runtime import detect_runtime
from graft.runs.run import Run
from graft.tuning import portfolio
from graft.tuning.candidate import Candidate, complexity, described
from graft.tuning.fine_tuning_trials import run_as_train, step_seconds
from graft.tuning.search_data import Encodings, search_data
from graft.tuning.space import Space
from graft.utils.progress import Progress

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
TOWER = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}


def encodings_of(source, model, folder):
    config, split_config = configs_of({"model": str(model)}, graft.TrainConfig)
    folder.mkdir(exist_ok=True)
    run = Run(folder)
    data = search_data(source, config, split_config, run, Progress())
    return Encodings(data, config, run, Progress())


def test_networks_from_scratch_are_tried_on_small_images_alone():
    (one,) = portfolio.from_scratch(Space(), 32)
    assert (one.model, one.image_size, one.views) == ("deep_cnn", 32, 5)
    assert not one.frozen
    assert one.train_config().unfreeze == "none"
    assert "trained from scratch in 22 epochs" in described((one,))
    assert portfolio.from_scratch(Space(), 8)[0].image_size == 16, "no network is smaller"
    assert portfolio.from_scratch(Space(), 65) == []
    assert portfolio.from_scratch(Space(scratch=[]), 32) == []
    ridge = Candidate(head="ridge", hidden=0, strength=1.0)
    assert complexity((one,), Candidate()) > complexity((ridge,), Candidate())


def test_heads_from_names_are_tried_where_there_is_a_text_tower():
    assert portfolio.text_heads(Space(), Candidate()) == []
    found = portfolio.text_heads(Space(), Candidate(model="open-clip:folder"))
    assert [one.start for one in found] == ["zero-shot", "wise-ft"]
    assert [one.train_config().head for one in found] == ["zero-shot", "wise-ft"]
    assert all(one.frozen for one in found)
    assert "names of the classes" in described((found[0],))


def test_adapters_are_among_the_fine_tunings_with_their_own_defaults():
    found = portfolio.fine_tunings(Space(unfreeze=["lora"]), Candidate())
    assert {one.unfreeze for one in found} == {"lora"}
    assert {one.epochs for one in found} == {8}
    assert "adapters (LoRA)" in described((found[0],))


@pytest.mark.slow
def test_a_network_from_scratch_is_a_trial_that_predicts_what_it_has_not_seen(
    digits, finished, tmp_path
):
    encodings = encodings_of(digits, finished, tmp_path)
    assert encodings.side(Candidate(model=str(finished))) == 8
    one = Candidate(
        model="base_cnn", image_size=16, epochs=6, views=1, learning_rate=3e-3, augment="none"
    )
    runtime = detect_runtime("float32")
    assert step_seconds(one, encodings, runtime, time.perf_counter) > 0
    found = run_as_train(one, 0, encodings, runtime)
    labels = encodings.data.labels[found.rows]
    assert (found.rows == encodings.data.folds[0].held).all()
    assert (found.logits[0].argmax(1) == labels).mean() > 0.6
    assert len(found.curves[0]) == 6


@pytest.mark.slow
def test_a_transformers_adapters_are_a_trial(digits, tmp_path):
    pytest.importorskip("peft", reason="needs peft (graft[lora])")
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = timm.create_model("test_vit", img_size=32)
    folder = tmp_path / "vit"
    folder.mkdir()
    fed = {"input_size": [3, 32, 32], "num_classes": 1000, "classifier": "head"}
    stored = {"architecture": "test_vit", "num_classes": 1000, "model_args": {"img_size": 32}}
    (folder / "config.json").write_text(json.dumps(stored | {"pretrained_cfg": fed}))
    save_file(body.state_dict(), folder / "model.safetensors")
    model = f"local-dir:{folder}"
    encodings = encodings_of(digits, model, tmp_path / "run")
    one = Candidate(
        model=model, unfreeze="lora", epochs=2, views=1, augment="none", learning_rate=1e-3
    )
    runtime = detect_runtime("float32")
    assert step_seconds(one, encodings, runtime, time.perf_counter) > 0
    found = run_as_train(one, 0, encodings, runtime)
    assert np.isfinite(found.logits).all()


@pytest.fixture
def clip(tmp_path):
    """A tiny random network with a text tower, as open-clip:FOLDER."""
    open_clip = pytest.importorskip("open_clip", reason="needs open_clip_torch (graft[zero-shot])")
    from safetensors.torch import save_file

    folder = tmp_path / "clip"
    folder.mkdir()
    config = {"embed_dim": 48, "text_cfg": TEXT, "vision_cfg": TOWER}
    fed = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "resize_mode": "squash"}
    text = json.dumps({"model_cfg": config, "preprocess_cfg": fed})
    (folder / "open_clip_config.json").write_text(text)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return f"open-clip:{folder}"


@pytest.mark.slow
def test_a_search_tries_heads_from_the_names_of_the_classes(digits, clip, tiny, tmp_path):
    space = tiny.model_copy(update={"models": [clip]})
    tuned = graft.tune(digits, budget="20m", out=tmp_path / "run", space=space, engine="portfolio")
    starts = [row["candidates"][0]["start"] for row in tuned.found["trials"]]
    assert {"zero-shot", "wise-ft"} <= set(starts)
    assert {row["tested"] for row in tuned.found["trials"]} == {tuned.found["images"]}
