"""What the audit adds to a frozen `graft train` on flowers, cold and warm.

[TIMES]: median of whole processes (default 3), with the audit and without, in turn. Fingerprints
are taken in both, as they belong to reading the images.
"""

import sys

from benchmarks.common import WEIGHTS, images, median, module, show, timed, workplace


def train(source: str, out: str) -> None:
    """Train as it is."""
    import graft

    graft.train(source, model=WEIGHTS, out=out)


def train_without(source: str, out: str) -> None:
    """Train with all images taken for usable and different."""
    from graft.quality.audit import Audit
    from graft.training import recipe

    def nothing(dataset, table, *more, **options):  # type: ignore[no-untyped-def]
        usable = [i for i in range(len(dataset.examples)) if i not in table.problems]
        return Audit((), usable, [])

    recipe.audit = nothing  # type: ignore[assignment]
    train(source, out)


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in ("with", "without"):
        {"with": train, "without": train_without}[sys.argv[1]](*sys.argv[2:])
        return
    source = str(images("flowers"))
    seconds: dict[str, list[float]] = {}
    for number in range(int(sys.argv[1]) if sys.argv[1:] else 3):
        for way in ("with", "without") if number % 2 else ("without", "with"):
            with workplace() as place:
                for run in ("cold", "warm"):
                    command = module("audit_cost", way, source, place / run)
                    took, _ = timed(command, place / "cache")
                    seconds.setdefault(f"{run}_{way}", []).append(took)
    found = {name: median(values) for name, values in seconds.items()}
    show(
        "audit_cost",
        **{name: round(value, 2) for name, value in found.items()},
        cold_ratio=found["cold_with"] / found["cold_without"],
        warm_ratio=found["warm_with"] / found["warm_without"],
    )


if __name__ == "__main__":
    main()
