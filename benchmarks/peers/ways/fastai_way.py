"""fastai as its book and its documentation have it: a vision_learner and fine_tune."""

import torch
from fastai.vision.all import (
    Callback,
    CategoryBlock,
    DataBlock,
    GrandparentSplitter,
    ImageBlock,
    Resize,
    accuracy,
    aug_transforms,
    get_image_files,
    parent_label,
    vision_learner,
)
from measured import EPOCHS, FOLDER, SECONDS, TEST, elapsed, record


class Recorded(Callback):
    def after_epoch(self):
        def probabilities():
            found = []
            with torch.no_grad():
                for (images,) in self.learn.dls.test_dl(TEST, bs=64):
                    found.append(self.learn.model.eval()(images).softmax(1))
            return torch.cat(found).cpu()

        record(probabilities)

    def after_batch(self):
        if elapsed() > SECONDS:
            from fastai.callback.core import CancelFitException

            raise CancelFitException


# user code begins
block = DataBlock(
    blocks=(ImageBlock, CategoryBlock),
    get_items=lambda folder: get_image_files(folder, folders=["train", "val"]),
    splitter=GrandparentSplitter("train", "val"),
    get_y=parent_label,
    item_tfms=Resize(256),
    batch_tfms=aug_transforms(size=224),
)
dls = block.dataloaders(FOLDER, bs=64, num_workers=2)
learn = vision_learner(dls, "tf_efficientnet_lite0", metrics=accuracy)
# user code pauses
learn.add_cb(Recorded())
# user code goes on
learn.fine_tune(EPOCHS)
# user code ends
