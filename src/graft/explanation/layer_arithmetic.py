"""The arithmetic of a layer in full, as lines that a reader can follow with a pencil."""

import math
from collections.abc import Iterable

from torch import nn

from graft.explanation.layer_calls import ATTENTION, CONVOLUTIONS, PRODUCTS, Call, Operation

AXES = ("height", "width")


def times(numbers: Iterable[int]) -> str:
    """`3 × 3 × 64`."""
    return " × ".join(f"{number:,}" for number in numbers)


def arithmetic(call: Call, own: dict[str, nn.Parameter]) -> list[str]:
    """The lines for one layer: parameters, output size, multiply-adds, receptive field.

    `own` are its parameters by name; the parameters' line ends with their number.
    """
    lines = [_parameters(call, own)]
    if isinstance(call.module, nn.modules.batchnorm._BatchNorm):
        count = call.module.num_features
        lines.append(
            f"{count:,} running means + {count:,} running variances are no parameters: they are "
            "measured on the training images, not learned"
        )
    elif call.kind == "Standardize" and call.output_shape:
        count = call.output_shape[-1]
        lines.append(
            f"{count:,} means + {count:,} standard deviations are no parameters: they are "
            "measured on the training images, not learned"
        )
    elif call.kind == "Normalize":
        lines.append("each channel minus its mean, divided by its standard deviation: both given")
    for operation in call.operations:
        lines += _of(operation, call)
    if call.kind == "Attention" and len(call.operations) == 2:
        named = zip(("queries · keys", "attention · values"), lines[-2:], strict=True)
        lines[-2:] = [line.replace("matrix product", name) for name, line in named]
        if len(call.input_shape) == 4:
            lines[-2] = lines[-2].replace("values", "values (windows × heads × queries × keys)")
    products = [o.multiply_adds for o in call.operations if o.multiply_adds]
    if len(products) > 1:
        lines.append(f"{' + '.join(f'{n:,}' for n in products)} = {sum(products):,} multiply-adds")
    if call.kind == "Pooling":
        lines += _pooled(call)
    lines += _field(call)
    return list(dict.fromkeys(lines))


def of_parameters(own: dict[str, nn.Parameter], ran: bool) -> list[str]:
    """The lines for parameters that no layer stands for, such as a position embedding."""
    lines = []
    for parameter in own.values():
        shape = tuple(parameter.shape)
        product = f"{times(shape)} = " if len(shape) > 1 else ""
        lines.append(f"{product}{parameter.numel():,} parameters")
    if len(lines) > 1:
        lines.append(f"together {sum(p.numel() for p in own.values()):,} parameters")
    lines.append(
        "the block around them uses them directly"
        if ran
        else "not run: the features do not depend on this layer"
    )
    return lines


def _parameters(call: Call, own: dict[str, nn.Parameter]) -> str:
    if not own:
        return "no parameters: there is nothing to learn here"
    weight, bias = own.get("weight"), own.get("bias")
    others = {name: p for name, p in own.items() if name not in ("weight", "bias")}
    total = sum(p.numel() for p in own.values())
    if weight is None or others:
        parts = [f"{name} {times(p.shape)} = {p.numel():,}" for name, p in own.items()]
        return f"{'; '.join(parts)}; together {total:,} parameters"
    if weight.ndim == 1:
        shifts = (
            f" + {bias.numel():,} biases (a shift each) = {total:,}" if bias is not None else ""
        )
        return f"{weight.numel():,} weights (a scale for each channel){shifts} parameters"
    outputs, *inner = weight.shape
    factors = (*inner[1:], inner[0], outputs)
    product = f"{times(factors)} = {weight.numel():,} weights"
    if bias is None:
        return f"{product}, no biases = {total:,} parameters"
    return f"{product} + {bias.numel():,} biases = {total:,} parameters"


