import json
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.config import TrainConfig
from graft.errors import UsageError

SETTINGS = [field.name for field in fields(TrainConfig)]
SHARE = st.floats(0, 1, exclude_max=True)
POSSIBLE = {
    "seed": st.integers(0, 2**63),
    "epochs": st.none() | st.integers(1, 10**6),
    "views": st.none() | st.integers(1, 100),
    "flip": st.booleans(),
    "batch_size": st.integers(1, 10**6),
    "learning_rate": st.none() | st.floats(0, 10, exclude_min=True, exclude_max=True),
    "weight_decay": st.floats(0, 100, exclude_max=True),
    "label_smoothing": SHARE,
    "hidden": st.integers(0, 10**5),
    "dropout_in": SHARE,
    "dropout_hidden": SHARE,
    "patience": st.integers(1, 10**6),
    "backend": st.sampled_from(["auto", "openvino", "torch"]),
    "unfreeze": st.sampled_from(["none", "all", "20%", "2.5%", "3"]),
    "optimizer": st.sampled_from(["adamw", "sgd"]),
    "schedule": st.sampled_from(["one-cycle", "cosine", "plateau"]),
    "mixup": st.floats(0, 100),
    "ema": SHARE,
}
NOT_WHOLE = [1.5, "3", True, float("nan")]
NO_SHARE = [-0.01, 1, 1.5, float("nan"), "half", None, True]
IMPOSSIBLE = {
    "model": [None, 5],
    "seed": [-1, None, *NOT_WHOLE],
    "epochs": [0, -1, *NOT_WHOLE],
    "views": [0, -1, *NOT_WHOLE],
    "image_size": [0, 7, *NOT_WHOLE],
    "flip": [None, "no", 1],
    "batch_size": [0, *NOT_WHOLE],
    "learning_rate": [0, -0.1, 10, float("nan"), float("inf"), "fast", True],
    "weight_decay": [-0.1, 100, float("nan"), "some"],
    "label_smoothing": NO_SHARE,
    "hidden": [-1, None, *NOT_WHOLE],
    "dropout_in": [value for value in NO_SHARE if value is not None],
    "dropout_hidden": NO_SHARE,
    "patience": [0, None, *NOT_WHOLE],
    "backend": ["tensorflow", "", None],
    "unfreeze": ["some", "0%", "101%", "-5%", "0", "1.5", "%", None, 3],
    "backbone_rate": [-0.1, 101, float("nan"), "low", None],
    "optimizer": ["adam", ""],
    "schedule": ["linear", None],
    "warmup": NO_SHARE,
    "mixup": [-1, float("nan"), "yes", None],
    "cutmix": [-1, float("nan"), "yes", None],
    "ema": [value for value in NO_SHARE if value is not None],
    "augment": ["heavy", None],
    "balance": ["classes", None],
    "group_by": ["", 3],
    "time_by": ["", 3],
    "folds": [1, 2.5],
    "repeats": [0, "3"],
    "learning_curve": [1, None],
    "batch_norm": ["still", None],
    "resize": ["stretch", ""],
    "max_grad_norm": [-1, 101, float("nan"), "some", None],
    "layer_decay": [0, 1.1, float("nan"), "slow", None],
    "val_fraction": [0, 0.51, float("nan"), "half", None],
}


@given(st.fixed_dictionaries({}, optional=POSSIBLE))
def test_possible_settings_come_back_from_json_as_they_went(settings):
    config = TrainConfig(**settings)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in IMPOSSIBLE.items() for value in values]
)
def test_an_impossible_value_is_refused_by_name(name, value):
    with pytest.raises(UsageError, match=name) as refused:
        TrainConfig(**{"model": "base_cnn", name: value})
    assert "\n" not in str(refused.value)
    assert str(value) in str(refused.value)


def test_every_setting_has_values_that_are_refused():
    assert set(IMPOSSIBLE) == set(SETTINGS)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("epoch", "epochs"),
        ("learning_rat", "learning_rate"),
        ("batchsize", "batch_size"),
        ("wieght_decay", "weight_decay"),
        ("drop_out_in", "dropout_in"),
    ],
)
def test_an_unknown_setting_gets_did_you_mean(written, meant):
    with pytest.raises(UsageError, match=f"no setting '{written}'; did you mean {meant}\\?"):
        TrainConfig.from_dict({written: 1})


def test_a_setting_like_no_other_gets_them_all():
    with pytest.raises(UsageError, match="no setting 'zzz'; known: ") as refused:
        TrainConfig.from_dict({"zzz": 1})
    assert all(name in str(refused.value) for name in SETTINGS)


def test_nothing_is_unfrozen_in_a_network_that_is_trained_whole():
    with pytest.raises(UsageError, match="all of base_cnn is trained"):
        TrainConfig(model="base_cnn", unfreeze="20%")


def test_a_config_does_not_change():
    with pytest.raises(FrozenInstanceError):
        TrainConfig().epochs = 3
