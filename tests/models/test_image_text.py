"""Networks of images and captions: open_clip is the reference, a tiny random one in a folder."""

import hashlib
import http.server
import json
import socket
import threading
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from graft.errors import ModelError, UsageError
from graft.inference.saved_model import zero_shot
from graft.models.image_text import WEIGHTS, image_tower, zero_shot_weights
from graft.models.weights import find_backbone, find_classifier

open_clip = pytest.importorskip("open_clip", reason="needs open_clip_torch (graft[zero-shot])")
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
OWN = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
OF_TIMM = {"timm_model_name": "test_convnext", "timm_pool": "", "image_size": 64}
TOWERS = {
    "transformer": {"vision_cfg": OWN},
    "quick": {"vision_cfg": OWN, "quick_gelu": True},
    "projected": {"vision_cfg": OF_TIMM | {"timm_proj": "linear"}},
    "as it is": {
        "vision_cfg": OF_TIMM | {"timm_proj": "none", "timm_pool": "avg"},
        "embed_dim": 64,
        "custom_text": True,
    },
}
LABELS = ("daisy", "wild-rose", "tulip")


def write_model(folder, tower="transformer", **more):
    """A model of random weights in open_clip's form, as a model hub has them."""
    from safetensors.torch import save_file

    config = {"embed_dim": 48, "text_cfg": TEXT} | TOWERS[tower]
    fed = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "resize_mode": "squash"}
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"model_cfg": config | more, "preprocess_cfg": fed})
    (folder / "open_clip_config.json").write_text(text)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
        for value in model.state_dict().values():  # biases begin at 0, and embeddings all alike
            if value.is_floating_point() and value.ndim:
                value += 0.05 * torch.randn(value.shape)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / WEIGHTS)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("open_clip") / "tiny")


@pytest.mark.parametrize("tower", TOWERS)
def test_the_features_are_the_image_embedding_that_open_clip_gives(tower, tmp_path):
    place = write_model(tmp_path / "model", tower)
    backbone = find_backbone(f"open-clip:{place}", tmp_path / "cache")
    model = open_clip.create_model(f"local-dir:{place}").eval()
    fed = backbone.preprocess
    pixels = torch.randint(0, 256, (2, fed.height, fed.width, 3), dtype=torch.uint8)
    x = (pixels / 255 - torch.tensor(fed.mean)) / torch.tensor(fed.std)
    with torch.inference_mode():
        expected = F.normalize(model.encode_image(x.permute(0, 3, 1, 2)), dim=1)
        found = backbone.build()(pixels)
    assert torch.allclose(found, expected, atol=1e-4)
    assert backbone.features == expected.shape[1]


def test_the_preprocessing_is_that_of_the_models_config(folder, tmp_path):
    fed = find_backbone(f"open-clip:{folder}", tmp_path).preprocess
    assert (fed.height, fed.resize, fed.crop, fed.mean) == (32, "squash", 1.0, (0.4, 0.5, 0.6))


def test_the_probabilities_of_labels_are_those_that_open_clip_gives(folder):
    from PIL import Image

    predictor = zero_shot(LABELS, f"open-clip:{folder}", backend="float32")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    found = predictor.predict_proba([pixels])[0]

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.inference_mode():
        image = model.eval().encode_image(transform(Image.fromarray(pixels))[None], normalize=True)
        texts = []
        for word in ("daisy", "wild rose", "tulip"):
            sentences = [make(word) for make in open_clip.SIMPLE_IMAGENET_TEMPLATES]
            each = model.encode_text(tokenizer(sentences), normalize=True)
            texts.append(F.normalize(each.mean(0), dim=0))
        logits = model.logit_scale.exp() * image @ torch.stack(texts).T
    assert found == pytest.approx(logits.softmax(1)[0].numpy(), abs=2e-3)
    assert predictor.classes == LABELS


def test_a_network_of_images_and_captions_has_no_classes_of_its_own(folder, tmp_path):
    with pytest.raises(ModelError, match="no classes of its own: name yours by --labels"):
        find_classifier(f"open-clip:{folder}", tmp_path)


@pytest.mark.parametrize("labels", [[], ["daisy"], ["daisy", " daisy "], ["", "tulip"]])
def test_one_label_alone_or_twice_is_refused(labels, folder):
    with pytest.raises(UsageError, match="expected two or more different labels"):
        zero_shot(labels, f"open-clip:{folder}")


