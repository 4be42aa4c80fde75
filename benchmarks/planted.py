"""What the audit finds of what was planted: near-duplicates, label errors, broken files.

[near | labels | broken | grow | check]…: near-duplicates of eight kinds among 2,000 photos, three
seeds; 5 % of the labels of flowers changed, three seeds; 10,000 damaged files; how comparing
thumbnails grows; how `graft check` of photos does, and what of it is decoding.
"""

import csv
import hashlib
import io
import json
import random
import resource
import shutil
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import GRAFT, WEIGHTS, photos, show, workplace

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "quality"))
SEEDS = (1, 2, 3)
PHOTOS = {"flowers": 1200, "cats_dogs": 600, "imagenet_samples": 200}
COPIES, FLIPPED, DAMAGED = 200, 0.05, 10_000
NEAR = ("near_duplicates", "near_two_labels", "near_two_splits")


def checked(source: Path, cache: Path, *more: str) -> dict:
    command = [*GRAFT, "check", str(source), "--json", *more]
    done = subprocess.run(
        command, env={"GRAFT_CACHE": str(cache), "PATH": "/usr/bin:/bin"}, capture_output=True
    )
    if done.returncode not in (0, 3):
        sys.exit(done.stderr.decode())
    return json.loads(done.stdout)


def near() -> None:
    from edits import planted

    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        chosen: list[Path] = []
        for name, count in PHOTOS.items():
            found = photos(name)
            chosen += [found[i] for i in generator.permutation(len(found))[:count]]
        made, true = planted(chosen, COPIES, seed)
        with workplace() as place:
            for number, image in enumerate(made):
                folder = place / "source" / "ab"[number % 2]
                folder.mkdir(parents=True, exist_ok=True)
                image.save(folder / f"{number}.png")
            start = time.perf_counter()
            found = checked(place / "source", place / "cache")
            took = time.perf_counter() - start
        sets = [one for i in found["findings"] if i["kind"] in NEAR for one in i["sets"]]
        pairs = {
            tuple(sorted((int(Path(a).stem), int(Path(b).stem))))
            for one in sets
            for a, b in combinations(one, 2)
        }
        other = sorted(pairs - set(true))
        missed: dict[str, int] = {}
        for pair in set(true) - pairs:
            missed[true[pair]] = missed.get(true[pair], 0) + 1
        show(
            "near",
            seed=seed,
            photos=len(chosen),
            copies=len(true),
            recall=len(pairs & set(true)) / len(true),
            precision=len(pairs & set(true)) / len(pairs),
            missed=missed,
            others=[[str(chosen[i]) if i < len(chosen) else i for i in pair] for pair in other],
            s=round(took, 1),
        )


