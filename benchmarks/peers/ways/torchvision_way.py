"""PyTorch's transfer-learning tutorial: torchvision's transforms, SGD, all layers trained."""

import timm
import torch
from measured import EPOCHS, FOLDER, SECONDS, TEST, elapsed, record
from PIL import Image

# user code begins
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

normalize = transforms.Normalize([0.5] * 3, [0.5] * 3)
train_transform = transforms.Compose(
    [
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        normalize,
    ]
)
test_transform = transforms.Compose(
    [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normalize]
)
train = ImageFolder(FOLDER / "train", train_transform)
val = ImageFolder(FOLDER / "val", test_transform)
loader = DataLoader(train, batch_size=32, shuffle=True, num_workers=2)
val_loader = DataLoader(val, batch_size=64, num_workers=2)
model = timm.create_model("tf_efficientnet_lite0", pretrained=True, num_classes=len(train.classes))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
for _epoch in range(EPOCHS):
    model.train()
    for images, labels in loader:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # user code pauses
        if elapsed() > SECONDS:
            break
        # user code goes on
    scheduler.step()
    model.eval()
    with torch.no_grad():
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in val_loader)
    print(f"val accuracy {right / len(val):.3f}")
    # user code ends

    def probabilities():
        found = []
        with torch.no_grad():
            for file in TEST:
                image = test_transform(Image.open(file).convert("RGB"))
                found.append(model(image[None]).softmax(1))
        return torch.cat(found)

    record(probabilities)
    if elapsed() > SECONDS:
        break
