"""Recorder: what PyTorch computes from a tensor on, step by step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from graft.explanation.walkthrough_steps import Floats, Step, step_of

# What these give is the value that they take: they change no number.
SAME = {"detach", "alias", "clone", "dropout", "_to_copy"}


@contextmanager
def named(body: nn.Module, inside: list[str]) -> Iterator[None]:
    """While it lasts, `inside` names the modules that are being run, the outermost first."""
    hooks = []
    for name, module in body.named_modules():
        enter = lambda *_, name=name: inside.append(name)  # noqa: E731
        leave = lambda *_: inside.pop() and None  # noqa: E731
        hooks.append(module.register_forward_pre_hook(enter))
        hooks.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps what PyTorch computes from one tensor on, function by function, whichever module or
    plain function of a forward method called for it.
    """

    def __init__(self, x: Tensor):
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[Step] = []
        self.values: dict[int, Floats] = {0: x[0].numpy().copy()}
        self.inside: list[str] = []
        self.stopped = ""
        self.convolutions = 0
        self.last = 0
        # Tensors are known by their identity, which holds as long as they are kept.
        self.kept: list[Any] = [x]
        self.numbers: dict[int, int] = {id(x): 0}
        self.padded: dict[int, tuple[int, list[int]]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the function, and keep it if it is a step."""
        name = func.overloadpacket.__name__.rstrip("_")
        flat = [each for a in args for each in (a if isinstance(a, list | tuple) else [a])]
        read = any(id(each) in self.numbers or id(each) in self.padded for each in flat)
        output = func(*args, **(kwargs or {}))
        self.convolutions += name == "convolution"
        if not self.stopped and read:
            made = output[0] if isinstance(output, tuple | list) else output
            self.kept.append(made)
            if not self._keep(name, args, kwargs or {}, made):
                self.stopped = name
        return output

    def _number(self, tensor: Tensor) -> int | None:
        return self.numbers.get(id(tensor))

    def _keep(self, name: str, args: Any, kwargs: Any, made: Tensor) -> bool:
        """Keep a step; False for a function that is none."""
        if name in SAME and id(args[0]) in self.numbers:
            self.numbers[id(made)] = self.numbers[id(args[0])]
            return True
        if name == "constant_pad_nd":
            left, right, top, bottom = [*args[1], 0, 0, 0, 0][:4]
            source = self._number(args[0])
            if source is not None:
                self.padded[id(made)] = (source, [top, left, bottom, right])
            return source is not None
        source, pads = self.padded.get(id(args[0]), (self._number(args[0]), [0, 0, 0, 0]))
        other = self._number(args[1]) if len(args) > 1 and isinstance(args[1], Tensor) else None
        read = step_of(name, args, kwargs, pads, other is not None)
        if read is None or source is None:
            return False
        kind, tensors, settings = read
        # A step goes on from the one before, or begins at a convolution.
        inputs = (source, other) if kind == "add" and other is not None else (source,)
        if kind != "conv" and self.last not in inputs:
            return False
        self.last = len(self.steps) + 1
        module = self.inside[-1] if self.inside else ""
        self.steps.append(Step(kind, module, inputs, self.last, tensors, settings))
        self.numbers[id(made)] = self.last
        self.values[self.last] = made[0].float().numpy().copy()
        return True