def test_a_model_without_a_text_tower_is_refused():
    with pytest.raises(UsageError, match="resnet18 has no text tower to read labels with"):
        zero_shot(LABELS, "resnet18")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text_cfg": TEXT | {"hf_model_name": "roberta-base"}}, "of another library"),
        ({"text_cfg": TEXT | {"tokenizer_kwargs": {"trust_remote_code": True}}}, "trust_remote"),
        ({"text_cfg": 3}, "not the JSON of an open_clip model"),
        ({"embed_dim": 16}, "the weights do not fit the architecture"),
        ({"vision_cfg": OWN | {"pool_type": "avg"}}, "computes something that timm's"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(change, said, folder, tmp_path):
    place = tmp_path / "model"
    place.mkdir()
    stored = json.loads((folder / "open_clip_config.json").read_text())
    stored["model_cfg"] |= change
    (place / "open_clip_config.json").write_text(json.dumps(stored))
    (place / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes())
    with pytest.raises(ModelError, match=said) as raised:
        image_tower(f"open-clip:{place}")
    assert "\n" not in str(raised.value)


def test_a_folder_without_weights_and_a_name_that_is_neither_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"open_clip_config.json is not there"):
        zero_shot_weights(f"open-clip:{tmp_path}", LABELS)
    with pytest.raises(ModelError, match="expected open-clip:FOLDER or open-clip:OWNER/REPOS"):
        zero_shot_weights("open-clip:nowhere", LABELS)


class Repository(http.server.SimpleHTTPRequestHandler):
    """A folder as a repository me/tiny of a model hub: GET /me/tiny/resolve/main/FILE."""

    def translate_path(self, path):
        owner, name, _, _, *rest = [*path.strip("/").split("/"), "", "", "", ""]
        known = (owner, name) == ("me", "tiny")
        return str(self.server.folder / "/".join(filter(None, rest))) if known else "/nowhere"

    def end_headers(self):
        file = self.translate_path(self.path)
        self.send_header("ETag", f'"{hashlib.sha256(file.encode()).hexdigest()}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        super().end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path):
    """The address of a model hub on this machine that serves the folder tmp_path/served."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    server.folder = tmp_path / "served"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    server.shutdown()
    server.server_close()


def write_tokenizer(folder):
    """Files of a tokenizer as SigLIP's models have them: one number a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ("a", "bad", "photo", "of", "the", "daisy", "rose", "tulip")
    known = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    made = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(described | {"unk_token": "[UNK]"}))


@pytest.mark.slow
def test_labels_are_read_by_a_model_that_is_fetched_once_and_then_works_offline(
    hub, graft, tmp_path, noise
):
    from PIL import Image

    # As SigLIP: a tokenizer of its own, which lies in the repository, too.
    text = TEXT | {"hf_tokenizer_name": "me/tiny", "tokenizer_kwargs": {"clean": "canonicalize"}}
    place = write_model(tmp_path / "served", text_cfg=text)
    write_tokenizer(place)
    Image.fromarray(noise).save(tmp_path / "image.png")
    asked = ["classify", tmp_path / "image.png", "--labels", "daisy,rose, tulip"]
    asked += ["--model", "open-clip:me/tiny", "--json"]
    answers = []
    for offline in ({}, {"HF_HUB_OFFLINE": "1"}):
        ended = graft(*asked, **hub, **offline)
        assert ended.code == 0, ended.err
        answers.append(json.loads(ended.out))
    assert answers[0] == answers[1]
    assert set(answers[0]["top"]) == {"daisy", "rose", "tulip"}
    assert sum(answers[0]["top"].values()) == pytest.approx(1, abs=1e-6)
    # A model that is nowhere is one line.
    asked[-2] = "open-clip:me/other"
    ended = graft(*asked, **hub)
    assert ended.code == 4
    assert "could not be fetched from the model hub" in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_a_hub_that_does_not_answer_is_one_line_within_three_seconds(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the call and says nothing
        monkeypatch.setattr(
            "huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        began = time.monotonic()
        with pytest.raises(ModelError, match="the model hub cannot be reached") as raised:
            zero_shot_weights("open-clip:nobody/nothing", LABELS)
        assert time.monotonic() - began < 4  # 2.5 s, and what else this machine does
    assert "\n" not in str(raised.value)
