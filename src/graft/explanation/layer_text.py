"""A summary as text: a table that a terminal can hold, one layer in full, or a list of layers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from graft.explanation.network_layer import Layer

MOST_ROWS = 40  # more layers than this are shown block by block
COLUMNS = (
    *("layer", "kind", "kernel", "stride", "padding", "output", "sees"),
    *("parameters", "trainable", "multiply-adds"),
)
RIGHT = COLUMNS[6:]
OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD"}


@dataclass(frozen=True)
class Row:
    """One line of a table: a layer, a block, or blocks alike that follow one another."""

    name: str
    kind: str
    layers: Sequence[Layer]
    whole: Layer | None = None

    @property
    def last(self) -> Layer:
        """The block, or the layer, whose output the row gives."""
        if self.whole:
            return self.whole
        ran = [layer for layer in self.layers if layer.output_shape]
        return (ran or list(self.layers))[-1]

    @property
    def parameters(self) -> int:
        """Of all its layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        """Of all its layers."""
        return sum(layer.trainable for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of all its layers."""
        return sum(layer.multiply_adds for layer in self.layers)


def rows_of(layers: Sequence[Layer], outputs: Mapping[str, Layer]) -> list[Row]:
    """The layers themselves if they are few, else their blocks; blocks alike are one row.
    `outputs` are those of blocks, by name.
    """
    if len(layers) <= MOST_ROWS:
        return [Row(layer.name, layer.kind, [layer]) for layer in layers]
    blocks = []
    for name, own in groupby(layers, key=lambda layer: layer.block):
        found = list(own)
        whole = outputs.get(name) if len(found) > 1 else None
        blocks.append(Row(name, found[0].block_kind, found, whole))

    def alike(row: Row) -> tuple[object, ...]:
        single = len(row.layers) == 1
        return (row.name if single else "", row.kind, row.last.output_shape, row.parameters)

    folded = _folded(blocks, alike)
    if len(folded) <= MOST_ROWS:
        return folded
    return _folded(
        blocks, lambda row: (row.name.rpartition(".")[0] or row.name, row.kind, len(row.layers) > 1)
    )


def _folded(blocks: Iterable[Row], alike: Callable[[Row], tuple[object, ...]]) -> list[Row]:
    rows = []
    for _, together in groupby(blocks, key=alike):
        same = list(together)
        if len(same) == 1:
            rows += same
            continue
        layers = [layer for row in same for layer in row.layers]
        name = f"{same[0].name} … {same[-1].name.rpartition('.')[2]}"
        rows.append(Row(name, f"{len(same)} × {same[0].kind}", layers, same[-1].whole))
    return rows


def table(rows: Sequence[Row], width: int | None = None) -> list[str]:
    """Rows as lines; columns in which nothing stands are left out, and those that a `width` has no
    room for: the window first, which --layer shows, too.
    """
    cells = [dict(zip(COLUMNS, line, strict=True)) for line in [COLUMNS, *map(_cells, rows)]]
    keep = [name for name in COLUMNS if any(line[name] for line in cells[1:])]
    if all(row.trainable == row.parameters for row in rows):
        keep = [name for name in keep if name != "trainable"]
    widths = {name: max(len(line[name]) for line in cells) for name in keep}
    for name in ("padding", "stride", "kernel", "kind"):
        if width and name in keep and sum(widths[k] + 2 for k in keep) - 2 > width:
            keep.remove(name)
    return [
        "  ".join(
            line[name].rjust(widths[name]) if name in RIGHT else line[name].ljust(widths[name])
            for name in keep
        ).rstrip()
        for line in cells
    ]


def _cells(row: Row) -> list[str]:
    last, one = row.last, row.layers[0] if len(row.layers) == 1 else None
    window = one if one and one.kernel else None
    return [
        row.name,
        row.kind,
        _by(window.kernel) if window and window.kernel else "",
        same(window.stride) if window and window.stride else "",
        same(window.padding) if window and window.padding else "",
        _by(last.output_shape),
        sees(last),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.trainable:,}" if row.parameters else "",
        short(row.multiply_adds) if row.multiply_adds else "",
    ]


def listing(layers: Sequence[Layer], width: int | None = None) -> str:
    """Layers one by one, with their windows."""
    return "\n".join(table([Row(layer.name, layer.kind, [layer]) for layer in layers], width))


def layer_text(layer: Layer) -> str:
    """One layer with its arithmetic in full."""
    lines = [f"{layer.name} · {layer.kind}"]
    if layer.output_shape:
        lines.append(f"input {_by(layer.input_shape)}, output {_by(layer.output_shape)}")
    lines += layer.arithmetic
    if layer.trainable not in (0, layer.parameters):
        lines.append(f"{layer.trainable:,} of the {layer.parameters:,} parameters are trained")
    elif layer.parameters and not layer.trainable:
        lines.append("frozen: training does not change these parameters")
    return "\n".join(lines)


def sees(layer: Layer) -> str:
    """A receptive field in words: `27 px`, `image`, or nothing."""
    if not layer.output_shape or layer.receptive_field == 0:
        return ""
    return f"{layer.receptive_field:,} px" if layer.receptive_field else "image"


def same(pair: Sequence[int]) -> str:
    """`2` for (2, 2), `1×0` for (1, 0), `0, 1` for TensorFlow's (0, 1, 0, 1)."""
    if len(set(pair)) == 1:
        return str(pair[0])
    if len(pair) == 4 and pair[:2] == pair[2:]:
        return f"{pair[0]}, {pair[1]}"
    return "×".join(map(str, pair))


def short(number: int) -> str:
    """`864`, `10.8 M`, `1.25 G`."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return str(number)


def size(count: int) -> str:
    """Bytes as `13.7 MB`."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bytes"


def _by(shape: Iterable[int]) -> str:
    return "×".join(str(each) for each in shape)
