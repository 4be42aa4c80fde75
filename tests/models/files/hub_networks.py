"""Networks by their names from a model hub on this machine, which serves random weights.

    python hub_networks.py FOLDER SOURCE NAME… --train NAME…

Each is fetched by graft, its features are held against timm's own, and those that are to be trained
are, on SOURCE for an epoch with 96 pixels a side. Prints a line of JSON each. Large transformers
are made small first (in this process alone): their code, names and configs are the same.
"""

import functools
import http.server
import json
import os
import sys
import threading
from pathlib import Path

SMALL_VIT = {"embed_dim": 48, "depth": 2, "num_heads": 3}
SMALL = {
    "vit_small_patch16_224": SMALL_VIT,
    "vit_small_patch14_dinov2": SMALL_VIT,
    "vit_small_patch16_dinov3": SMALL_VIT,
    "vit_base_patch16_siglip_224": SMALL_VIT,
    "vit_base_patch16_clip_224": SMALL_VIT,
    "eva02_base_patch16_clip_224": SMALL_VIT,
    "vgg16": {"mlp_ratio": 1 / 64},  # 64 of the 4,096 channels in its classifier
}
SIDE = 96


class Hub(http.server.SimpleHTTPRequestHandler):
    """served/OWNER/NAME/FILE as GET /OWNER/NAME/resolve/main/FILE."""

    def translate_path(self, path):
        owner, name, _, _, *rest = [*path.strip("/").split("/"), *4 * [""]]
        return str(self.server.folder / owner / name / "/".join(filter(None, rest)))

    def end_headers(self):
        self.send_header("ETag", f'"{abs(hash(self.path)):064x}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        super().end_headers()

    def log_message(self, *_):
        pass


def serve(folder):
    """The address of the hub, which ends with this process."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.folder = folder
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def told(name, folder, source, is_trained):
    """What graft makes of the network of that name."""
    import timm
    import torch
    from safetensors.torch import save_file

    import graft
    from graft.models.weights import find_backbone

    architecture = name.partition(".")[0]
    torch.manual_seed(0)
    network = timm.create_model(name).eval()  # with the tag, whose head is that of the weights
    for module in network.modules():  # else the features of a deep one may overflow
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.0)
    repository = folder / "served" / timm.get_pretrained_cfg(name).hf_hub_id
    repository.mkdir(parents=True)
    save_file(network.state_dict(), repository / "model.safetensors")

    backbone = find_backbone(name, folder / "cache")
    fed = backbone.preprocess
    pixels = torch.randint(0, 256, (2, fed.height, fed.width, 3), dtype=torch.uint8)
    x = (pixels / 255 - torch.tensor(fed.mean)) / torch.tensor(fed.std)
    network.reset_classifier(0)
    encoder = backbone.build()
    with torch.inference_mode():
        expected = network(x.permute(0, 3, 1, 2))
        x = encoder.normalized(pixels)
        found = encoder.body.forward_head(encoder.body.forward_features(x), pre_logits=True)
    off = (found - expected).abs().max() / expected.abs().max()
    row = {"source": backbone.source, "features": expected.shape[1], "off": float(off)}
    if is_trained:
        run = graft.train(
            source, out=folder / architecture, model=name, image_size=SIDE, epochs=1, views=1
        )
        row["accuracy"] = run.metrics["accuracy"]["value"]
    return row


def main():
    folder, source, *names = sys.argv[1:]
    folder, where = Path(folder), names.index("--train")
    os.environ |= {
        "HF_ENDPOINT": serve(folder / "served"),
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    from timm.models import _registry

    for architecture, arguments in SMALL.items():
        entry = _registry._model_entrypoints[architecture]
        _registry._model_entrypoints[architecture] = functools.partial(entry, **arguments)
    for name in [*names[:where], *names[where + 1 :]]:
        is_trained = name in names[where:]
        print(json.dumps({"name": name} | told(name, folder, source, is_trained)), flush=True)


if __name__ == "__main__":
    main()
