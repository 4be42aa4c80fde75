"""What all peers are given: the same folders of images, and the same weights without a hub."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from benchmarks.common import GRAFT, timed
from graft.models.packaged_weights import load_packaged

MODEL = "tf_efficientnet_lite0"
SPLITS = ("train", "val", "test")


def divided(source: Path, place: Path) -> Path:
    """A folder with train/, val/ and test/, as graft splits the source, with copies of its images.

    Near-duplicates are on one side, and images that cannot be used are in none.
    """
    run, folder = place / "divided-run", place / "divided"
    _, printed = timed([*GRAFT, "train", str(source), "--out", str(run), "--json"], place / "cache")
    json.loads(printed)
    with (run / "dataset.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            copied(source / row["path"], folder / row["split"] / row["label"])
    return folder


def classes_of(folder: Path) -> list[str]:
    """The classes of a split, sorted."""
    return sorted(one.name for one in folder.iterdir())


def copied(file: Path, folder: Path) -> None:
    """A copy of an image in a folder: links that lead out of a folder are not followed by all."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / file.name)


def hub_folder(place: Path) -> Path:
    """A cache of the Hugging Face hub that holds lite0 as timm would have fetched it."""
    import timm
    from safetensors.torch import save_file

    body = load_packaged(MODEL, timm.create_model(MODEL))
    name = timm.create_model(MODEL).pretrained_cfg["hf_hub_id"].replace("/", "--")
    folder = place / "hub" / f"models--{name}"
    snapshot = folder / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0")
    save_file(body.state_dict(), snapshot / "model.safetensors")
    import torch

    torch.save(body.state_dict(), snapshot / "pytorch_model.bin")
    config = {"architecture": MODEL, "num_classes": 1000, "pretrained_cfg": body.pretrained_cfg}
    (snapshot / "config.json").write_text(json.dumps(config, default=str))
    return place / "hub"


def keras_weights(place: Path) -> Path:
    """The weights of lite0 in the order of its layers, and what it says of one input."""
    import timm
    import torch

    body = load_packaged(MODEL, timm.create_model(MODEL)).eval()
    kept = [
        value.numpy()
        for name, value in body.state_dict().items()
        if not name.endswith("num_batches_tracked") and not name.startswith("classifier")
    ]
    x = np.random.default_rng(0).normal(size=(2, 224, 224, 3)).astype(np.float32)
    with torch.inference_mode():
        y = body.forward_features(torch.from_numpy(x).permute(0, 3, 1, 2))
    out = place / "lite0.npz"
    named = {f"w{number}": value for number, value in enumerate(kept)}
    np.savez(out, **named, x=x, y=y.permute(0, 2, 3, 1).numpy())
    return out


def planted(folder: Path, place: Path, count: int = 20) -> tuple[Path, list[str]]:
    """A copy of a divided folder in which `count` test images are in train, too, saved again."""
    from PIL import Image

    out = place / "planted"
    shutil.copytree(folder, out)
    found = []
    for label in classes_of(folder / "test"):
        for file in sorted((folder / "test" / label).iterdir())[: -(-count // 5)]:
            name = f"again-{hashlib.sha256(file.name.encode()).hexdigest()[:8]}.jpg"
            with Image.open(file) as image:
                image.convert("RGB").save(out / "train" / label / name, quality=80)
            found.append(name)
    return out, found[:count]


BROKEN = {
    "empty": b"",
    "text": b"this is no image\n" * 50,
    "cut": None,  # half of a JPEG
    "header": b"\xff\xd8\xff\xe0" + bytes(200),
    "folder of thumbnails": b"\x00\x05\x16\x07" + bytes(100),  # a ._file.jpg of macOS
}


def broken(folder: Path, place: Path, kind: str, most: int = 24) -> Path:
    """A small divided folder with one broken file among its training images."""
    out = place / f"broken-{kind.split()[0]}"
    for split in SPLITS:
        for label in classes_of(folder / split):
            for file in sorted((folder / split / label).iterdir())[:most]:
                copied(file, out / split / label)
    label = classes_of(out / "train")[0]
    whole = next((folder / "train" / label).iterdir()).read_bytes()
    data = BROKEN[kind]
    name = "._broken.jpg" if kind == "folder of thumbnails" else "broken.jpg"
    (out / "train" / label / name).write_bytes(whole[: len(whole) // 2] if data is None else data)
    return out
