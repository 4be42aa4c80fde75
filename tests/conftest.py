import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Threads that wait for each other without spinning: where other work shares the cores, the tests
# take a quarter of the time.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

GRAFT = str(Path(sys.executable).parent / "graft")
SMALL = ["--model", "base_cnn", "--image-size", "16", "--epochs", "2", "--views", "1"]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """A cache folder of the tests' own, and no proxy between the tests and their local servers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("GRAFT_CACHE_LIMIT", raising=False)
        for name in list(os.environ):
            if name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
                patch.delenv(name)
        yield Path(os.environ["GRAFT_CACHE"])


def _graft(*arguments, **environment):
    done = subprocess.run(
        [GRAFT, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def _graft_here(*arguments):
    from graft.cli.main import run

    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["graft", *map(str, arguments)]
    code = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run()
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.argv = before
    return Ended(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def graft():
    """`graft ARGUMENTS` as a process of its own: graft("check", folder)."""
    return _graft


@pytest.fixture(scope="session")
def graft_here():
    """The entry point of `graft ARGUMENTS` in this process: no seconds spent on importing."""
    return _graft_here


@pytest.fixture(scope="session")
def make_digits():
    """The function that writes digits as folder/CLASS/INDEX.png; see `write_digits`."""
    return write_digits


def write_digits(folder, classes="012", each=40, start=0):
    from sklearn.datasets import load_digits

    digits = load_digits()
    for name in classes:
        rows = np.flatnonzero(digits.target == int(name))[start : start + each]
        (folder / name).mkdir(parents=True, exist_ok=True)
        for row in rows:
            pixels = np.rint(digits.images[row] * (255 / 16)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{row}.png")
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A folder of 3 classes with 40 images each."""
    return write_digits(tmp_path_factory.mktemp("source") / "digits")


@pytest.fixture(scope="session")
def trained(tmp_path_factory, digits):
    """The real command that made `finished`, as it ended, and the run folder."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    return _graft("train", digits, *SMALL, "--out", folder, "--json"), folder


@pytest.fixture(scope="session")
def finished(trained):
    """The folder of a finished run of base_cnn on `digits`, trained from pixels."""
    ended, folder = trained
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="session")
def frozen_run(tmp_path_factory, digits, finished):
    """The folder of a finished run on `digits` whose backbone is the frozen one of `finished`."""
    folder = tmp_path_factory.mktemp("runs") / "frozen"
    settings = ["--model", finished, "--epochs", "3", "--views", "2"]
    ended = _graft_here("train", digits, *settings, "--out", folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="session")
def shared():
    """The folder of real photos and weights that lies beside the project here, not elsewhere."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data" / "unpack").is_file():
        pytest.skip(f"needs the real photos of {folder}")
    return folder


@pytest.fixture(scope="session")
def flowers(shared, tmp_path_factory):
    """3,254 photos of flowers, 227×227, as CLASS/*.jpg."""
    folder = tmp_path_factory.mktemp("photos")
    subprocess.run([shared / "data" / "unpack", folder, "flowers"], check=True, capture_output=True)
    return folder / "flowers"


@pytest.fixture(scope="module")
def browser():
    """A real Chromium. Of a module, not of the session: while it runs, so does an event loop."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(names)} is installed")
    api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    flags = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
    flags += ("disable-background-networking", "disable-component-update")
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found, args=[f"--{f}" for f in flags])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def fake_camera():
    """fake_camera(script, argument, …): what the script's `drive` returns; see fake_camera.py."""
    pytest.importorskip("playwright", reason="needs the package playwright")

    def driven(script, *arguments):
        command = [sys.executable, Path(__file__).with_name("fake_camera.py"), script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        if done.returncode == 77:
            pytest.skip(done.stdout.strip())
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return driven


@pytest.fixture
def make_small_disk(tmp_path):
    """make_small_disk(3): the folder of a file system of 3 MB of its own, until the test ends."""
    made = []

    def mounted(megabytes):
        folder = tmp_path / "small"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("needs the right to mount a tmpfs")
        made.append(folder)
        return folder

    yield mounted
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def untrained():
    """untrained("deep_cnn", size=32): a predictor of random weights, the same each time."""
    return random_network


def random_network(name, size=32, classes=("a", "b", "c")):
    import torch

    from graft.data.decode import Preprocess
    from graft.features.backends import LazyBackend
    from graft.inference.predictor import Predictor
    from graft.models.backbone import Backbone, scratch
    from graft.models.classifier import Classifier
    from graft.models.head import Head

    fed = Preprocess(size, size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    if name.endswith("_cnn"):
        backbone = scratch(name, size)
    else:
        backbone = Backbone(name, name, {}, fed, False, 0, 0, "", "random weights")
    torch.manual_seed(0)
    encoder = backbone.build()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data += 0.03 * torch.randn(module.weight.shape)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        features = encoder(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape[1]
    head = Head(features, len(classes), 0, 0.0, 0.0).eval()
    head.standardize(torch.randn(features) * 0.1, torch.rand(features) + 0.5)
    backend = LazyBackend(lambda: encoder, "torch")
    predictor = Predictor(backbone, head, tuple(classes), backend, 1.5)
    # Random weights are others each time: this is the network that was prepared.
    predictor.classifier = Classifier(encoder, head, 1.5).eval()
    return predictor


@pytest.fixture(scope="session")
def noise():
    """An image of 40 × 48 random pixels, (H, W, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (40, 48, 3)).astype(np.uint8)
