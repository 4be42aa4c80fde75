"""The archive of rendered images, made by several processes, and sheets to look at."""

import io
import zipfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from renderer.objects import MAKERS, TRAINED
from renderer.stage import SAMPLES, SIDE, render

COUNT, COUNT_UNSEEN = 64, 40
QUALITY = 89


@dataclass(frozen=True)
class Job:
    """One image to render and how to code it."""

    name: str
    number: int
    side: int = SIDE
    samples: int = SAMPLES
    quality: int = QUALITY


def encode(job: Job) -> tuple[str, bytes]:
    """One image, rendered and coded: its name in the archive, and its bytes."""
    coded = io.BytesIO()
    image = Image.fromarray(render(job.name, job.number, job.side, job.samples))
    image.save(coded, "WEBP", quality=job.quality, method=6)
    return f"{job.name}/{job.number:03d}.webp", coded.getvalue()


def all_jobs(names: Iterable[str] = MAKERS, count: int | None = None, **how: int) -> list[Job]:
    """What to render, in the order of the archive."""
    return [
        Job(name, number, **how)
        for name in names
        for number in range(count or (COUNT if name in TRAINED else COUNT_UNSEEN))
    ]


def write_archive(out: Path, jobs: list[Job], processes: int) -> list[bytes]:
    """Render the jobs into `out`; return the coded images."""
    coded = []
    with (
        ProcessPoolExecutor(processes, get_context("spawn")) as pool,
        zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, data in pool.map(encode, jobs):
            # With the date of now, no two archives would be equal.
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), data)
            coded.append(data)
    return coded


def sheet(coded: list[bytes], columns: int) -> Image.Image:
    """Images side by side."""
    images = [Image.open(io.BytesIO(one)) for one in coded]
    side = images[0].width
    page = Image.new("RGB", (columns * side, -(-len(images) // columns) * side))
    for i, image in enumerate(images):
        page.paste(image, (i % columns * side, i // columns * side))
    return page
