"""`python -m benchmarks [NAME [ARGUMENT…]]`: one benchmark, or all that `make bench` runs.

[--data FOLDER] [--weights MODEL] [--small]: see benchmarks/common.py. Where images or weights can
be neither found nor downloaded, the benchmarks that can run on embedded digits do, and the others
are named with what they need.
"""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.common import DATA, GRAFT, MODEL, SMALL, WEIGHTS, module, show, workplace

PHOTOS = "photos of flowers and pretrained weights"
# What each needs beyond embedded digits; "" for nothing.
NEEDS = {
    "startup": "",
    "accuracy": "",
    "truth": "",
    "predict_speed": PHOTOS,
    "predict_latency": PHOTOS,
    "memory": PHOTOS,
    "train_speed": PHOTOS,
    "loop_speed": "",
    "tune_speed": PHOTOS,
    "chat": "",
}
# Those that `make bench` leaves out.
ALSO = {
    "tune_search": PHOTOS,
    "block_shuffle": "",
    "explain": "",
    "export_parity": "",
    "large_photos": PHOTOS,
    "large_run": "",
    "review": PHOTOS,
    "serve_load": PHOTOS,
    "serve_hostile": PHOTOS,
    "serve_stops": PHOTOS,
}


def missing() -> str:
    """What is neither here nor can be downloaded; "" if all is there."""
    from graft.errors import GraftError

    try:
        subprocess.run(
            [sys.executable, "-c", "from benchmarks.common import images; images('flowers')"],
            check=True,
            capture_output=True,
            text=True,
        )
        from graft.models.weights import find_backbone
        from graft.utils.cache_folder import cache_folder

        find_backbone(WEIGHTS, cache_folder())
    except subprocess.CalledProcessError as error:
        return error.stderr.strip().splitlines()[-1]
    except GraftError as error:
        return str(error)
    return ""


def run_small(names: list[str]) -> None:
    """Those that can run on digits, with a backbone that was trained on them here."""
    with workplace() as place:
        backbone = place / "backbone"
        train = [*GRAFT, "train", "digits", "--model", "base_cnn", "--image-size", "16"]
        train += ["--epochs", "3", "--views", "1", "--no-flip", "--out", str(backbone)]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
        os.environ |= {SMALL: "1", MODEL: str(backbone)}
        for name in names:
            if needs := (NEEDS | ALSO).get(name, PHOTOS):
                show(name, skipped=f"needs {needs}")
            else:
                run(name)


def run(*words: str) -> None:
    """One benchmark as a process of its own; exits with it, which has said why, if it fails."""
    if code := subprocess.run(module(*words)).returncode:
        sys.exit(code)


def option(arguments: list[str], name: str) -> str | None:
    """The value of `--name VALUE`, taken out of the arguments."""
    if f"--{name}" not in arguments:
        return None
    place = arguments.index(f"--{name}")
    if place + 1 == len(arguments):
        sys.exit(f"--{name} needs a value")
    value = arguments[place + 1]
    del arguments[place : place + 2]
    return value


def main() -> None:
    arguments = sys.argv[1:]
    if data := option(arguments, "data"):
        os.environ[DATA] = str(Path(data).resolve())
    if weights := option(arguments, "weights"):
        os.environ[MODEL] = weights
    small = "--small" in arguments
    if small:
        arguments.remove("--small")
    if arguments and not small:
        run(*arguments)
        return
    names = arguments or list(NEEDS)
    if not small and (reason := missing()):
        print(f"{reason}\nso what can runs on embedded digits instead", file=sys.stderr)
        small = True
    if small:
        run_small(names)
        return
    for name in names:
        run(name)


if __name__ == "__main__":
    main()
