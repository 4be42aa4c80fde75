"""Ultralytics classify: from its .yaml, so from random weights. Its trained files are on a hub,
and it takes no network of timm.
"""

from measured import CLASSES, EPOCHS, FOLDER, OUT, SECONDS, TEST, elapsed, record

# user code begins
from ultralytics import YOLO

model = YOLO("yolo11n-cls.yaml")
# user code pauses
hours = max(SECONDS - elapsed(), 60) / 3600
# user code goes on
model.train(
    data=FOLDER,
    epochs=EPOCHS,
    time=hours,
    imgsz=224,
    device="cpu",
    workers=2,
    project=OUT,
    plots=False,
)
# user code ends


def probabilities():
    order = [name for _, name in sorted(model.names.items())]
    columns = [order.index(name) for name in CLASSES]
    found = model.predict([str(file) for file in TEST], imgsz=224, verbose=False)
    return [one.probs.data.cpu().numpy()[columns] for one in found]


record(probabilities)
