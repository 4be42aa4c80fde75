"""One run of a network, layer by layer: what was called, on what shapes, at what cost."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from graft.explanation.function_rules import seen
from graft.explanation.receptive_field import Field, Following, field_of
from graft.explanation.window_arguments import Pair, conv_window, pool_window
from graft.models.classifier import Classifier
from graft.models.encoder import Encoder
from graft.models.head import Head

POOLS = {"max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"}
PRODUCTS = {"matmul", "__matmul__", "bmm", "mm", "addmm", "baddbmm", "einsum"}
CONVOLUTIONS = {"conv1d", "conv2d", "conv3d"}
TRANSPOSED = {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
MULTI_HEAD = "multi_head_attention_forward"  # nn.MultiheadAttention, projections included
ATTENTION = "scaled_dot_product_attention"
OVER_POSITIONS = {"mean", "amax", "sum"}
# What a function is called that stands in the table by itself.
WORDS = {
    "mean": "Mean",
    "amax": "Maximum",
    "sum": "Sum",
    "attention": "Attention",
    "matmul": "Product",
    "max_pool2d": "MaxPool2d",
    "avg_pool2d": "AvgPool2d",
    "adaptive_avg_pool2d": "AdaptiveAvgPool2d",
    "adaptive_max_pool2d": "AdaptiveMaxPool2d",
    "conv2d": "Conv2d",
    "linear": "Linear",
}
# Modules that pass their input through when a network predicts.
PASSING = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten)


@dataclass
class Operation:
    """A function that multiplies, pools or pads: its name, shapes, window and multiply-adds."""

    name: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    multiply_adds: int = 0
    kernel: Pair | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    inner: int = 0  # length of the sums of a matrix product; (left, right, top, bottom) of a pad
    amounts: tuple[int, ...] = ()


@dataclass
class Call:
    """One layer as it ran. `module` is None for a function that a module called itself.

    `before` is the size and jump of its input's receptive field, where that is regular; `channels`
    the axis of the output that is no position.
    """

    name: str
    module: nn.Module | None
    kind: str
    operations: list[Operation] = field(default_factory=list)
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    before: tuple[Pair, Pair] | None = None
    seen: Field | None = None
    channels: int = 1


class Recorder(Following):
    """Runs a network and keeps its `calls`, in order. `image` is (rows, columns) of the input."""

    def __init__(self, image: Pair, rename: Callable[[str], str] = str):
        super().__init__()
        self.image, self.rename = image, rename
        self.calls: list[Call] = []
        self.blocks: list[Call] = []
        self.stack: list[tuple[str, nn.Module, Call | None]] = []
        self.amounts: tuple[int, ...] = ()
        self.channels_last = False
        self.features: Call | None = None
        self.used: set[int] = set()

    @contextmanager
    def watching(self, network: nn.Module) -> Iterator[None]:
        """Hooks on every module while the block runs, and the mode itself."""
        hooks: list[Any] = []

        def watch(module: nn.Module, name: str) -> None:
            hooks.append(module.register_forward_pre_hook(lambda m, x: self._enter(name, m, x)))
            hooks.append(module.register_forward_hook(lambda m, x, y: self._leave(y)))

        for name, module in network.named_modules():
            watch(module, self.rename(name))
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def called(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """Keep what multiplies, pools or pads, and which parameters were used."""
        self.used.update(id(x) for x in (*args, *kwargs.values()) if isinstance(x, nn.Parameter))
        if name == "pad":
            self.amounts = tuple(kwargs["pad"] if "pad" in kwargs else args[1])
            return
        operation = operation_of(name, args, kwargs, result)
        if operation is None:
            return
        if operation.kernel:
            operation.amounts, self.amounts = self.amounts, ()
        if self.stack and (call := self.stack[-1][2]):
            call.operations.append(operation)
        else:
            self._by_itself(operation, result if isinstance(result, Tensor) else result[0])

    def _enter(self, name: str, module: nn.Module, args: Any) -> None:
        call, x = None, args[0] if args and isinstance(args[0], Tensor) else None
        if x is not None and isinstance(module, Encoder):
            self._step("normalize", None, "Normalize", x)
            call = self.features = Call("features", None, "Pooling", [], tuple(x.shape))
        elif x is not None and isinstance(module, Head):
            self._step("head.standardize", module, "Standardize", x)
        elif is_layer(module):
            kind = type(module).__name__
            call = Call(name or kind, module, kind)
            if x is not None:
                call.input_shape, call.before = tuple(x.shape), _before(x)
            self.calls.append(call)
        self.stack.append((name, module, call))

    def _step(self, name: str, module: nn.Module | None, kind: str, x: Tensor) -> None:
        call = Call(name, module, kind, [], tuple(x.shape), before=_before(x))
        self.calls.append(call)
        self._finish(call, x)

    def _leave(self, output: Any) -> None:
        name, module, call = self.stack.pop()
        if isinstance(output, tuple) and output:
            output = output[0]
        if not isinstance(output, Tensor):
            return
        if call is not None:
            if call is self.features:
                self.calls.append(call)
            self._finish(call, output)
        elif isinstance(module, Classifier):
            self._step("softmax", None, "Softmax", output)
        elif name:
            block = Call(name, None, type(module).__name__)
            self._finish(block, output)
            self.blocks.append(block)

    def _finish(self, call: Call, output: Tensor) -> None:
        call.output_shape = tuple(output.shape)
        call.channels = self._channels(call, output)
        call.seen = field_of(output, call.channels, self.image)

    def _by_itself(self, operation: Operation, result: Tensor) -> None:
        """A function that no layer stands for becomes one; attention's two products share one."""
        path, kind = self.stack[-1][0] if self.stack else "", operation.name.strip("_")
        attends = kind == ATTENTION or "attn" in path.lower() or "attention" in path.lower()
        kind = "attention" if attends and operation.name in {*PRODUCTS, ATTENTION} else kind
        name = f"{path}.{kind}" if path else kind
        named = [c for c in self.calls if c.module is None and re.sub(r"_\d+$", "", c.name) == name]
        if named and kind == "attention" and operation.name != ATTENTION:
            named[-1].operations.append(operation)
            self._finish(named[-1], result)
            return
        numbered = f"{name}_{len(named) + 1}" if named else name
        call = Call(numbered, None, WORDS.get(kind, kind), [operation])
        call.input_shape = operation.input_shape
        self.calls.append(call)
        self._finish(call, result)

    def _channels(self, call: Call, output: Tensor) -> int:
        if output.ndim != 4:
            return 1 if output.ndim == 2 else output.ndim - 1
        windows = {operation.name for operation in call.operations}
        if windows & (CONVOLUTIONS | POOLS) or isinstance(call.module, nn.BatchNorm2d):
            self.channels_last = False
        elif isinstance(call.module, nn.Linear) or type(call.module) is nn.LayerNorm:
            self.channels_last = True
        return 3 if self.channels_last or call.kind == "Normalize" else 1


