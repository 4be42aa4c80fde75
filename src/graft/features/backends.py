"""Backends: the fastest way that this machine has to run a frozen encoder.

The choice is by capability and is always named: on a GPU PyTorch under autocast; on a CPU
OpenVINO, in bfloat16 where the processor has it (AMX, AVX-512 BF16) and float32 elsewhere; and
PyTorch where OpenVINO is not installed or cannot convert the network. A network from a file of
another tool (OpenVinoBody) runs in OpenVINO everywhere. Every backend sees batches of one fixed
size, the last one padded, so that an image's features do not depend on its company.
"""

import functools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from graft.choices import BACKENDS
from graft.errors import ModelError, UsageError
from graft.features.openvino_backend import openvino_name, openvino_submit
from graft.models.encoder import Encoder
from graft.models.openvino_body import ARCHITECTURE, OpenVinoBody
from graft.models.runtime import Runtime, detect_runtime, float32_asked_for

if TYPE_CHECKING:
    from graft.models.backbone import Backbone
    from graft.models.halves import Prefix

BATCH = 32

Tag = TypeVar("Tag")


@dataclass(frozen=True)
class Backend:
    """A compiled encoder.

    `submit` takes a whole batch ((batch, H, W, 3) uint8 for an encoder) and returns a function
    that waits for the (batch, D) float32 outputs; any thread may call it. `depth` batches of one
    caller may be under way at once.
    `name` says what runs and how precisely ("openvino 2026.4 bf16 on CPU"); `note` why it is not
    the usual choice.
    """

    name: str
    batch: int
    depth: int
    submit: Callable[[NDArray[Any]], Callable[[], NDArray[np.float32]]]
    note: str | None = None


def choose(wanted: str = "auto", from_file: bool = False) -> str:
    """The name of the backend that `compile_encoder` will use: it belongs to the cache key.

    `from_file` is for an OpenVinoBody, which PyTorch cannot run: UsageError where that is asked.
    """
    return _chosen(wanted, from_file, float32_asked_for())


# Asked for every batch of predictions, and starting OpenVINO to ask takes time. What the
# environment asks for (`exact`) is read below; it is here to be told apart.
@functools.cache
def _chosen(wanted: str, from_file: bool, exact: bool) -> str:
    if wanted not in BACKENDS:
        raise UsageError(f"backend is one of {', '.join(BACKENDS)}, not {wanted!r}")
    if from_file and wanted == "torch":
        raise UsageError("a network from a file runs in OpenVINO; leave --backend torch out")
    if from_file:
        return openvino_name(exact=wanted == "float32")
    runtime = detect_runtime(wanted)
    if wanted in ("float32", "torch") or (wanted == "auto" and runtime.device.type != "cpu"):
        return _torch_name(runtime)
    try:
        return openvino_name()
    except ImportError as error:
        if wanted == "openvino":
            raise ModelError("backend openvino: not installed; pip install openvino") from error
        return _torch_name(runtime)


def compile_encoder(
    encoder: "Encoder | Prefix", wanted: str = "auto", batch: int = BATCH
) -> Backend:
    """The encoder, ready to run; `batch` images at once.

    Falls back from OpenVINO to PyTorch under "auto" only, and says so in the backend's note.
    Raises ModelError when the backend asked for cannot run the network.
    """
    from_file = isinstance(encoder, Encoder) and isinstance(encoder.body, OpenVinoBody)
    name = choose(wanted, from_file)
    if not name.startswith("openvino"):
        runtime = detect_runtime(wanted)
        return torch_backend(encoder.to(memory_format=torch.channels_last), batch, runtime=runtime)
    try:
        return Backend(name, batch, *openvino_submit(encoder, name, batch))
    # OpenVINO raises plain RuntimeErrors for operations that it does not know.
    except Exception as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
        if wanted == "openvino" or from_file:
            raise ModelError(f"openvino cannot run this network: {reason}") from error
        note = f"openvino cannot run this network ({reason}), PyTorch does"
        return torch_backend(encoder.to(memory_format=torch.channels_last), batch, note=note)


