"""What the audit and the split add to a frozen `graft train` on flowers, cold and warm.

[TIMES]: median of whole processes (default 3), with the audit and without, in turn. Without: no
fingerprints, no near copies, no shortcuts, no judging of labels, no leaky split.
"""

import sys
import time

from benchmarks.common import WEIGHTS, images, median, module, show, timed, workplace


def without(source: str, out: str) -> None:
    """Train with the audit's splits taken out."""
    from graft.learning import audit, prepare, recipe

    from graft.quality.audit import Audit

    encode = audit.FeatureTable.compute.__globals__["encode"]

    def plain(*arguments, fingerprinted=None, **options):  # type: ignore[no-untyped-def]
        return encode(*arguments, **options)

    audit.FeatureTable.compute.__globals__["encode"] = plain
    recipe.leaky = lambda job: None  # type: ignore[attr-defined]
    prepare.judge = lambda *arguments: []  # type: ignore[attr-defined]

    def read(dataset, frozen, views_of, progress):  # type: ignore[no-untyped-def]
        found = Audit(dataset)
        files = [example.file for example in dataset.examples]
        frozen.compute(files, views_of, found.note, progress)
        return found

    prepare.read_and_check = read
    from graft.training import measure

    measure.traits_of = lambda job, split: ({}, {})  # type: ignore[attr-defined]
    import graft

    graft.train(source, model=WEIGHTS, out=out)


def with_audit(source: str, out: str) -> None:
    """Train as it is."""
    import graft

    graft.train(source, model=WEIGHTS, out=out)


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in ("with", "without"):
        {"with": with_audit, "without": without}[sys.argv[1]](*sys.argv[2:])
        return
    times = int(sys.argv[1]) if sys.argv[1:] else 3
    source = str(images("flowers"))
    seconds: dict[str, list[float]] = {}
    for number in range(times):
        for way in ("with", "without") if number % 2 else ("without", "with"):
            with workplace() as place:
                for run in ("cold", "warm"):
                    command = module("audit_cost", way, source, place / run)
                    took, _ = timed(command, place / "cache")
                    seconds.setdefault(f"{run} {way}", []).append(took)
                    time.sleep(0.2)
    found = {name: median(values) for name, values in seconds.items()}
    show(
        "audit_cost",
        **{name.replace(" ", "_"): round(value, 2) for name, value in found.items()},
        cold_ratio=found["cold with"] / found["cold without"],
        warm_ratio=found["warm with"] / found["warm without"],
    )


if __name__ == "__main__":
    main()
