"""Does graft work where only its wheel is installed? `make installed` asks, as a user would.

From a clone of the last commit it builds the sdist and, from that, the wheel; looks whether both
are complete; installs the wheel in a new environment and runs it in an empty folder. Then it says
how long a user waits. The dependencies, which take most of that time, are installed once and
count in both sums; `pip install .` in a clone is that and building the wheel.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Of use in a repository alone.
OF_GIT = (".git", ".pre-commit")
PINNED = ROOT / "constraints.txt"  # the versions that the tests passed with
IMAGES = (".png", ".jpg", ".jpeg", ".webp")


def main() -> None:
    """All of it, in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="graft-installed-") as made:
        work = Path(made)
        clone, took = work / "clone", {}
        took["clone"] = timed("git", "clone", "-q", ROOT, clone)
        tools = environment(work / "tools")
        run(tools, "-m", "pip", "install", "-q", "-c", PINNED, "build")
        wheel = built(tools, clone, work / "dist")
        direct = ("-q", "--no-deps", "-w", work / "direct")
        took["build"] = timed(tools, "-m", "pip", "wheel", *direct, clone)
        complete(wheel, clone, work / "direct")
        begun = time.perf_counter()
        python = environment(work / "venv")
        took["venv"] = time.perf_counter() - begun
        took["install"] = timed(python, "-m", "pip", "install", "-q", "-c", PINNED, wheel)
        run(python, "-m", "pip", "check")
        used(python.parent / "graft", work, took)
    told(took)


def run(*command: object, **options: object) -> str:
    """What a command prints; ends this script if it fails."""
    words = [str(word) for word in command]
    print("$", *words, flush=True)
    options = {"text": True, "stdout": subprocess.PIPE} | options
    done = subprocess.run(words, check=False, **options)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: ended with {done.returncode}\n{done.stdout or ''}")
    return str(done.stdout)


def timed(*command: object, **options: object) -> float:
    """The seconds that a command takes."""
    begun = time.perf_counter()
    run(*command, **options)
    return time.perf_counter() - begun


def built(python: Path, clone: Path, dist: Path) -> Path:
    """The wheel, built from the sdist, which is built from the clone."""
    run(python, "-m", "build", "--outdir", dist, clone)
    (wheel,) = dist.glob("*.whl")
    return wheel


def complete(wheel: Path, clone: Path, other: Path) -> None:
    """The sdist has every file of the repository, the wheel every file of the package, and both
    lead to the same wheel.
    """
    tracked = set(run("git", "-C", clone, "ls-files").splitlines())
    (sdist,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    if missing := {name for name in tracked - held if not name.startswith(OF_GIT)}:
        sys.exit(f"not in the sdist: {sorted(missing)}; see MANIFEST.in")
    (direct,) = other.glob("*.whl")
    if contents(wheel) != contents(direct):
        sys.exit("the wheel from the sdist differs from that of the clone: see MANIFEST.in")
    package = {name.removeprefix("src/") for name in tracked if name.startswith("src/graft/")}
    package |= {f"graft/lessons/{name}" for name in tracked if name.startswith("notebooks/")}
    if missing := package - contents(wheel).keys():
        sys.exit(
            f"not in the wheel: {sorted(missing)}; see package-data in pyproject.toml, and setup.py"
        )


def contents(wheel: Path) -> dict[str, int]:
    """The files of a wheel with the checksums of their bytes."""
    with zipfile.ZipFile(wheel) as opened:
        return {entry.filename: entry.CRC for entry in opened.infolist()}


def environment(folder: Path) -> Path:
    """The Python of a new environment without any package."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def without_network() -> list[str]:
    """What to put before a command so that it has no network; empty where the system forbids it."""
    cut = ["unshare", "--map-root-user", "--net"]
    try:
        done = subprocess.run([*cut, "true"], check=False, capture_output=True)
    except FileNotFoundError:
        return []
    return [] if done.returncode else cut


def used(graft: Path, work: Path, took: dict[str, float]) -> None:
    """The installed graft in an empty folder, with an empty cache and no network: each step with
    no option but where its files go.
    """
    cut = without_network()
    print("with the network cut" if cut else "the network could not be cut here", flush=True)
    there = work / "empty"
    there.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    options = {"cwd": there, "env": clean | {"GRAFT_CACHE": str(work / "cache")}}
    print(run(graft, "doctor", **options))
    taken = run(graft.with_name("python"), "-c", "import graft; print(graft.__file__)", **options)
    if not Path(taken).is_relative_to(work / "venv"):
        sys.exit(f"graft was taken from {taken.strip()} instead of {work / 'venv'}")
    took["demo"] = timed(*cut, graft, "demo", "--out", "demo", stdout=None, **options)
    if not list((there / "demo").glob("*.html")):
        sys.exit("graft demo wrote no page")
    photos = next((work / "cache" / "sources").rglob("objects"))
    image = next(file for file in sorted(photos.rglob("*")) if file.suffix in IMAGES)
    timed(*cut, graft, "classify", image, stdout=None, **options)
    run(graft, "lesson", "3", "--out", "lessons", **options)
    if not list((there / "lessons").glob("03-*.ipynb")):
        sys.exit("graft lesson 3 copied no notebook")
    took["train"] = timed(*cut, graft, "train", photos, stdout=None, **options)
    (run_folder,) = (there / "runs").iterdir()
    took["predict"] = timed(*cut, graft, "predict", run_folder, image, stdout=None, **options)
    for more in (
        ("explain", run_folder, image, "--html", "why.html"),
        ("explore", run_folder, image),
        ("summary", run_folder),
        ("chat", run_folder, image, "--ask", "What is it?", "--ask", "What is a convolution?"),
    ):
        timed(*cut, graft, *more, stdout=None, **options)


def told(took: dict[str, float]) -> None:
    """The two times, with their parts."""
    sums = {
        "from clone to demo page": ("clone", "venv", "install", "build", "demo"),
        "from wheel to first prediction, of a classifier trained here": (
            "venv",
            "install",
            "train",
            "predict",
        ),
    }
    for name, parts in sums.items():
        each = " + ".join(f"{part} {took[part]:.1f}" for part in parts)
        print(f"{name}: {sum(took[part] for part in parts):.0f} s ({each})")


if __name__ == "__main__":
    main()
