"""Keras as the notebooks have it: a frozen base and a new head, then the last layers trained, too.

The base is EfficientNet-lite0 from a .keras file that lite0_keras.py made of the same weights,
because the files of Keras Applications are on a hub.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np
from measured import EPOCHS, FOLDER, LITE0_KERAS, SECONDS, TEST, elapsed, record

# user code begins
import keras

size = (224, 224)
train = keras.utils.image_dataset_from_directory(FOLDER / "train", image_size=size, batch_size=32)
val = keras.utils.image_dataset_from_directory(FOLDER / "val", image_size=size, batch_size=32)
classes = train.class_names
augment = keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomRotation(0.1)])
base = keras.models.load_model(LITE0_KERAS)
base.trainable = False
inputs = keras.Input((*size, 3))
x = keras.layers.Rescaling(1 / 127.5, offset=-1)(augment(inputs))
x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
x = keras.layers.Dropout(0.2)(x)
outputs = keras.layers.Dense(len(classes), activation="softmax")(x)
model = keras.Model(inputs, outputs)


def fit(rate, epochs):
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(train, validation_data=val, epochs=epochs, verbose=2, callbacks=[Recorded()])


# user code pauses
class Recorded(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        def probabilities():
            images = [keras.utils.load_img(file, target_size=size) for file in TEST]
            stacked = np.stack([keras.utils.img_to_array(image) for image in images])
            parts = range(0, len(TEST), 64)
            return np.concatenate([self.model.predict_on_batch(stacked[i : i + 64]) for i in parts])

        record(probabilities)

    def on_train_batch_end(self, batch, logs=None):
        if elapsed() > SECONDS:
            self.model.stop_training = True


# user code goes on
fit(1e-3, EPOCHS)
base.trainable = True
for layer in base.layers[: len(base.layers) * 4 // 5]:
    layer.trainable = False
# user code ends
if elapsed() < SECONDS:
    # user code goes on
    fit(1e-5, EPOCHS)
    # user code ends