@dataclass(eq=False)
class LazyBackend:
    """An encoder's backend: named at once, compiled at the first call, then kept.

    It is compiled anew in another process: after a fork, whose child has none of the threads that
    a compiled network waits for, and where it was sent to by pickle.
    """

    build: Callable[[], "Encoder | Prefix"]
    wanted: str = "auto"
    batch: int = BATCH
    from_file: bool = False
    ready: Backend | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        _LIVING.add(self)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("build", "wanted", "batch", "from_file")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def name(self) -> str:
        """What runs; before the first call, what is expected to."""
        return self.ready.name if self.ready else choose(self.wanted, self.from_file)

    @property
    def exact(self) -> bool:
        """Whether it computes in float32."""
        return " f32 " in self.name

    def __call__(self) -> Backend:
        """The backend itself."""
        with self.lock:  # one thread compiles, the others wait for it
            if self.ready is None:
                if _forked:
                    _compute_on_one_thread(self.wanted)
                self.ready = compile_encoder(self.build(), self.wanted, self.batch)
            return self.ready

    def close(self) -> None:
        """Free the compiled encoder; another call compiles it again."""
        with self.lock:
            self.ready = None


def backend_of(backbone: "Backbone", wanted: str = "auto", batch: int = BATCH) -> LazyBackend:
    """The backend of a backbone, whatever its encoder runs in."""
    return LazyBackend(backbone.build, wanted, batch, backbone.architecture == ARCHITECTURE)


_LIVING: "weakref.WeakSet[LazyBackend]" = weakref.WeakSet()
_forked = False  # whether this process is a child that was forked after this module was imported
_left_behind: list[Backend | None] = []  # a child must not take apart what its parent's threads run


def _in_forked_child() -> None:
    global _forked
    _forked = True
    for backend in _LIVING:
        _left_behind.append(backend.ready)
        backend.ready, backend.lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)


def _compute_on_one_thread(wanted: str) -> None:
    """For a forked child: PyTorch would wait forever for the threads that its parent had.

    Raises ModelError for a GPU, which no forked child can use.
    """
    if torch.cuda.is_available() and choose(wanted).startswith("torch"):
        raise ModelError(
            "a forked process cannot use the GPU; start it with multiprocessing's 'spawn', or "
            "load with backend='openvino'"
        )
    torch.set_num_threads(1)


def infer(
    backend: Callable[[], Backend], batches: Iterable[tuple[Tag, NDArray[Any]]]
) -> Iterator[tuple[Tag, NDArray[np.float32]]]:
    """The no-grad loop: outputs of each batch (n ≤ backend.batch, …), in order, with its tag.

    The backend is asked for when the first batch is there, so that no batch costs no compilation.
    """
    pending: deque[tuple[Tag, int, Callable[[], NDArray[np.float32]]]] = deque()
    ready: Backend | None = None
    for tag, batch in batches:
        ready = ready or backend()
        count = len(batch)
        if count < ready.batch:
            padding = np.zeros((ready.batch - count, *batch.shape[1:]), batch.dtype)
            batch = np.concatenate([batch, padding])
        if len(pending) >= ready.depth:
            done, rows, wait = pending.popleft()
            yield done, wait()[:rows]
        pending.append((tag, count, ready.submit(batch)))
    for done, rows, wait in pending:
        yield done, wait()[:rows]


def _torch_name(runtime: Runtime) -> str:
    return f"torch {torch.__version__.split('+')[0]} {runtime.precision} on {runtime.where}"


def torch_backend(
    module: nn.Module,
    batch: int = BATCH,
    note: str | None = None,
    runtime: Runtime | None = None,
) -> Backend:
    """Any module as a backend, in PyTorch; in inference mode while it runs."""
    runtime = runtime or detect_runtime()
    place = runtime.device
    module = module.to(place)

    def submit(rows: NDArray[Any]) -> Callable[[], NDArray[np.float32]]:
        inputs = torch.from_numpy(rows).to(place, non_blocking=True)
        training = module.training
        if training:
            module.eval()
        with torch.inference_mode(), runtime.autocast():
            outputs = module(inputs)
        if training:
            module.train()
        return lambda: outputs.float().cpu().numpy()

    depth = 1 if place.type == "cpu" else 2
    return Backend(_torch_name(runtime), batch, depth, submit, note)
