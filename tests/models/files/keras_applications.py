"""Makes networks of Keras Applications with random weights, imports each, and writes what Keras
itself says of two images: run by test_keras_import.py in a process of its own.

    python keras_applications.py FOLDER NAME...
"""

import json
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
os.environ["KERAS_TORCH_DEVICE"] = "cpu"
import h5py
import keras
import numpy as np

from graft.models.importing import import_network

# name: (module with preprocess_input, arguments, ending)
NETWORKS = {
    "MobileNetV2": ("mobilenet_v2", {"alpha": 0.35, "input_shape": (96, 96, 3)}, ".keras"),
    "EfficientNetB0": ("efficientnet", {"input_shape": (64, 64, 3)}, ".keras"),
    "ResNet50": ("resnet50", {"input_shape": (64, 64, 3)}, ".h5"),
    "InceptionV3": ("inception_v3", {"input_shape": (75, 75, 3)}, ".keras"),
    "VGG16": ("vgg16", {"input_shape": (32, 32, 3)}, ".h5"),
    "VGG16 with its classifier": ("vgg16", {"include_top": True}, ".keras"),
}


def images(side):
    return np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)


def made(name, module, arguments):
    keras.utils.set_random_seed(0)
    network = getattr(keras.applications, name.split()[0])(
        weights=None, **{"include_top": False} | arguments
    )
    random = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.weights:
                low = 0.5 if weight.name in ("gamma", "moving_variance") else -0.3
                weight.assign(random.uniform(low, low + 1, weight.shape))
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt_mean.assign([0.485, 0.456, 0.406])
            layer.adapt_variance.assign([0.052, 0.05, 0.051])
            layer.finalize_state()
    scale = getattr(keras.applications, module).preprocess_input
    return network, scale


def expected(network, scale):
    x = scale(images(network.input_shape[1]).astype(np.float32))
    end = network.layers[-1]
    top = isinstance(end, keras.layers.Dense)
    features = keras.Model(network.input, end.input) if top else network
    found = features.predict(x, verbose=0)
    return found.mean((1, 2)) if found.ndim == 4 else found


def main(folder, names):
    folder, told = Path(folder), {}
    for name in names:
        network, scale = made(name, *NETWORKS[name][:2])
        plain = name.replace(" ", "_")
        file = folder / f"{plain}{NETWORKS[name][2]}"
        network.save(file)
        told[name] = import_network(file, folder / plain)
        np.save(folder / f"{plain}.npy", expected(network, scale))
        if name == "MobileNetV2":
            # As Keras Applications downloads them: weights alone, under a name that says of what.
            network.save(folder / "whole.h5")
            weights = folder / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"
            with h5py.File(folder / "whole.h5") as whole, h5py.File(weights, "w") as alone:
                for key, value in whole["model_weights"].attrs.items():
                    alone.attrs[key] = value
                for key in whole["model_weights"]:
                    whole.copy(f"model_weights/{key}", alone)
            told["weights alone"] = import_network(weights, folder / "weights_alone")
        file.unlink()
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
