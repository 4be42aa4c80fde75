"""Does memory stay flat when the folder grows tenfold? Peak resident size of train and predict.

Copies of 320 photos, each made different by bytes after the JPEG's end, so that nothing is cached.
Linux counts pages of mapped files (the activations, which it can drop at any time) as resident;
`anonymous` is the memory that it cannot drop.
"""

import os
import sys
import threading
import time
from pathlib import Path

from benchmarks.common import GRAFT, WEIGHTS, photos, show, workplace

FEW, TIMES = 320, 10


def peak(command: list[str], cache: Path) -> tuple[float, float]:
    """Peak (resident, anonymous) memory of a process, in MB."""
    import subprocess

    process = subprocess.Popen(
        command,
        env=os.environ | {"GRAFT_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    most = [0.0, 0.0]

    def watch() -> None:
        while process.poll() is None:
            try:
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            except OSError:
                return
            fields = dict(line.split(":", 1) for line in lines if ":" in line)
            for place, name in enumerate(("VmRSS", "RssAnon")):
                if name in fields:
                    most[place] = max(most[place], int(fields[name].split()[0]) / 1024)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    if process.wait():
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    watcher.join()
    return most[0], most[1]


def main() -> None:
    files = photos("flowers")
    some = files[:: len(files) // FEW][:FEW]
    figures = {}
    with workplace() as place:
        for times in (1, TIMES):
            grown = place / f"x{times}"
            for copy in range(times):
                for photo in some:
                    file = grown / photo.parent.name / f"{copy}-{photo.name}"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(photo.read_bytes() + b"%d" % copy)
            run = place / f"run{times}"
            train = [*GRAFT, "train", str(grown), "--model", WEIGHTS, "--out", str(run)]
            for name, command in (
                ("train", train),
                ("predict", [*GRAFT, "predict", str(run), str(grown), "--json"]),
            ):
                resident, anonymous = peak(command, place / "cache")
                figures[f"{name}_{FEW * times}_resident_mb"] = round(resident)
                figures[f"{name}_{FEW * times}_anonymous_mb"] = round(anonymous)
    show("memory", **figures)


if __name__ == "__main__":
    main()
