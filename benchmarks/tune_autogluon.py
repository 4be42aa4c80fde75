"""AutoGluon MultiModal on graft's images and splits: run by a Python that has AutoGluon, not graft.

SPLIT ROOT OUT --seconds N [--presets P] [--checkpoint FOLDER] [--seed N]: SPLIT is a run's
dataset.csv, whose paths are below ROOT. It is fitted on train with val as its tuning data, and
predicts test once. FOLDER is a network as timm's local-dir: config.json and pytorch_model.bin;
without it AutoGluon downloads the one of its preset. Prints a line of JSON.
"""

import argparse
import csv
import json
from pathlib import Path


def with_torchvision() -> object:
    """Import torchvision. Its wheel for CUDA finds no operators beside a PyTorch without CUDA, and
    fails for want of two, which nothing here uses: they are declared.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        declared = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401

        return declared
    return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("split", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--presets", default="medium_quality")
    parser.add_argument("--checkpoint")
    parser.add_argument("--seed", type=int, default=42)
    asked = parser.parse_args()
    kept = with_torchvision()  # while it is used
    import pandas as pd
    from autogluon.multimodal import MultiModalPredictor

    with asked.split.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    tables = {
        name: pd.DataFrame(
            [
                {"image": str(asked.root / row["path"]), "label": row["label"]}
                for row in rows
                if row["split"] == name
            ]
        )
        for name in ("train", "val", "test")
    }
    more: dict[str, object] = {"env.num_gpus": 0, "env.num_workers": 2}
    if asked.checkpoint:
        more |= {"model.names": ["timm_image"]}
        more |= {"model.timm_image.checkpoint_name": asked.checkpoint}
    predictor = MultiModalPredictor(
        label="label", problem_type="multiclass", eval_metric="accuracy", path=str(asked.out)
    )
    predictor.fit(
        tables["train"],
        tuning_data=tables["val"],
        presets=asked.presets,
        time_limit=asked.seconds,
        hyperparameters=more,
        seed=asked.seed,
    )
    val = float((predictor.predict(tables["val"]) == tables["val"]["label"]).mean())
    answers = predictor.predict(tables["test"][["image"]])
    right = int((answers.to_numpy() == tables["test"]["label"].to_numpy()).sum())
    network = Path(asked.checkpoint).name if asked.checkpoint else "its own network"
    found = {
        "right": right,
        "n": len(tables["test"]),
        "chosen_by": val,
        "trials": 1,
        "winner": f"{asked.presets}, {network}",
    }
    print("\n" + json.dumps(found))
    del kept


if __name__ == "__main__":
    main()
