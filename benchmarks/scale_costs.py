"""What 10^5, 10^7 and 10^9 images cost, from measured rates: the table of docs/scale.md.

[--megabytes 0.1] [--workers 100] [--core-price 0.04] [--gpu-price 0.6]: megabytes of an image
file; how many machines share the work; dollars for an hour of a core and of a GPU, which are
assumptions: put in your own.
"""

import argparse
from dataclasses import dataclass

# Bytes of an image in the files of `graft features`: 2,352 features in float16, the fingerprint,
# and its line (path, label, digests).
BYTES_KEPT = 2 * 2352 + 4164 + 200
SIZES = (10**5, 10**7, 10**9)


@dataclass(frozen=True)
class Kind:
    """A kind of machine: images per second with EfficientNet-lite0, and where that is from."""

    name: str
    images_s: float
    cores: int
    gpus: int
    source: str


KINDS = (
    Kind("two cores, AVX2, float32", 205, 2, 0, "measured"),
    Kind("two cores, AVX-512 with bf16", 481, 2, 0, "measured"),
    Kind("16 such cores, eight workers", 8 * 481, 16, 0, "eight times the measured"),
    Kind("one RTX 3080, ViT-B/32", 1500, 8, 1, "reported by clip-retrieval"),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=0.1)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--core-price", type=float, default=0.04)
    parser.add_argument("--gpu-price", type=float, default=0.6)
    asked = parser.parse_args()
    print("| machine | images/s | read, MB/s | 10^5 | 10^7 | 10^9 | … on 100 of them | dollars |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind in KINDS:
        seconds = [size / kind.images_s for size in SIZES]
        price = kind.cores * asked.core_price + kind.gpus * asked.gpu_price
        dollars = " / ".join(money(one / 3600 * price) for one in seconds)
        cells = (
            f"{kind.name} ({kind.source})",
            f"{kind.images_s:,.0f}",
            f"{kind.images_s * asked.megabytes:,.0f}",
            *map(duration, seconds),
            duration(seconds[-1] / asked.workers),
            dollars,
        )
        print("| " + " | ".join(cells) + " |")
    kept = " / ".join(bytes_of(size * BYTES_KEPT) for size in SIZES)
    print(f"\nfiles of graft features, {BYTES_KEPT:,} bytes an image: {kept}")
    network = asked.workers * KINDS[1].images_s * asked.megabytes * 8 / 1000
    print(f"{asked.workers} workers of the second kind read {network:,.1f} Gbit/s in all")


def duration(seconds: float) -> str:
    """For people: 8 min, 5.8 h, 24 days."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return (
                f"{seconds / size:,.1f} {unit}"
                if seconds < 10 * size
                else f"{seconds / size:,.0f} {unit}"
            )
    return f"{seconds:.0f} s"


def bytes_of(count: float) -> str:
    """For people: 0.9 GB, 9.1 TB."""
    return f"{count / 1e12:,.1f} TB" if count >= 1e12 else f"{count / 1e9:,.1f} GB"


def money(dollars: float) -> str:
    """Cents below ten dollars."""
    return f"{dollars:,.2f}" if dollars < 10 else f"{dollars:,.0f}"


if __name__ == "__main__":
    main()
