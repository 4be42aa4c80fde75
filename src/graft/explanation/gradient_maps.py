"""Where the evidence lies, by gradients: one pass forward and one back through the network."""

import numpy as np
import torch
from torch import Tensor

from graft.data.decode import Pixels
from graft.explanation.network_input import Maps
from graft.explanation.overlay import resized
from graft.explanation.stage_outputs import as_grid, kept_outputs, no_stages
from graft.inference.predictor import Predictor
from graft.models.classifier import Classifier

ROWS = 56  # rows and columns of a map, or fewer where the network sees fewer pixels


def gradient_map(predictor: Predictor, pixels: Pixels, of: int, against: int | None = None) -> Maps:
    """Gradient × activation, summed over channels and averaged over the later half of the stages:
    (rows, columns) float32 ≥ 0 over the whole network input (H, W, 3), 1 at the most.

    At each place of a stage's output the gradient of the log-odds says what a little more of each
    channel would do, and the activation how much of it is there (HiResCAM: Draelos & Carin 2020,
    arXiv:2011.08891; the head reads every stage, so more than the last is asked, as in LayerCAM:
    Jiang et al. 2021). Each stage's map is scaled to a sum of 1 before the mean, so that none
    drowns the others; the earlier half says less (docs/explain.md).
    """
    rows, columns = min(ROWS, pixels.shape[0]), min(ROWS, pixels.shape[1])
    found = stage_evidence(predictor.classifier, pixels, of, against)
    maps = [np.maximum(each, 0) for each in found[len(found) // 2 :]]
    total = np.zeros((rows, columns), np.float32)
    for each in maps:
        large = resized(each, rows, columns)
        total += large / max(float(large.sum()), 1e-12)
    highest = float(total.max())
    return np.asarray(total / highest, np.float32) if highest > 0 else total


def stage_evidence(
    classifier: Classifier, pixels: Pixels, of: int, against: int | None = None
) -> list[Maps]:
    """Gradient × activation summed over channels for each stage, (h, w) float32 of any sign."""
    inputs = torch.from_numpy(np.array(pixels))[None].float().requires_grad_()
    with torch.enable_grad(), kept_outputs(classifier) as kept:
        logits = classifier.logits(inputs)[0]
        score = _score(logits, of, against)
        flat = [output for outputs in kept for output in outputs]
        if not flat:  # CoaT's and CrossViT's stages pass on lists of tensors
            raise no_stages(classifier.encoder)
        gradients = iter(torch.autograd.grad(score, flat))
    maps = []
    for outputs in kept:
        parts = [
            _summed(output, next(gradients), classifier, pixels.shape, mirrored=bool(i))
            for i, output in enumerate(outputs)
        ]
        if parts:
            maps.append(torch.stack(parts).sum(0).numpy())
    return maps


def _score(logits: Tensor, of: int, against: int | None) -> Tensor:
    if against is not None:
        return logits[of] - logits[against]
    others = torch.cat([logits[:of], logits[of + 1 :]])
    return logits[of] - torch.logsumexp(others, 0)


def _summed(
    output: Tensor, gradient: Tensor, classifier: Classifier, shape: tuple[int, ...], mirrored: bool
) -> Tensor:
    body = classifier.encoder.body
    product = as_grid((output * gradient).detach(), body, shape)[0].sum(0)
    return product.flip(1) if mirrored else product
