"""`lite0_keras.py WEIGHTS.npz OUT.keras`: EfficientNet-lite0 in Keras, with timm's weights.

The layers are those of Tan's efficientnet/lite (no squeeze and excitation, ReLU6, a stem and a
last layer of fixed width). It checks itself against the output that WEIGHTS has for its `x`.
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
from keras import layers

# (blocks, kernel, stride, expansion, channels) of each stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def conv(x, channels, kernel, stride, *, active=True):
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(epsilon=1e-3)(x)
    return layers.ReLU(6.0)(x) if active else x


def depthwise(x, kernel, stride):
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False)(x)
    return layers.ReLU(6.0)(layers.BatchNormalization(epsilon=1e-3)(x))


def block(x, kernel, stride, expansion, channels):
    before = x
    if expansion > 1:
        x = conv(x, x.shape[-1] * expansion, 1, 1)
    x = conv(depthwise(x, kernel, stride), channels, 1, 1, active=False)
    return layers.Add()([before, x]) if x.shape == before.shape else x


def built():
    x = inputs = keras.Input((224, 224, 3))
    x = conv(x, 32, 3, 2)
    for count, kernel, stride, expansion, channels in STAGES:
        for number in range(count):
            x = block(x, kernel, stride if number == 0 else 1, expansion, channels)
    return keras.Model(inputs, conv(x, 1280, 1, 1))


def main(weights, out):
    stored = np.load(weights)
    values = [stored[f"w{number}"] for number in range(len(stored.files) - 2)]
    model = built()
    for layer in model.layers:
        if not layer.weights:
            continue
        taken, values = values[: len(layer.weights)], values[len(layer.weights) :]
        if isinstance(layer, layers.DepthwiseConv2D):
            taken = [taken[0].transpose(2, 3, 0, 1)]
        elif isinstance(layer, layers.Conv2D):
            taken = [taken[0].transpose(2, 3, 1, 0)]
        layer.set_weights(taken)
    if values:
        sys.exit(f"{len(values)} weights are left over")
    worst = np.abs(np.asarray(model(stored["x"])) - stored["y"]).max()
    if worst > 1e-3:
        sys.exit(f"the Keras network differs from timm's by {worst:g}")
    model.save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
