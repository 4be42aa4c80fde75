"""torchvision's classifiers as bodies: whole networks without their last linear layer."""

from typing import Any

from torch import Tensor, nn

from graft.errors import ModelError

# What model.json says before torchvision's name.
PREFIX = "torchvision_"
# Networks with a second classifier, which is used in training alone, and an input of their own.
_WITH_SECOND = ("googlenet", "inception_v3")


class TorchvisionBody(nn.Module):
    """Normalized pixels (N, 3, H, W) to features (N, D): what torchvision's network of that name
    gives its classifier. It is trained as a whole or not at all.

    Raises ModelError for a name that torchvision has no classifier of.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        import torchvision

        if name not in torchvision.models.list_models(module=torchvision.models):
            raise ModelError(
                f"no model {name!r} in torchvision: see torchvision.models.list_models(), such as "
                "resnet50"
            )
        more: dict[str, Any] = {}
        if name in _WITH_SECOND:
            more = {"transform_input": True, "aux_logits": False, "init_weights": False}
        self.net: Any = torchvision.models.get_model(name, weights=None, **more)
        self.pretrained_cfg: dict[str, Any] = {}
        linear = [n for n, module in self.net.named_modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise ModelError(f"torchvision:{name} ends with no linear layer; choose another model")
        self._classifier = linear[-1]
        self.num_features = int(self.net.get_submodule(self._classifier).in_features)
        self.num_classes = int(self.net.get_submodule(self._classifier).out_features)

    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        found: nn.Module = self.net.get_submodule(self._classifier)
        return found

    def reset_classifier(self, classes: int) -> None:
        """Take the classifier off."""
        self.net.set_submodule(self._classifier, nn.Identity())

    def forward_features(self, x: Tensor) -> Tensor:
        """The features of a batch, once the classifier is off."""
        found: Tensor = self.net(x)
        return found

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The features as they are."""
        return x


def without_classifier(architecture: str) -> TorchvisionBody:
    """The untrained network of a stored architecture."""
    body = TorchvisionBody(architecture.removeprefix(PREFIX))
    body.reset_classifier(0)
    return body
