"""What test_damage.py runs in a process of its own: reads damaged files and says how it went.

images FOLDER SEED COUNT: `check` of COUNT damaged images. sources FOLDER SEED COUNT: the listing of
COUNT damaged archives and tables. Prints one line of JSON.
"""

import faulthandler
import hashlib
import io
import json
import random
import resource
import struct
import sys
import tarfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from graft.data.sources import load_dataset
from graft.errors import GraftError
from graft.quality.check import check

# A file on which this many seconds are spent counts as a hang.
HANG = 60


def photo(seed: int, width: int = 72, height: int = 56) -> Image.Image:
    """A smooth image with edges and noise: a small photo for an encoder."""
    noise = np.random.default_rng(seed)
    small = Image.fromarray(noise.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((pixels + noise.integers(-8, 8, pixels.shape)).clip(0, 255).astype("u1"))


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def whole_images() -> list[tuple[str, bytes]]:
    """An image in each format and the main variants of it, by suffix."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0132] = 6, "maker", "2024:05:31 10:00:00"
    one, other = photo(1), photo(2)
    gray = one.convert("L")
    sixteen = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    clear = one.copy()
    clear.putalpha(gray)
    found = [
        ("jpg", encoded(one, "JPEG", exif=exif)),
        ("jpg", encoded(one, "JPEG", progressive=True, icc_profile=b"profile" * 20)),
        ("jpg", encoded(one.convert("CMYK"), "JPEG")),
        ("mpo", encoded(one, "MPO", save_all=True, append_images=[other])),
        ("png", encoded(clear, "PNG", exif=exif)),
        ("png", encoded(sixteen, "PNG")),
        ("png", encoded(one.convert("P"), "PNG", transparency=3)),
        ("gif", encoded(one, "GIF", save_all=True, append_images=[other])),
        ("webp", encoded(clear, "WEBP", exif=exif)),
        ("webp", encoded(one, "WEBP", save_all=True, append_images=[other])),
        ("bmp", encoded(one, "BMP")),
        ("tif", encoded(one, "TIFF", compression="tiff_lzw", exif=exif)),
        ("tif", encoded(clear, "TIFF", compression="tiff_adobe_deflate")),
        ("tif", encoded(one, "TIFF", compression="jpeg")),
        ("ppm", encoded(one, "PPM")),
        ("avif", encoded(one, "AVIF")),
        ("jp2", encoded(one, "JPEG2000")),
        ("tga", encoded(one, "TGA", compression="tga_rle")),
    ]
    try:
        import pillow_heif
    except ImportError:
        return found
    pillow_heif.register_heif_opener()
    return [*found, ("heic", encoded(one, "HEIF")), ("heic", encoded(clear, "HEIF"))]


def whole_sources() -> list[tuple[str, bytes]]:
    """An archive or table of each kind with the same few images, by suffix."""
    images = {f"{'ab'[n % 2]}/{n}.png": encoded(photo(n, 20, 16), "PNG") for n in range(6)}
    found: list[tuple[str, bytes]] = []
    for suffix in ("tar", "tar.gz", "tar.xz", "tar.bz2"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=f"w:{suffix[4:]}") as tar:
            for name, data in {**images, "a/" + "long" * 40 + ".png": b"x"}.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        found.append((suffix, file.getvalue()))
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, data in images.items():
                archive.writestr(name, data)
            archive.writestr("table.csv", "image,label\na/0.png,a\nb/1.png,b\n")
        found.append(("zip", file.getvalue()))
    text = "image,label,split\n" + "".join(f"whole/{n}.png,class é{n % 3},\n" for n in range(40))
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        found += [("csv", text.encode(encoding))]
    found.append(("tsv", text.replace(",", "\t").encode()))
    held = [{"bytes": data, "path": name} for name, data in images.items()]
    columns: tuple[dict[str, object], ...] = (
        {"image": list(images.values()), "label": list("abcabc")},
        {"image": held, "label": [0, 1, 0, 1, 0, 1]},
        {"image": ["whole/1.png"] * 100, "label": ["a"] * 100, "note": list(range(100))},
    )
    described = {"huggingface": '{"info": {"features": {"label": {"names": ["a", "b"]}}}}'}
    for number, each in enumerate(columns):
        table = pyarrow.table(each)
        file = io.BytesIO()
        compression = ("snappy", "zstd", "gzip")[number]
        table = table.replace_schema_metadata(described) if number == 1 else table
        pyarrow.parquet.write_table(table, file, compression=compression)
        found.append(("parquet", file.getvalue()))
    return found


def damaged(data: bytes, other: bytes, generator: random.Random) -> bytes:
    """The bytes with flipped bits, extreme numbers, a cut, bytes put in, or another's head."""
    out = bytearray(data)
    match generator.randrange(6):
        case 0:
            for _ in range(generator.randint(1, 40)):
                out[generator.randrange(len(out))] ^= 1 << generator.randrange(8)
        case 1:
            return data[: generator.randrange(len(data))]
        case 2:
            size = generator.randint(4, 200)
            return other[:size] + data[size:]
        case 3:
            start = generator.randrange(len(data))
            return data[:start] + generator.randbytes(generator.randint(1, 400)) + data[start:]
        case 4:  # sizes, offsets and counts lie near the beginning, or near the end
            extreme = generator.choice((0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
            number = struct.pack(generator.choice(("<I", ">I")), extreme)
            place = generator.randrange(min(len(out), 160))
            place = place if generator.random() < 0.7 else max(0, len(out) - place - 4)
            out[place : place + 4] = number
        case _:  # a piece that is there twice
            start = generator.randrange(len(data))
            end = min(len(data), start + generator.randint(1, 500))
            return data[:end] + data[start:]
    return bytes(out)


def digests(folder: Path) -> str:
    """The names and bytes of all files below a folder, as one digest."""
    found = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        found.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


def images(folder: Path, seed: int, count: int) -> dict[str, object]:
    generator = random.Random(seed)
    whole = whole_images()
    for label in "ab":
        (folder / label).mkdir(parents=True)
    for number in range(count):
        suffix, data = whole[number % len(whole)]
        other = generator.choice(whole)[1]
        file = folder / "ab"[number % 2] / f"{number}.{suffix}"
        file.write_bytes(damaged(data, other, generator) or b"x")
    before = digests(folder)
    faulthandler.dump_traceback_later(HANG + count, exit=True)
    result = check(folder)
    json.dumps(result.to_json())
    kinds = Counter(f.kind for f in result.findings for _ in f.paths)
    return {"usable": result.usable, "kinds": kinds, "changed": digests(folder) != before}


def sources(folder: Path, seed: int, count: int) -> dict[str, object]:
    generator = random.Random(seed)
    whole = whole_sources()
    (folder / "whole").mkdir(parents=True)
    for number in range(40):
        (folder / "whole" / f"{number}.png").write_bytes(encoded(photo(number, 9, 8), "PNG"))
    ended: Counter[str] = Counter()
    slowest, changed, left = 0.0, 0, 0
    cache = folder.with_name(f"{folder.name}-cache")
    for number in range(count):
        suffix, data = whole[number % len(whole)]
        file = folder / f"{number}.{suffix}"
        file.write_bytes(damaged(data, generator.choice(whole)[1], generator))
        before = digests(folder)
        faulthandler.dump_traceback_later(HANG, exit=True)
        start = time.perf_counter()
        try:
            load_dataset(file, cache)
            ended["read"] += 1
        except GraftError as error:
            ended["refused"] += 1
            ended["more than a line"] += str(error).count("\n")
        slowest = max(slowest, time.perf_counter() - start)
        changed += digests(folder) != before
        left += sum(p.name.startswith(".") for p in cache.glob("unpacked/*"))
        file.unlink()
    return {"ended": ended, "slowest": slowest, "changed": changed, "left": left}


def peak_memory():
    """The most bytes that this process has held. Not ru_maxrss, which begins with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    found = {"images": images, "sources": sources}[sys.argv[1]](
        Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    )
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(found | {"megabytes": peak_memory() // 2**20}))
