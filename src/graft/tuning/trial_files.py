"""What a search keeps in RUN/tune, so that it is stopped, resumed, and shared by processes.

search.json              what is searched: settings, space, digest of the images
trials/NAME.safetensors  what a pass gave: its classifiers' logits of images that they had not seen
claims/NAME              locked by the process that computes this pass
journal.log              Optuna's memory, where it is installed
tune.json, tune.html     the result, for programs and for people

A pass is written beside and renamed, so a killed process leaves whole ones only, and the file
system's locks, which end with a process, say which passes are under way.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from graft.errors import UsageError
from graft.tuning.candidate import Candidate, Members, name_of
from graft.utils.files import replacing, write_json
from graft.utils.locks import lock

FOLDER = "tune"


@dataclass(frozen=True)
class Pass:
    """Classifiers fitted together: `trials` (M), their `logits` (M, r, K) of the images `rows`
    (r,), which none of them had seen.

    `rung` is None for a whole trial, or the number of a cheaper preview. `curves` hold the accuracy
    on the fold's val by epoch, `seconds` what it took, `at` the seconds of search until then, over
    all processes; `failed` says why there are no logits.
    """

    name: str
    trials: tuple[Members, ...]
    rows: NDArray[np.int64]
    logits: NDArray[np.float32]
    seconds: float
    at: float
    fold: int = 0
    rung: int | None = None
    curves: list[list[float]] = field(default_factory=list)
    failed: str = ""


class TrialFiles:
    """The folder RUN/tune of one search."""

    def __init__(self, run: Path):
        self.folder = run / FOLDER
        self._read: dict[str, Pass] = {}

    @property
    def journal(self) -> Path:
        """Optuna's journal."""
        return self.folder / "journal.log"

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Keep what is searched; UsageError where the folder holds a search of something else."""
        file = self.folder / "search.json"
        if file.is_file():
            try:
                before = json.loads(file.read_text(encoding="utf-8"))["identity"]
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(
                    f"{file} is damaged; remove {self.folder.parent}, or choose another --out"
                ) from error
            now = json.loads(json.dumps(identity))
            other = [name for name in now if before.get(name) != now[name]]
            if other:
                raise UsageError(
                    f"{self.folder.parent}: the search there was begun with other "
                    f"{' and '.join(other)}; repeat the first command, or choose another --out"
                )
            return
        (self.folder / "trials").mkdir(parents=True, exist_ok=True)
        (self.folder / "claims").mkdir(exist_ok=True)
        write_json(file, {"generator": "graft", "identity": identity})

    def write(self, found: Pass) -> None:
        """Keep a pass."""
        described = {k: v for k, v in asdict(found).items() if k not in ("rows", "logits")}
        described["trials"] = [[one.to_json() for one in members] for members in found.trials]
        arrays: dict[str, NDArray[Any]] = {"rows": found.rows, "logits": found.logits}
        with replacing(self._file(found.name)) as beside:
            save_file(arrays, beside, metadata={"pass": json.dumps(described)})
        self._read[found.name] = found

    def has(self, name: str) -> bool:
        """Whether some process has finished this pass."""
        return name in self._read or self._file(name).is_file()

    def passes(self) -> list[Pass]:
        """All passes of all processes so far, the earliest first."""
        for file in sorted((self.folder / "trials").glob("*.safetensors")):
            if file.stem not in self._read:
                self._read[file.stem] = _read(file)
        return sorted(self._read.values(), key=lambda found: (found.at, found.name))

    @contextmanager
    def claimed(self, name: str) -> Iterator[bool]:
        """Whether this pass is this process's to compute: nobody has finished it or is at it."""
        claim = self.folder / "claims" / name
        descriptor = None if self.has(name) else lock(claim)
        try:
            # Another process may have finished it between the two.
            yield descriptor is not None and not self.has(name)
        finally:
            if descriptor is not None:
                claim.unlink(missing_ok=True)
                os.close(descriptor)

    def _file(self, name: str) -> Path:
        return self.folder / "trials" / f"{name}.safetensors"


def pass_name(trials: tuple[Members, ...], fold: int, rung: int | None = None) -> str:
    """The name of a pass: equal passes have equal names."""
    every = name_of([one for members in trials for one in members])
    return f"{every}-{fold}" + (f"-rung{rung}" if rung is not None else "")


def _read(file: Path) -> Pass:
    try:
        with safe_open(file, "numpy") as opened:
            described = json.loads((opened.metadata() or {})["pass"])
            rows, logits = opened.get_tensor("rows"), opened.get_tensor("logits")
        trials = tuple(tuple(Candidate(**one) for one in m) for m in described.pop("trials"))
        return Pass(**described, trials=trials, rows=rows, logits=logits)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, UsageError) as error:
        raise UsageError(
            f"{file} is damaged ({error}); remove it, and what it held is computed again"
        ) from error
