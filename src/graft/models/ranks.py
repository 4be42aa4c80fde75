"""The processes that train one network together, and all that passes between them.

torchrun starts them, `joined` makes them one group. Every function here is called by all of them
at the same point, and does nothing but call its argument where there is one process. Small things
travel as JSON over gloo, gradients over NCCL between GPUs. A process that ends takes the others
with it: their next exchange is a ConnectionError.
"""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from graft.errors import UsageError
from graft.models.runtime import Runtime, detect_runtime
from graft.utils.torchrun import Place, place

T = TypeVar("T")

# How long the processes wait for each other at the beginning, and later for rank 0, which audits
# millions of images and writes the report alone. One that dies is noticed at once, not then.
MEETING, WAITING = timedelta(minutes=10), timedelta(days=7)
FAILED = "graft failed"

_store: Any = None  # of key and value, where the processes met
_control: Any = None  # the group that small things travel in
_first: bool | None = None


@contextmanager
def joined() -> Iterator[Runtime]:
    """The runtime with this process's rank and world, one group with the others while it lasts; at
    its end they wait for each other. One process alone joins nothing.

    A group that is there already, as Ray Train makes it, is used and left as it is. Raises
    UsageError for more processes than GPUs, ConnectionError where not all meet.
    """
    found = dist.is_available() and dist.is_initialized()
    at = place()
    if not found and at.world == 1:
        yield detect_runtime()
        return
    global _control
    if not found:
        _join(at)
    _control = dist.new_group(backend="gloo", timeout=WAITING)
    runtime = replace(detect_runtime(), rank=dist.get_rank(), world=dist.get_world_size())
    try:
        yield runtime
        gathered(runtime, None)
    except BaseException:
        first_to_fail()  # before the others see that this one has gone, and wonder
        raise
    if not found:
        dist.destroy_process_group()


def _join(at: Place) -> None:
    global _store
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    if torch.cuda.is_available():
        if at.local_rank >= torch.cuda.device_count():
            raise UsageError(
                f"this machine has {torch.cuda.device_count()} GPUs for {at.local_world} "
                f"processes; start as many with torchrun --nproc-per-node"
            )
        torch.cuda.set_device(at.local_rank)
    try:
        _store = _met(MEETING)
        dist.init_process_group(
            "nccl" if nccl else "gloo",
            store=_store,
            rank=at.rank,
            world_size=at.world,
            timeout=WAITING,
        )
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise ConnectionError(
            errno.ECONNREFUSED,
            f"{at.world} processes were to meet at {where}, and not all came: check torchrun's "
            f"--nnodes and --nproc-per-node and that the machines reach each other "
            f"({str(error).splitlines()[0]})",
        ) from error


def _met(timeout: timedelta) -> Any:
    at, store = place(), next(iter(rendezvous("env://", timeout=timeout)))[0]
    # torchrun's store outlives the processes: those that it starts again must not find what the
    # ones before them wrote, such as addresses where nobody listens any more.
    return dist.distributed_c10d.PrefixStore(f"graft/{at.restarts}/{at.world}", store)


def first_to_fail() -> bool:
    """Whether no other of the processes failed before this one: it says why, for all of them."""
    global _store, _first
    if _first is None:
        first = True
        try:
            if _store is None and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
                _store = _met(timedelta(seconds=10))
            if _store is not None:
                first = _store.add(FAILED, 1) == 1
        except RuntimeError:  # nobody is left to ask
            pass
        except KeyboardInterrupt:  # torchrun ends this one because another has failed
            first = False
        _first = first
    return _first


