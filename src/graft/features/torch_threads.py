"""How many threads PyTorch takes beside OpenVINO."""

import contextlib
from collections.abc import Iterator

import torch

from graft.features.backends import choose


@contextlib.contextmanager
def cores_for_encoder(wanted: str = "auto") -> Iterator[None]:
    """Meanwhile PyTorch computes on one thread, if OpenVINO runs the encoder: for a process that
    does nothing but predict.

    PyTorch's second thread has only a head's small products to do, and each of them waits until
    that thread gets a core from OpenVINO: predicting a folder takes a twelfth less time without.
    """
    before = torch.get_num_threads()
    if choose(wanted).startswith("openvino"):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