def is_leaf(module: nn.Module) -> bool:
    """Whether a module has no parts but such as pass their input on."""
    return not any(not isinstance(child, PASSING) for child in module.children())


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a line of the table: it has no parts, or is a normalization with an
    activation of its own (timm); and it computes something.
    """
    if isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict, *PASSING)):
        return False
    if isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm | nn.MultiheadAttention):
        return True
    return is_leaf(module) and not _only_passes(module)


def _only_passes(module: nn.Module) -> bool:
    return type(module).__name__ in ("DropPath", "Format", "PatchDropout", "Dropout")


def operation_of(
    name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any
) -> Operation | None:
    """What a call of a function of PyTorch costs; None for what neither multiplies nor pools."""
    if isinstance(result, tuple) and result and isinstance(result[0], Tensor):
        result = result[0]
    if not isinstance(result, Tensor) or not args:
        return None
    first = args[1] if name == "einsum" else args[0]
    if not isinstance(first, Tensor):
        return None
    found = Operation(name, tuple(first.shape), tuple(result.shape))
    if name in CONVOLUTIONS:
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        found.multiply_adds = result.numel() * weight[0].numel()
        if name == "conv2d":
            found.kernel, found.stride, found.padding, found.dilation, found.groups = conv_window(
                args, kwargs
            )
    elif name in TRANSPOSED:
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        found.multiply_adds = first.numel() * weight[0].numel()
    elif name == MULTI_HEAD:
        found.multiply_adds = _multi_head(*args[:3])
    elif name == "linear":
        found.inner = first.shape[-1]
        found.multiply_adds = result.numel() * found.inner
    elif name == ATTENTION:
        key, value = args[1], args[2]
        scores = first.numel() // first.shape[-1] * key.shape[-2]
        found.inner = first.shape[-1]
        found.multiply_adds = scores * (first.shape[-1] + value.shape[-1])
    elif name in PRODUCTS:
        found.inner, found.multiply_adds = _product(name, args, result)
    elif name in ("max_pool2d", "avg_pool2d"):
        found.kernel, found.stride, found.padding, found.dilation, _ = pool_window(
            name, args, kwargs
        )
    elif not (name in POOLS or (name in OVER_POSITIONS and _pools(first, args, kwargs))):
        return None
    return found


def _product(name: str, args: Sequence[Any], result: Tensor) -> tuple[int, int]:
    if name == "einsum":
        terms = args[0].replace(" ", "").split("->")[0].split(",")
        factors = args[1] if isinstance(args[1], tuple | list) else args[1:]
        sizes = {
            label: size
            for term, factor in zip(terms, factors, strict=True)
            for label, size in zip(term, factor.shape, strict=True)
        }
        every = math.prod(sizes.values())
        return every // max(result.numel(), 1), every
    inner = args[1].shape[-1] if name in ("addmm", "baddbmm") else args[0].shape[-1]
    return inner, result.numel() * inner


def _multi_head(query: Tensor, key: Tensor, value: Tensor) -> int:
    # (tokens, batch, width): four projections, then queries · keys and attention · values.
    (tokens, batch, width), others = query.shape, len(key)
    projections = 2 * tokens * width + others * (key.shape[-1] + value.shape[-1])
    return batch * width * (projections + 2 * tokens * others)


def _pools(x: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a mean or maximum is over positions: both axes of a map, or all tokens."""
    axes = kwargs.get("dim", args[1] if len(args) > 1 else None)
    wanted = [axes] if isinstance(axes, int) else list(axes or ())
    own = sorted(axis % x.ndim for axis in wanted)
    return (x.ndim == 4 and own in ([1, 2], [2, 3])) or (x.ndim == 3 and own == [1])


def _before(x: Tensor) -> tuple[Pair, Pair] | None:
    known = seen(x)
    return (known.size, known.jump) if known and known.regular else None
