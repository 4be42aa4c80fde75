"""Backbone: which network an encoder is, how it is fed, and where its weights are."""

import hashlib
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from graft.data.decode import Preprocess
from graft.errors import ModelError, UsageError
from graft.models.encoder import Encoder
from graft.models.openvino_body import ARCHITECTURE as OPENVINO
from graft.models.openvino_body import OpenVinoBody
from graft.models.scratch_cnns import SCRATCH
from graft.models.torchvision_body import PREFIX, without_classifier
from graft.runs.reading import shown
from graft.utils.files import replacing

# Pixels a side of the networks that are trained from scratch, unless told otherwise.
SCRATCH_SIZE = 64

_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Backbone:
    """An encoder's identity, and where its weights are.

    `digest` names the weights, architecture and preprocessing together: equal digests compute
    equal features. `weights` is a safetensors file of the body's state (None: to be trained from
    scratch); `held` is that state where it was read already. `features` is D, `parameters` the
    body's count. `mirrored` as in Encoder.
    """

    name: str
    architecture: str
    arguments: dict[str, Any]
    preprocess: Preprocess
    taps: bool
    features: int
    parameters: int
    digest: str
    source: str
    weights: Path | None = None
    mirrored: bool = False
    held: Mapping[str, torch.Tensor] | None = field(default=None, repr=False, compare=False)

    def build(self) -> Encoder:
        """The network itself, with its weights, in inference mode.

        That of a run (`held`) is tried on a black image first: ModelError where it takes no images
        of its size or gives other features than its head takes.
        """
        encoder = self.around(new_body(self.architecture, self.arguments))
        if self.weights is not None or self.held is not None:
            encoder.body.load_state_dict(self.state())
        encoder.eval()
        if self.held is not None:
            self._try(encoder)
        return encoder

    def _try(self, encoder: Encoder) -> None:
        file = f"{self.weights.parent if self.weights else self.name}: model.json"
        try:
            with torch.no_grad():
                black = torch.zeros(1, *encoder.input_shape, dtype=torch.uint8)
                given = encoder(black).shape[1]
        except Exception as error:  # networks fail in as many ways as there are networks
            raise ModelError(
                f"{file}: backbone.preprocess: {self.architecture} takes no images of "
                f"{self.preprocess.height} × {self.preprocess.width} pixels: {first_line(error)}"
            ) from error
        if given != self.features:
            raise ModelError(
                f"{file}: backbone.features is {self.features:,}, but {self.architecture} "
                f"gives {given:,} features"
            )

    def around(self, body: nn.Module) -> Encoder:
        """The encoder that has this body, whatever its weights."""
        embeds = "embedding" in self.arguments
        return Encoder(body, self.preprocess, self.taps, self.mirrored, embeds)

    def state(self) -> dict[str, torch.Tensor]:
        """The body's weights: all of a card, or what begins with `encoder.` beside a head."""
        if self.held is not None:
            return dict(self.held)
        if self.weights is None:
            raise ModelError(f"{self.name} has no weights yet: it is trained from scratch")
        stored = load_file(self.weights)
        # A card holds the body alone, and a body may have a head of its own.
        own = {
            key.removeprefix("encoder."): value
            for key, value in stored.items()
            if key.startswith("encoder.")
        }
        return own or stored

    def to_json(self) -> dict[str, Any]:
        """As stored in cards and in model.json."""
        stored = {k: v for k, v in vars(self).items() if k not in ("weights", "held", "preprocess")}
        return stored | {"preprocess": self.preprocess.to_json()}

    @classmethod
    def from_json(
        cls,
        stored: dict[str, Any],
        weights: Path | None,
        held: Mapping[str, torch.Tensor] | None = None,
    ) -> "Backbone":
        """The inverse of to_json."""
        preprocess = Preprocess.from_json(stored["preprocess"])
        return cls(**stored | {"preprocess": preprocess, "weights": weights, "held": held})


def new_body(architecture: str, arguments: dict[str, Any]) -> nn.Module:
    """An untrained network without classifier; ModelError if timm knows none of that name.

    Of the arguments `embedding` is graft's: the width of a linear layer in the classifier's place,
    as that of CLIP's image towers, or 0 for none.
    """
    if architecture in SCRATCH:
        return SCRATCH[architecture]()
    if architecture == OPENVINO:
        return OpenVinoBody()
    if architecture.startswith(PREFIX):
        return without_classifier(architecture)
    import timm

    if architecture not in timm.list_models():
        raise ModelError(
            f"no model {architecture!r}: expected base_cnn, deep_cnn, a timm name (graft models), "
            "local-dir:FOLDER, torchvision:NAME, file:FILE or a run folder"
            f"{did_you_mean(architecture)}"
        )
    own = {name: value for name, value in arguments.items() if name != "embedding"}
    width = arguments.get("embedding", 0)
    body: nn.Module = timm.create_model(architecture, num_classes=width, **own)
    return body


