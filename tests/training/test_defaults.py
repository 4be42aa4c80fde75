import pytest

from graft.config import TrainConfig
from graft.errors import UsageError
from graft.models.backbone import scratch
from graft.models.weights import find_backbone
from graft.training.defaults import (
    BASE,
    DEEP,
    DEEP_ADAMW,
    FROZEN,
    TUNED,
    WHOLE,
    defaults_for,
    network,
    resolve,
)


@pytest.fixture
def backbone(finished, tmp_path):
    return find_backbone(str(finished), tmp_path)


def test_each_kind_of_training_has_its_defaults_and_what_is_given_stays(backbone):
    for settings, expected in (
        ({}, FROZEN),
        ({"unfreeze": "20%"}, TUNED),
        ({"unfreeze": "all"}, WHOLE),
    ):
        assert defaults_for(TrainConfig(**settings), backbone) is expected
    assert defaults_for(TrainConfig(), scratch("base_cnn")) is BASE
    resolved = resolve(TrainConfig(epochs=3, ema=0.5), backbone)
    assert (resolved.epochs, resolved.ema) == (3, 0.5)
    assert (resolved.views, resolved.optimizer) == (FROZEN["views"], "adamw")


@pytest.mark.parametrize(
    ("asked", "augment", "views"),
    [
        ({}, "none", 1),
        ({"augment": "none"}, "none", 1),
        ({"augment": "strong"}, "strong", 3),
        ({"views": 5}, "standard", 5),
        ({"views": 2, "augment": "light"}, "light", 2),
        ({"unfreeze": "20%"}, "standard", TUNED["views"]),
    ],
)
def test_a_frozen_backbone_sees_one_view_unless_augmentation_or_views_are_asked_for(
    backbone, asked, augment, views
):
    resolved = resolve(TrainConfig(**asked), backbone)
    assert (resolved.augment, resolved.views) == (augment, views)


def test_each_optimizer_has_rates_of_its_own_or_is_given_them(backbone):
    assert defaults_for(TrainConfig(optimizer="adamw"), backbone) is FROZEN
    deep = scratch("deep_cnn", 32)
    assert defaults_for(TrainConfig(), deep) is DEEP
    assert defaults_for(TrainConfig(optimizer="adamw"), deep) is DEEP_ADAMW
    with pytest.raises(UsageError, match="--learning-rate and --weight-decay"):
        defaults_for(TrainConfig(optimizer="sgd", learning_rate=0.1), backbone)
    given = TrainConfig(optimizer="sgd", learning_rate=0.1, weight_decay=1e-4)
    assert resolve(given, backbone).learning_rate == 0.1


def test_a_network_is_fed_as_the_config_says(finished, tmp_path):
    made = network(TrainConfig(model="base_cnn", image_size=24, resize="squash"), tmp_path)
    assert (made.weights, made.preprocess.height) == (None, 24)
    assert network(TrainConfig(model=str(finished)), tmp_path).preprocess.height == 16