def labels() -> None:
    files = photos("flowers")
    classes = sorted({file.parent.name for file in files})
    with workplace() as place:
        for seed in SEEDS:
            generator = random.Random(seed)
            flipped = set(generator.sample(range(len(files)), int(FLIPPED * len(files))))
            table = place / f"{seed}.csv"
            with table.open("w", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(["image", "label"])
                for number, file in enumerate(files):
                    own = file.parent.name
                    others = [name for name in classes if name != own]
                    label = generator.choice(others) if number in flipped else own
                    writer.writerow([file, label])
            found = checked(table, place / "cache", "--model", WEIGHTS)
            told = {p for i in found["findings"] if i["kind"] == "label_error" for p in i["paths"]}
            # Bytes that stand under two labels are told, and kept out, before labels are judged.
            told |= {p for i in found["findings"] if i["kind"] == "two_labels" for p in i["paths"]}
            true = {str(files[number]) for number in flipped}
            show(
                "labels",
                seed=seed,
                n=len(files),
                flipped=len(true),
                told=len(told),
                found=len(told & true) / len(true),
                truly_flipped=len(told & true) / len(told),
            )


def damaged(data: bytes, other: bytes, generator: random.Random) -> bytes:
    """The bytes of an image with flipped bits, a cut, or the head of another."""
    kind = generator.randrange(4)
    if kind == 0:
        out = bytearray(data)
        for _ in range(generator.randint(1, 40)):
            out[generator.randrange(len(out))] ^= 1 << generator.randrange(8)
        return bytes(out)
    if kind == 1:
        return data[: generator.randrange(len(data))]
    if kind == 2:
        size = generator.randint(4, 200)
        return other[:size] + data[size:]
    start = generator.randrange(len(data))
    return data[:start] + generator.randbytes(generator.randint(1, 400)) + data[start:]


def broken() -> None:
    generator = random.Random(0)
    some = photos("flowers")[::160]
    whole: list[tuple[str, bytes]] = []
    for photo in some:
        image = Image.open(photo).convert("RGB").resize((96, 80))
        for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
            buffer = io.BytesIO()
            image.save(buffer, format)
            whole.append((format.lower(), buffer.getvalue()))
    with workplace() as place:
        written = {}
        for number in range(DAMAGED):
            ending, data = generator.choice(whole)
            file = place / "source" / "ab"[number % 2] / f"{number}.{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(damaged(data, generator.choice(whole)[1], generator))
            written[file] = hashlib.sha256(file.read_bytes()).digest()
        start = time.perf_counter()
        found = checked(place / "source", place / "cache")
        took = time.perf_counter() - start
        changed = sum(
            hashlib.sha256(file.read_bytes()).digest() != digest for file, digest in written.items()
        )
    kinds = {i["kind"]: len(i["paths"]) for i in found["findings"]}
    show("broken", files=DAMAGED, usable=found["usable"], changed=changed, kinds=kinds, s=took)


def grow() -> None:
    from graft.data.fingerprint import FINGERPRINT
    from graft.quality.near_duplicates import near_pairs

    files = [file for file in photos("cifar10") if file.parents[1].name == "train"]
    np.random.default_rng(0).shuffle(files)
    for count in (10_000, 20_000, 40_000):
        found = np.zeros(count, FINGERPRINT)
        found["width"] = found["height"] = 64
        for row, file in zip(found, files, strict=False):
            row["gray"] = np.asarray(Image.open(file).convert("L").resize((64, 64)))
        start = time.perf_counter()
        pairs = near_pairs(found)
        show("grow", thumbnails=count, pairs=len(pairs), s=round(time.perf_counter() - start, 1))


def check() -> None:
    from graft.data.reader import stream
    from graft.features.table import _SIZE

    files = photos("flowers")
    random.Random(0).shuffle(files)
    with workplace() as place:
        # More photos than there are: the left half of one beside the right half of another.
        for count in (2_500, 5_000, 10_000, 20_000):
            source = place / str(count)
            for number in range(count):
                folder = source / "ab"[number % 2]
                folder.mkdir(parents=True, exist_ok=True)
                first, second = (
                    Image.open(files[i % len(files)]).convert("RGB").resize((224, 224))
                    for i in (number, number * 7 + 13 + number // len(files))
                )
                first.paste(second.crop((112, 0, 224, 224)), (112, 0))
                first.save(folder / f"{number}.jpg", quality=85)
            start = time.perf_counter()
            found = checked(source, place / "cache")
            took = time.perf_counter() - start
            # Of the largest process so far, which is the last: they grow.
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
            start = time.perf_counter()
            for _ in stream(sorted(source.rglob("*.jpg")), _SIZE):
                pass
            show(
                "check",
                photos=count,
                s=round(took, 1),
                decoding_s=round(time.perf_counter() - start, 1),
                memory_mb=round(memory),
                kinds=[finding["kind"] for finding in found["findings"]],
            )
            shutil.rmtree(source)


def main() -> None:
    ways = {"near": near, "labels": labels, "broken": broken, "grow": grow, "check": check}
    for name in sys.argv[1:] or ways:
        ways[name]()


if __name__ == "__main__":
    main()
