"""Writes tiny_saved_model/, tiny.tflite, tiny_uint8.tflite, tiny.keras and tiny.h5 by TensorFlow
and its Keras, and what TensorFlow says of them.

    python -m venv ENVIRONMENT; ENVIRONMENT/bin/pip install tensorflow-cpu
    ENVIRONMENT/bin/python make_tensorflow.py

tiny_tensorflow.json: features (2, 12) of the images of `images()`, scaled as "tf". The network
takes (N, 16, 16, 3); tiny_uint8.tflite takes 0 to 255 as they are.
"""

import json
import os
import shutil
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
from tensorflow import keras

HERE = Path(__file__).parent
SIDE = 16


def images():
    """Two images (2, 16, 16, 3) uint8; the same in make_onnx.py and in the tests."""
    rows, columns, channels = np.mgrid[0:SIDE, 0:SIDE, 0:3]
    first = (rows * 16 + columns * (channels + 1)) % 256
    return np.stack([first, 255 - first.transpose(1, 0, 2)]).astype(np.uint8)


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Conv2D(12, 3, strides=2, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
        ],
        name="tiny",
    )


class Served(tf.Module):
    """As TensorFlow Hub's image feature vectors: one function, any batch."""

    def __init__(self, model):
        super().__init__()
        self.kernels = [tf.Variable(value) for value in model.get_weights()]

    @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, "image")])
    def serve(self, image):
        x = image
        for kernel, bias in (self.kernels[:2], self.kernels[2:]):
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, 2, "SAME") + bias)
        return {"features": tf.reduce_mean(x, (1, 2))}


def main():
    model = network()
    x = images().astype(np.float32) / 127.5 - 1
    expected = model(x).numpy()
    served = Served(model)
    assert np.abs(served.serve(x)["features"].numpy() - expected).max() < 1e-6
    folder = HERE / "tiny_saved_model"
    shutil.rmtree(folder, ignore_errors=True)
    tf.saved_model.save(served, folder, signatures=served.serve.get_concrete_function())

    lite = tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert()
    (HERE / "tiny.tflite").write_bytes(lite)
    bytes_in = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3), dtype="uint8"), keras.layers.Rescaling(1 / 127.5, -1), model]
    )
    converter = tf.lite.TFLiteConverter.from_keras_model(bytes_in)
    (HERE / "tiny_uint8.tflite").write_bytes(converter.convert())
    model.save(HERE / "tiny.keras")
    model.save(HERE / "tiny.h5")
    (HERE / "tiny_tensorflow.json").write_text(json.dumps(expected.tolist(), indent=1) + "\n")


if __name__ == "__main__":
    main()
