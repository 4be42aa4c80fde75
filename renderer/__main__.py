"""`python -m renderer OUT.zip`: render the demo's images, and perhaps a sheet of them."""

import argparse
import time
from pathlib import Path

from renderer.archive import QUALITY, all_jobs, sheet, write_archive
from renderer.objects import MAKERS
from renderer.stage import SAMPLES, SIDE


def main() -> None:
    """Read the command line and render."""
    parser = argparse.ArgumentParser(prog="python -m renderer", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", action="append", choices=list(MAKERS), help="a class")
    parser.add_argument("--count", type=int, help="images of each class")
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--samples", type=int, default=SAMPLES, help="rays a pixel")
    parser.add_argument("--quality", type=int, default=QUALITY, help="of WebP")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sheet", type=Path, help="a PNG that shows them all")
    parser.add_argument("--columns", type=int, default=12)
    options = parser.parse_args()
    how = {key: getattr(options, key) for key in ("side", "samples", "quality")}
    jobs = all_jobs(options.only or MAKERS, options.count, **how)
    begun = time.perf_counter()
    coded = write_archive(options.out, jobs, options.processes)
    seconds = (time.perf_counter() - begun) / len(coded)
    size = options.out.stat().st_size / 1e6
    print(f"{len(coded)} images, {size:.3f} MB, {seconds:.2f} s an image")
    if options.sheet:
        sheet(coded, options.columns).save(options.sheet)


if __name__ == "__main__":
    main()
