"""How long `graft --help` and `graft check --help` take; medians of 11."""

from pathlib import Path

from benchmarks.common import GRAFT, median, show, timed


def main() -> None:
    for arguments in (["--help"], ["check", "--help"]):
        times = [timed([*GRAFT, *arguments], Path())[0] for _ in range(11)]
        show("startup", command=" ".join(["graft", *arguments]), seconds=median(times))


if __name__ == "__main__":
    main()
