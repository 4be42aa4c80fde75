"""What a run will train, decided before it begins."""

import shutil

import pytest

from graft.config import TrainConfig
from graft.data.sources import load_dataset
from graft.errors import UsageError
from graft.models.backbone import find_backbone, scratch
from graft.training.plan import DEEP, DEEP_ADAMW, FROZEN, WHOLE, defaults_for, make_plan
from graft.training.recipe import resolved
from graft.utils.progress import Progress


class Told(Progress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_each_optimizer_has_rates_of_its_own_or_is_given_them(finished, tmp_path):
    backbone = find_backbone(str(finished), tmp_path)
    assert defaults_for(TrainConfig(), backbone) is FROZEN
    assert defaults_for(TrainConfig(optimizer="adamw"), backbone) is FROZEN
    assert defaults_for(TrainConfig(unfreeze="all"), backbone) is WHOLE
    deep = scratch("deep_cnn", 32)
    assert defaults_for(TrainConfig(), deep) is DEEP
    assert defaults_for(TrainConfig(optimizer="adamw"), deep) is DEEP_ADAMW
    with pytest.raises(UsageError, match="--learning-rate and --weight-decay"):
        defaults_for(TrainConfig(optimizer="sgd", learning_rate=0.1), backbone)
    given = TrainConfig(optimizer="sgd", learning_rate=0.1, weight_decay=1e-4)
    assert resolved(given, backbone).learning_rate == 0.1


def test_cutmix_is_refused_where_no_images_are_trained_on(finished, tmp_path):
    backbone = find_backbone(str(finished), tmp_path)
    for unfreeze in ("none", "20%", "1"):
        with pytest.raises(UsageError, match="cutmix"):
            defaults_for(TrainConfig(cutmix=1.0, unfreeze=unfreeze), backbone)
    defaults_for(TrainConfig(cutmix=1.0, unfreeze="all"), backbone)
    defaults_for(TrainConfig(cutmix=1.0), scratch("base_cnn"))


def test_the_disk_that_pixels_take_is_said_or_refused_before_it_is_taken(
    make_digits, tmp_path, monkeypatch
):
    dataset = load_dataset(make_digits(tmp_path / "digits", each=20), tmp_path)
    backbone = scratch("base_cnn", 64)
    config, told = resolved(TrainConfig(model="base_cnn"), backbone), Told()
    make_plan(config, backbone, dataset, tmp_path, told, tmp_path)
    assert told.lines == []
    monkeypatch.setattr("graft.training.plan.WORTH_SAYING", 1000)
    make_plan(config, backbone, dataset, tmp_path, told, tmp_path)
    assert "in 5 views: about 0.0" in told.lines[0]
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(10**6, 10**6, 10**6))
    with pytest.raises(UsageError, match="fewer --views"):
        make_plan(config, backbone, dataset, tmp_path, told, tmp_path)