def first_line(error: Exception) -> str:
    """The first line of what an error says, for a message of one line."""
    said = str(error).strip()
    return shown(said.splitlines()[0] if said else type(error).__name__, 160)


def did_you_mean(name: str) -> str:
    """The end of an error message: the name of timm's that is most like this one."""
    import difflib

    import timm

    near = difflib.get_close_matches(name, timm.list_models(), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def scratch(name: str = "base_cnn", image_size: int | None = None, flip: bool = True) -> Backbone:
    """A network with fresh weights, at `image_size` pixels (default 64) a side, for images that
    may be mirrored or not (`flip`).
    """
    size = image_size or SCRATCH_SIZE
    body = SCRATCH[name]()
    return Backbone(
        name=name,
        architecture=name,
        arguments={},
        preprocess=Preprocess(size, size, _HALF, _HALF),
        taps=False,
        features=body.num_features,
        parameters=sum(p.numel() for p in body.parameters()),
        digest="",
        source="trained from scratch",
        mirrored=flip and body.MIRRORED,
    )


def resized(backbone: Backbone, image_size: int | None, resize: str | None = None) -> Backbone:
    """The backbone, fed images of another size, or resized in another way (Preprocess): squash
    shows it whole images, crop their middle.

    A network that is built for one size, as most vision transformers, is built anew for the
    other. Raises UsageError for one that cannot be.
    """
    if resize not in (None, backbone.preprocess.resize):
        crop = 1.0 if resize == "squash" else backbone.preprocess.crop
        preprocess = changed(backbone.preprocess, resize=resize, crop=crop)
        digest = hashlib.sha256(f"{backbone.digest} {resize}".encode()).hexdigest()
        backbone = changed(backbone, preprocess=preprocess, digest=digest)
    if image_size is None or image_size == backbone.preprocess.height:
        return backbone
    preprocess = changed(backbone.preprocess, height=image_size, width=image_size)
    digest = hashlib.sha256(f"{backbone.digest} at {image_size}".encode()).hexdigest()
    rebuilt = _rebuilt_for(backbone, image_size)
    other = rebuilt or changed(backbone, preprocess=preprocess, digest=digest)
    if error := _refused(other):
        raise UsageError(
            f"{backbone.name} takes images of {backbone.preprocess.height} pixels a side, not "
            f"{image_size}; leave --image-size out"
        ) from error
    return other


def _rebuilt_for(backbone: Backbone, side: int) -> Backbone | None:
    """The backbone built anew for images of `side` pixels a side, its position embeddings (or the
    biases of its windows) resampled as timm does when it loads such weights. They lie in a card
    beside the backbone's own.

    None where timm cannot build the network for that size, or has no way to fit its weights.
    """
    if backbone.weights is None:
        return None
    arguments = backbone.arguments | {"img_size": side}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of timm's own resampling
            body = new_body(backbone.architecture, arguments)
            fitted = getattr(sys.modules[type(body).__module__], "checkpoint_filter_fn", None)
            state = backbone.state()
            body.load_state_dict(fitted(state, body) if fitted else state)
    # Networks refuse a size in as many ways as there are networks.
    except Exception:
        return None
    preprocess = changed(backbone.preprocess, height=side, width=side)
    digest = hashlib.sha256(f"{backbone.digest} rebuilt for {side}".encode()).hexdigest()
    card = backbone.weights.with_name(f"{digest[:32]}.safetensors")
    if not card.is_file():
        apart: dict[str, torch.Tensor] = {
            key: value.clone(memory_format=torch.contiguous_format)
            for key, value in body.state_dict().items()
        }
        with replacing(card) as beside:
            save_file(apart, beside)
    return changed(
        backbone, arguments=arguments, preprocess=preprocess, digest=digest, weights=card, held=None
    )


def _refused(backbone: Backbone) -> Exception | None:
    """Why a network takes no images of its size; None where it does."""
    try:
        with torch.inference_mode():
            encoder = backbone.build()
            encoder(torch.zeros(1, *encoder.input_shape, dtype=torch.uint8))
    except (RuntimeError, AssertionError, ValueError) as error:
        return error
    return None
