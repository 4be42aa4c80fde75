"""Running a network once, watched; nothing about it is changed."""

import torch
from torch import nn

from graft.errors import UsageError
from graft.explanation.layer_calls import Recorder
from graft.explanation.network_memory import Kept, kept_for_training
from graft.explanation.summarized import Subject


def run_once(subject: Subject) -> tuple[Recorder, Kept]:
    """The network runs in inference mode, its gradients asked for where training asks for them."""
    network = subject.network
    modes = [(module, module.training) for module in network.modules()]
    asked = [(p, p.requires_grad) for p in network.parameters()]
    recorder = Recorder(subject.image_size, subject.rename)
    # Its shortcuts for inference would hide the layers of PyTorch's own transformers.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        network.eval()
        for parameter, _ in asked:
            parameter.requires_grad_(trains(subject, parameter))
        with (
            torch.enable_grad(),
            kept_for_training(network, subject.optimizer) as kept,
            recorder.watching(network),
        ):
            subject.run(recorder.start(subject.image, subject.channels_last))
    except (RuntimeError, AssertionError, ValueError) as error:
        size = " × ".join(map(str, subject.image_size))
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise UsageError(
            f"{subject.title}: does not take an image of {size} pixels ({reason}); give another "
            "image size, or none"
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in modes:
            module.training = mode
        for parameter, wanted in asked:
            parameter.requires_grad_(wanted)
    sizes = [_values(call.input_shape) + _values(call.output_shape) for call in recorder.calls]
    kept.largest = max(sizes, default=0)
    return recorder, kept


def _values(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel() if shape else 0


def trains(subject: Subject, parameter: nn.Parameter) -> bool:
    """Whether training changes a parameter."""
    if subject.trained is None:
        return parameter.requires_grad
    return any(parameter is each for each in subject.trained)