def _of(operation: Operation, call: Call) -> list[str]:
    if operation.name in CONVOLUTIONS and operation.kernel:
        return _convolution(operation)
    if operation.kernel:
        kind = "maximum" if operation.name.startswith("max") else "mean"
        return [
            f"each output is the {kind} of {times(operation.kernel)} values of one channel",
            *_sizes(operation),
        ]
    if operation.name == "linear":
        return _linear(operation)
    if operation.name == ATTENTION:
        return _attention(operation)
    if operation.name in PRODUCTS:
        return [
            f"matrix product: {times(operation.output_shape)} values, each a sum of "
            f"{operation.inner:,} products = {operation.multiply_adds:,} multiply-adds"
        ]
    if operation.multiply_adds:
        return [
            f"{times(operation.output_shape)} values with {operation.multiply_adds:,} multiply-adds"
        ]
    if call.kind != "Pooling":
        return [
            f"{times(operation.input_shape[1:])} becomes {times(operation.output_shape[1:])}: one "
            f"{'maximum' if 'max' in operation.name else 'mean'} for each channel, over all "
            "positions"
        ]
    return []


def _convolution(operation: Operation) -> list[str]:
    rows, columns = operation.kernel or (1, 1)
    inputs, outputs, groups = operation.input_shape[1], operation.output_shape[1], operation.groups
    channels = f"{inputs:,} input channels"
    if groups > 1:
        channels = (
            f"1 of the {inputs:,} input channels (depthwise: {groups:,} groups of one channel each)"
            if groups == inputs
            else f"{inputs // groups:,} of the {inputs:,} input channels ({groups:,} groups: "
            f"{inputs:,} / {groups:,} = {inputs // groups:,})"
        )
    products = rows * columns * inputs // groups
    positions = operation.output_shape[2:]
    lines = [
        f"{outputs:,} filters of {rows} × {columns}, each over {channels}",
        *_sizes(operation),
        f"{times(positions)} positions × {outputs:,} filters × ({rows} × {columns} × "
        f"{inputs // groups:,} = {products:,} products) = {operation.multiply_adds:,} "
        "multiply-adds",
    ]
    if operation.kernel == operation.stride and rows > 1:
        lines.insert(
            1,
            f"the stride is the kernel: it cuts its input into {times(positions)} = "
            f"{math.prod(positions):,} patches that do not overlap",
        )
    return lines


def _linear(operation: Operation) -> list[str]:
    outputs = operation.output_shape[-1]
    positions = math.prod(operation.output_shape[:-1])
    where = f"{positions:,} positions × " if positions > 1 else ""
    shared = ["the same weights at every position"] if positions > 1 else []
    return [
        *shared,
        f"{where}{outputs:,} outputs × {operation.inner:,} products = "
        f"{operation.multiply_adds:,} multiply-adds",
    ]


def _attention(operation: Operation) -> list[str]:
    *outer, tokens, width = operation.input_shape
    heads = outer[-1] if outer else 1
    windows = math.prod(outer[:-1])
    before = f"{windows:,} windows × " if windows > 1 else ""
    scores = operation.multiply_adds // 2
    keys = scores // (windows * heads * tokens * width)
    one = f"{before}{heads} heads × {tokens:,} × {keys:,} tokens × {width} products"
    return [
        f"{heads} heads, {tokens:,} queries, {keys:,} keys: each token looks at every other",
        f"queries · keys: {one} = {scores:,} multiply-adds",
        f"attention · values: {one} = {scores:,} multiply-adds",
        f"together {operation.multiply_adds:,} multiply-adds; the number grows with the square of "
        "the tokens",
    ]


def _pooled(call: Call) -> list[str]:
    widths = [o.output_shape[1] for o in call.operations if o.name in ("amax", "mean")]
    names = [o.name for o in call.operations]
    if "amax" in names and "mean" in names:
        each = [o.output_shape[1] for o in call.operations if o.name == "amax"]
        return [
            f"mean, root mean square and maximum over the positions of {len(each)} stages: "
            f"3 × ({' + '.join(f'{w:,}' for w in each)}) = {3 * sum(each):,} features"
        ]
    kind = "maximum" if names[-1:] == ["amax"] else "mean"
    return [f"one {kind} over all positions for each of {w:,} channels" for w in widths[:1]]


