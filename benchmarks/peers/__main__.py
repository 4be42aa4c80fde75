"""`python -m benchmarks.peers [PEER…]`: graft and its peers, one table.

Each peer is a script of ways/ that does what its own documentation shows, in a virtual
environment of its own below --venvs, which is made when it is missing (some GB each, once). All
get the same folders of images, the same split and, where they can take them, the same weights of
EfficientNet-lite0, without a hub. A clock runs from the start of the process, with its imports,
and stops while the test images are predicted, which is done after each epoch.

    python -m benchmarks.peers --data FOLDER --source flowers --minutes 10
    python -m benchmarks.peers --table            # of what was measured, as Markdown
"""

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.common import DATA, images
from benchmarks.peers.measuring import Peer, measure, survived
from benchmarks.peers.prepared import BROKEN, broken, divided, hub_folder, keras_weights, planted
from benchmarks.peers.table import read_results, show_table, write_result

WAYS = Path(__file__).with_name("ways")
# What pip installs for each; graft is the environment that this runs in.
PEERS = {
    "graft": (),
    "keras": ("tensorflow-cpu==2.21.0", "pillow", "scikit-learn"),
    "torchvision": ("torch==2.14.1", "torchvision==0.29.1", "timm>=1.0.20"),
    "fastai": ("fastai==2.8.12", "timm>=1.0.20", "torch==2.14.1", "torchvision==0.29.1"),
    "ultralytics": ("ultralytics==8.4.190", "torch==2.14.1", "torchvision==0.29.1"),
    "autogluon": ("autogluon.multimodal==1.6.3",),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("peers", nargs="*", default=list(PEERS), metavar="PEER")
    parser.add_argument("--source", default="flowers", help="flowers, cats_dogs or a folder")
    parser.add_argument("--data", help="a folder that has flowers/ and so on")
    parser.add_argument("--minutes", type=float, default=10, help="for each to train")
    parser.add_argument("--epochs", type=int, default=5, help="of those that count in epochs")
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache" / "graft-peers")
    parser.add_argument("--place", type=Path, default=Path("runs/peers"), help="for what is made")
    parser.add_argument("--skip-broken", action="store_true")
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    asked = parser.parse_args()
    results = asked.place / "results.jsonl"
    if asked.table:
        print(show_table(read_results(results)))
        return
    if unknown := [name for name in asked.peers if name not in PEERS]:
        sys.exit(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    if asked.data:
        os.environ[DATA] = asked.data
    source = Path(asked.source)
    source = (source if source.is_dir() else images(asked.source)).resolve()
    place = asked.place.resolve()
    place.mkdir(parents=True, exist_ok=True)
    common = prepare(source, place, asked.epochs)
    for name in asked.peers:
        python = installed(name, PEERS[name], asked.venvs)
        peer = Peer(name, python, WAYS / f"{name}_way.py", common)
        if name == "keras":
            keras_file(python, place)
        found = measure(peer, place / "divided", place, asked.minutes * 60)
        found["leaks"] = leaks_named(peer, place)
        if not asked.skip_broken:
            found["survived"] = [kind for kind in BROKEN if survived(peer, place, kind)]
        found["data"], found["machine"] = source.name, platform.processor() or platform.machine()
        write_result(results, found)
        print(show_table([found]), flush=True)
    print(show_table(read_results(results)))


def prepare(source: Path, place: Path, epochs: int) -> dict[str, str]:
    """Make the folders and weights that are not there yet; the environment of all peers."""
    if not (place / "divided").exists():
        divided(source, place)
        planted(place / "divided", place)
        for kind in BROKEN:
            broken(place / "divided", place, kind)
    if not (place / "hub").exists():
        hub_folder(place)
        keras_weights(place)
    return {
        "HF_HUB_CACHE": str(place / "hub"),
        "HF_HUB_OFFLINE": "1",
        "PEER_EPOCHS": str(epochs),
        "PEER_LITE0_KERAS": str(place / "lite0.keras"),
        "YOLO_OFFLINE": "true",
        "YOLO_CONFIG_DIR": str(place / "ultralytics"),
    }


def installed(name: str, packages: tuple[str, ...], venvs: Path) -> str:
    """The Python of a peer's environment, which is made if it is not there."""
    if not packages:
        return sys.executable
    folder, ready = venvs / name, venvs / name / "ready"
    python = str(folder / "bin" / "python")
    if not ready.exists():
        print(f"installing {', '.join(packages)} below {folder}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
        ready.touch()
    return python


def keras_file(python: str, place: Path) -> None:
    """lite0 as a .keras file, made in the peer's own environment."""
    if not (place / "lite0.keras").exists():
        made = [python, WAYS / "lite0_keras.py", place / "lite0.npz", place / "lite0.keras"]
        subprocess.run(made, check=True)


def leaks_named(peer: Peer, place: Path) -> int:
    """How many of the planted copies of test images, put into train, a peer's output names."""
    names = {file.name for file in (place / "planted" / "train").rglob("again-*")}
    said = peer.output(place / "planted", place / "out-planted" / peer.name, 60, epochs=1)
    return sum(name in said for name in names)


if __name__ == "__main__":
    main()