@contextmanager
def _connected() -> Iterator[None]:
    """Tell what gloo and NCCL make of a process that has ended in one way."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(
            errno.ECONNRESET,
            "another of the processes that train together has ended; with torchrun "
            "--max-restarts they are started again, and the run resumes",
        ) from error


def gathered(runtime: Runtime, value: Any) -> list[Any]:
    """What each process gives, in the order of their ranks: anything that JSON can say."""
    if runtime.world == 1:
        return [value]
    return [json.loads(part.tobytes()) for part in _bytes_of_all(runtime, _encoded(value))]


def gathered_rows(runtime: Runtime, rows: NDArray[Any]) -> NDArray[Any]:
    """The rows (n, …) of all processes, in the order of their ranks; n may differ, and be 0."""
    if runtime.world == 1:
        return rows
    shapes = gathered(runtime, list(rows.shape))
    shape = next((each for each in shapes if each[0]), shapes[0])[1:]
    flat = np.frombuffer(np.ascontiguousarray(rows).tobytes(), np.uint8)
    parts = _bytes_of_all(runtime, flat)
    return np.concatenate([part.view(rows.dtype).reshape(-1, *shape) for part in parts])


def rank_0(runtime: Runtime, work: Callable[[], T]) -> T:
    """What `work` gives on rank 0, where alone it is done; as JSON hands it on to the others."""
    if runtime.world == 1:
        return work()
    found: Any = None
    if runtime.rank == 0:
        found = work()
        _from_rank_0(_encoded(found))
        return found  # type: ignore[no-any-return]
    received: T = json.loads(_from_rank_0(None).tobytes())
    return received


def in_turn(runtime: Runtime, work: Callable[[], T]) -> T:
    """`work` in every process, on each machine in one first: what that one fetched or unpacked the
    others find in the cache.
    """
    if runtime.world == 1:
        return work()
    first = place().local_rank == 0
    found = [work()] if first else []
    gathered(runtime, None)
    return found[0] if first else work()


def agreed(runtime: Runtime, what: str, value: Callable[[], str]) -> None:
    """Raise UsageError unless all processes have the same."""
    if runtime.world == 1:
        return
    found = gathered(runtime, value())
    for rank, other in enumerate(found):
        if other != found[0]:
            raise UsageError(
                f"the processes have different {what}: {found[0]} on rank 0, {other} on rank "
                f"{rank}; give all machines the same"
            )


def add_up(runtime: Runtime, tensor: Tensor) -> None:
    """Put the sum over all processes in place of a float tensor; the same bits in each."""
    if runtime.world == 1:
        return
    # gloo adds what lies in memory, NCCL what lies on GPUs; Apple's GPUs have neither.
    wire = tensor if tensor.device.type == "cuda" else tensor.cpu()
    with _connected():
        dist.all_reduce(wire)
    if wire is not tensor:
        tensor.copy_(wire)


@torch.no_grad()
def spread(runtime: Runtime, tensors: Iterable[Tensor]) -> None:
    """Put the values of rank 0 in place of these tensors."""
    if runtime.world == 1:
        return
    for tensor in tensors:
        wire = tensor.detach().cpu().contiguous().clone()
        with _connected():
            dist.broadcast(wire, 0, group=_control)
        tensor.copy_(wire)


def spread_named(runtime: Runtime, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of rank 0, on the CPU, whatever the others have."""
    described: list[tuple[str, list[int], str]] = rank_0(
        runtime, lambda: [(n, list(v.shape), str(v.dtype)) for n, v in tensors.items()]
    )
    found = {}
    for name, shape, dtype in described:
        kind = getattr(torch, dtype.removeprefix("torch."))
        own = tensors[name] if runtime.rank == 0 else torch.empty(shape, dtype=kind)
        found[name] = own.detach().cpu().contiguous().clone()
    spread(runtime, found.values())
    return found


def _encoded(value: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _from_rank_0(data: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    size = torch.tensor([0 if data is None else len(data)])
    with _connected():
        dist.broadcast(size, 0, group=_control)
        sent = torch.empty(int(size), dtype=torch.uint8)
        if data is not None:
            sent.numpy()[:] = data
        dist.broadcast(sent, 0, group=_control)
    return sent.numpy()


def _bytes_of_all(runtime: Runtime, data: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(runtime.world)]
    with _connected():
        dist.all_gather(sizes, torch.tensor([len(data)]), group=_control)
        most = max(int(size) for size in sizes)
        own = torch.zeros(most, dtype=torch.uint8)
        own.numpy()[: len(data)] = data
        sent = [torch.empty(most, dtype=torch.uint8) for _ in sizes]
        dist.all_gather(sent, own, group=_control)
    return [part.numpy()[: int(size)] for part, size in zip(sent, sizes, strict=True)]