def _sizes(operation: Operation) -> list[str]:
    """The output's height and width from input, kernel, stride, padding and dilation."""
    given = list(_axes(operation))
    if len(set(given)) == 1 or given[0] == given[1]:
        return _size("height and width", *given[0])
    return [line for name, axis in zip(AXES, given, strict=True) for line in _size(name, *axis)]


Axis = tuple[int, int, int, int, int, int, int]


def _axes(operation: Operation) -> Iterable[Axis]:
    """For rows, then columns: input, output, kernel, stride, padding before and after, dilation."""
    amounts = operation.amounts + (0,) * (4 - len(operation.amounts))
    extra = ((amounts[2], amounts[3]), (amounts[0], amounts[1]))
    for i in range(2):
        before, after = extra[i]
        yield (
            operation.input_shape[2 + i] - before - after,
            operation.output_shape[2 + i],
            (operation.kernel or (1, 1))[i],
            operation.stride[i],
            before + operation.padding[i],
            after + operation.padding[i],
            operation.dilation[i],
        )


def _size(
    name: str, size: int, out: int, kernel: int, stride: int, before: int, after: int, dilation: int
) -> list[str]:
    reach = dilation * (kernel - 1) + 1
    lines = []
    if dilation > 1:
        lines.append(
            f"dilation {dilation}: the kernel reaches {dilation} · ({kernel} − 1) + 1 = {reach}"
        )
    padding = f"2·{before}" if before == after else f"{before} + {after}"
    # ceil_mode rounds up where another window begins within the image.
    down = (size + before + after - reach) // stride + 1
    rounding = "floor" if down == out else "ceil"
    lines.append(
        f"{name}: {rounding}(({size} + {padding} − {reach}) / {stride}) + 1 = {out}"
        + (" (input + padding − kernel, in steps of the stride)" if name != "width" else "")
    )
    if kernel > 1:
        same, valid = math.ceil(size / stride), max((size - reach) // stride + 1, 0)
        total = max((same - 1) * stride + reach - size, 0)
        if total:
            first, last = total // 2, total - total // 2
            asked = f"{first} on each side" if first == last else f"{first} before, {last} after"
            lines.append(
                f"“same” padding ({asked}) gives ceil({size} / {stride}) = {same}"
                f"{', as here' if (before, after) == (first, last) else ''}; “valid” (none) gives "
                f"floor(({size} − {reach}) / {stride}) + 1 = {valid}"
                f"{', as here' if before == after == 0 else ''}"
            )
    return lines


def _field(call: Call) -> list[str]:
    seen = call.seen
    if seen is None:
        return []
    if seen.size is None or seen.jump is None:
        if seen.whole:
            return ["receptive field: the whole image"]
        return [f"receptive field: up to {seen.pixels} pixels a side; it differs between positions"]
    windows = [o for o in call.operations if o.kernel]
    if len(windows) != 1 or call.before is None:
        as_before = ", as that of its input" if call.before and call.before[0] == seen.size else ""
        return [f"receptive field: {times(seen.size)} pixels{as_before}"]
    (size, jump), window = call.before, windows[0]
    kernel = window.kernel or (1, 1)
    step = f"; neighbors' fields lie {jump[0]} · {window.stride[0]} = {seen.jump[0]} pixels apart"
    reach = [d * (k - 1) for k, d in zip(kernel, window.dilation, strict=True)]
    if len(set(zip(size, reach, jump, strict=True))) == 1:
        over = f"({kernel[0]} − 1)" if window.dilation[0] == 1 else str(reach[0])
        return [
            f"receptive field: {size[0]} + {over} · {jump[0]} = {seen.size[0]} pixels a side (its "
            f"input's, plus kernel − 1 times the distance between its input's){step}"
        ]
    parts = [f"{s} + {r} · {j} = {s + r * j}" for s, r, j in zip(size, reach, jump, strict=True)]
    return [f"receptive field: {parts[0]} rows, {parts[1]} columns of pixels{step}"]
