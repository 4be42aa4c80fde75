"""What an OpenVINO graph that a stranger wrote may ask for, and what OpenVINO says of a bad one."""

from typing import Any

from graft.errors import ModelError
from graft.runs.reading import shown

# Of a graph that a stranger wrote, at most: operations, numbers in one of its tensors for one
# image, and numbers in a constant. VGG16 has 3.2 million at 224 pixels, and a layer of 103 million.
MOST_OPERATIONS = 50_000
LARGEST_TENSOR = 2**27
LARGEST_CONSTANT = 2**30


def check_bounds(model: Any) -> None:
    """Raise ModelError for a graph that is larger than any network, or that keeps a state."""
    operations = model.get_ops()
    if len(operations) > MOST_OPERATIONS:
        raise ModelError(
            f"the graph has {len(operations):,} operations, expected {MOST_OPERATIONS:,} at most"
        )
    if model.get_sinks():
        raise ModelError("the graph keeps a state from image to image, expected one without")
    for operation in operations:
        most = LARGEST_CONSTANT if operation.get_type_name() == "Constant" else LARGEST_TENSOR
        for output in operation.outputs():
            sizes = [d.get_length() if d.is_static else 1 for d in _dimensions(output)]
            numbers = 1
            for size in sizes:
                numbers *= size
            if numbers > most:
                raise ModelError(
                    f"the graph makes a tensor of {' × '.join(map(str, sizes))} numbers, "
                    f"expected {most:,} at most"
                )


def reason_of(error: Exception) -> str:
    """What OpenVINO found wrong, from its many lines of where in its own code: the last one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return shown((told or lines or [type(error).__name__])[-1], 200)


def _dimensions(output: Any) -> Any:
    shape = output.get_partial_shape()
    return () if shape.rank.is_dynamic else shape
