"""The runs that a server serves: loaded and warmed up before they answer, swapped as wholes."""

import hashlib
import os
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from graft.errors import ModelError, UsageError
from graft.features.backends import BATCH
from graft.features.extraction import infer_float16
from graft.inference.policy import Policy, policy_for
from graft.inference.predictor import FEW, Predictor
from graft.inference.saved_model import load
from graft.inference.views import predict_views
from graft.utils.files import sha256_of

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
FILES = ("model.json", "model.safetensors")
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What each run is asked for: the options of `graft predict`."""

    max_error: str | None = None
    coverage: str | None = None
    answer_all: bool = False
    nearest: int = 0
    backend: str = "auto"


@dataclass(eq=False)
class ServedRun:
    """A run in memory. `digest` (sha256) is of its model's files.

    From `whole_batch` images on, a padded batch takes less time than the images one by one.
    `grown` is by how many bytes the process grew while it was loaded.
    """

    name: str
    path: Path
    digest: str
    predictor: Predictor = field(repr=False)
    policy: Policy = field(repr=False)
    promise: str = ""
    whole_batch: int = FEW + 1
    grown: int = 0
    loaded: float = field(default_factory=time.time)

    @property
    def version(self) -> str:
        """Names these very weights."""
        return self.digest[:12]

    def to_json(self) -> dict[str, Any]:
        """As GET /v1/models shows it."""
        preprocess = self.predictor.backbone.preprocess
        return {
            "name": self.name,
            "version": self.version,
            "sha256": self.digest,
            "classes": list(self.predictor.classes),
            "backbone": self.predictor.backbone.name,
            "backend": self.predictor.backend.name,
            "input": {"height": preprocess.height, "width": preprocess.width},
            "detects_ood": self.predictor.ood_detector is not None,
            "policy": {
                "abstain_ood": self.policy.abstain_ood,
                "min_probability": self.policy.min_probability,
                "set_probability": self.policy.set_probability,
                "nearest": self.policy.nearest,
                "promise": self.promise,
            },
            "loaded_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.loaded)),
        }


def named_paths(arguments: Sequence[str]) -> dict[str, Path]:
    """RUN or NAME=RUN arguments, by name; the name of a RUN is its folder's, a link's its own.

    Raises UsageError for two of one name, or a name that would be awkward in an address.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not equals or Path(argument).exists():
            name, path = Path(argument).absolute().name, argument
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{argument}: expected a name of letters, digits, dots, dashes and underscores, "
                f"got {name!r}; give it one: NAME={path}"
            )
        if name in found:
            raise UsageError(f"two runs are called {name}; tell them apart: NAME={path}")
        found[name] = Path(path)
    return found


def digest_of(path: Path) -> str:
    """The sha256 of a run's model files; ModelError where one is missing."""
    digest = hashlib.sha256()
    for name in FILES:
        try:
            digest.update(sha256_of(path / name))
        except OSError as error:
            raise ModelError(
                f"{path}: expected a finished run with {' and '.join(FILES)}, {name} cannot be "
                f"read ({error.strerror})"
            ) from error
    return digest.hexdigest()


def _unsaid(text: str) -> None:
    pass


def read_run(
    name: str, path: Path, asked: Asked, say: Callable[[str], None] = _unsaid
) -> ServedRun:
    """A run from its folder, not yet warmed up; `say` is told when that begins to take a while.

    Raises ModelError, also for files that change while they are read, and UsageError for a policy
    that it cannot keep.
    """
    digest = digest_of(path)
    policy, promise = policy_for(
        path, asked.max_error, asked.coverage, not asked.answer_all, asked.nearest
    )
    say(f"loading {name} from {path} …")
    predictor = load(path, asked.backend)
    if digest_of(path) != digest:
        raise ModelError(
            f"{path}: changed while it was read; put a run in place by renaming its folder"
        )
    return ServedRun(name, path, digest, predictor, policy, promise)


def warm_up(run: ServedRun) -> ServedRun:
    """Compile all that answers need, and measure when a whole batch pays; takes seconds.

    Afterwards the folder is not read again, whatever becomes of it.
    """
    preprocess = run.predictor.backbone.preprocess
    shape = (BATCH, preprocess.height, preprocess.width, 3)
    views = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    Image.init()  # all of Pillow's readers: else the first odd upload waits for their import
    run.predictor.exact()
    one = _seconds(lambda: list(infer_float16(run.predictor.single, iter([(0, views[:1])]))))
    whole = _seconds(lambda: list(infer_float16(run.predictor.backend, iter([(0, views)]))))
    predict_views(run.predictor, list(views[:1]), lambda row: views[row], run.policy, [""])
    run.whole_batch = min(BATCH, max(FEW + 1, int(whole / one)))
    return run


def _seconds(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def resident_bytes() -> int | None:
    """The memory of this process; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def memory_of_machine() -> int | None:
    """The bytes that this process may use at most: the container's limit, or all there is."""
    found = []
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        if limit.isdigit():
            found.append(int(limit))
    except (OSError, ValueError, AttributeError):
        pass
    return min(found) if found else None


class ServedRuns:
    """The runs by name. All are kept in memory until the end: none is loaded on demand, so that
    none answers late, and one that does not fit is refused when it is loaded.
    """

    def __init__(self, paths: dict[str, Path], asked: Asked, memory: int | None) -> None:
        self.paths, self.asked, self.memory = paths, asked, memory
        self.runs: dict[str, ServedRun] = {}
        self.ready = False

    def read(self, say: Callable[[str], None] = _unsaid) -> list[ServedRun]:
        """All of them, not warmed up: what is wrong with a folder shows within a second."""
        return [read_run(name, path, self.asked, say) for name, path in self.paths.items()]

    def warm(self, runs: Sequence[ServedRun]) -> None:
        """Make them answer, one after the other; ModelError where they do not fit into memory."""
        for run in runs:
            self.runs[run.name] = self._fitted(run)
        self.ready = True

    def reload(self, name: str) -> tuple[ServedRun, bool]:
        """The run from its folder as it is now, and whether it is another than before.

        The old one answers until the new one is warm, and what it has begun it finishes. Raises
        the errors of `read_run`, and keeps the old one then. One at a time.
        """
        old = self.runs[name]
        if digest_of(self.paths[name]) == old.digest:
            return old, False
        new = self._fitted(read_run(name, self.paths[name], self.asked), old.grown)
        self.runs[name] = new
        return new, True

    def _fitted(self, run: ServedRun, expected: int = 0) -> ServedRun:
        before = resident_bytes()
        self._check(run, (before or 0) + expected)
        warm_up(run)
        after = resident_bytes()
        self._check(run, after or 0)
        run.grown = max(0, (after or 0) - (before or 0))
        return run

    def _check(self, run: ServedRun, used: int) -> None:
        if self.memory is not None and used > self.memory:
            raise ModelError(
                f"{run.name} does not fit: {used / MEGABYTE:,.0f} MB of memory with it, at most "
                f"{self.memory / MEGABYTE:,.0f} MB are allowed; serve fewer runs, or raise "
                "--max-memory"
            )
