"""The settings: what is refused, how that is said, and what is made from the declaration."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from graft.choices import BACKENDS, DEFAULT_MODEL
from graft.cli.settings_page import settings_markdown
from graft.config import ResolvedConfig, SplitConfig, TrainConfig, configs_of
from graft.errors import UsageError
from graft.models.backbone import scratch
from graft.training.defaults import DEEP, KINDS, resolve

FRACTION = st.floats(0, 1, exclude_max=True)
POSSIBLE = {
    "seed": st.integers(0, 2**63),
    "epochs": st.none() | st.integers(1, 10**6),
    "views": st.none() | st.integers(1, 100),
    "flip": st.booleans(),
    "batch_size": st.integers(1, 10**6),
    "learning_rate": st.none() | st.floats(0, 10, exclude_min=True, exclude_max=True),
    "weight_decay": st.floats(0, 100, exclude_max=True),
    "label_smoothing": FRACTION,
    "patience": st.integers(1, 10**6),
    "backend": st.sampled_from(BACKENDS),
    "unfreeze": st.sampled_from(["none", "all", "lora", "20%", "2.5%", "3"]),
    "optimizer": st.sampled_from(["adamw", "sgd"]),
    "schedule": st.sampled_from(["one-cycle", "cosine", "plateau"]),
    "mixup": st.floats(0, 100),
    "ema": FRACTION,
    "group_by": st.sampled_from([None, "folder", "^[^_]+"]),
    "label_by": st.sampled_from([None, "outermost", "innermost"]),
    "follow_links": st.booleans(),
    "val_fraction": st.floats(0, 0.5, exclude_min=True),
}
NOT_WHOLE = [1.5, "3", True, float("nan")]
NO_FRACTION = [-0.01, 1, 1.5, float("nan"), "half", True]
IMPOSSIBLE = {
    "model": [None, 5, ""],
    "seed": [-1, None, *NOT_WHOLE],
    "epochs": [0, -1, *NOT_WHOLE],
    "views": [0, -1, *NOT_WHOLE],
    "head": ["old", "", None],
    "image_size": [0, 7, *NOT_WHOLE],
    "flip": [None, "no", 1],
    "sync_batch_norm": [None, "no", 1],
    "batch_size": [0, *NOT_WHOLE],
    "learning_rate": [0, -0.1, 10, float("nan"), float("inf"), "fast", True],
    "weight_decay": [-0.1, 100, float("nan"), "some"],
    "label_smoothing": [None, *NO_FRACTION],
    "patience": [0, None, *NOT_WHOLE],
    "backend": ["tensorflow", "", None],
    "unfreeze": ["some", "0%", "101%", "-5%", "0", "1.5", "%", "2\n", None, 3],
    "optimizer": ["adam", ""],
    "schedule": ["linear", None],
    "mixup": [-1, float("nan"), "yes"],
    "cutmix": [-1, float("nan"), "yes", None],
    "ema": NO_FRACTION,
    "augment": ["heavy", 1],
    "balance": ["weights", None],
    "group_by": ["", 3],
    "time_by": ["", 3],
    "batch_norm": ["still", None],
    "pixels": ["bgr", None],
    "resize": ["stretch", ""],
    "label_by": ["", "top", 3],
    "follow_links": [None, "yes", 1],
    "val_fraction": [0, 0.51, float("nan"), "half", None],
}
FIELDS = {**TrainConfig.model_fields, **SplitConfig.model_fields}


@given(st.fixed_dictionaries({}, optional=POSSIBLE))
def test_possible_settings_come_back_from_json_as_they_went(settings):
    train, split = configs_of(settings, TrainConfig)
    stored = json.loads(json.dumps({**train.to_json(), **split.to_json()}))
    assert configs_of(stored, TrainConfig) == (train, split)
    assert train.seed == split.seed == settings.get("seed", 42)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in IMPOSSIBLE.items() for value in values]
)
def test_an_impossible_value_is_refused_by_name(name, value):
    with pytest.raises(UsageError, match=f"^{name} must be ") as refused:
        configs_of({"model": "base_cnn", name: value}, TrainConfig)
    assert "\n" not in str(refused.value)
    assert repr(value) in str(refused.value)


def test_every_setting_has_values_that_are_refused():
    assert set(IMPOSSIBLE) == set(FIELDS)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
        ({"learning_rate": 10}, "learning_rate must be a number above 0 and below 10, not 10"),
        ({"mixup": -1}, "mixup must be a number from 0 to 100, not -1"),
        ({"group_by": ""}, "group_by must be text that is not empty, not ''"),
        (
            {"schedule": "cosin"},
            "schedule must be one of one-cycle, cosine, plateau, not 'cosin'; did you mean cosine?",
        ),
        (
            {"epochs": 0, "patience": 0},
            "epochs must be a whole number of at least 1, not 0; "
            "patience must be a whole number of at least 1, not 0",
        ),
    ],
)
def test_an_error_says_what_was_expected_and_what_came(settings, said):
    with pytest.raises(UsageError) as refused:
        configs_of(settings, TrainConfig)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("epoch", "epochs"),
        ("learning_rat", "learning_rate"),
        ("batchsize", "batch_size"),
        ("wieght_decay", "weight_decay"),
        ("val_fracton", "val_fraction"),
    ],
)
def test_an_unknown_setting_gets_did_you_mean(written, meant):
    with pytest.raises(UsageError, match=f"no setting '{written}'; did you mean {meant}\\?"):
        configs_of({written: 1}, TrainConfig)
    if meant in TrainConfig.model_fields:
        with pytest.raises(UsageError, match=f"no setting '{written}'; did you mean {meant}\\?"):
            TrainConfig(**{written: 1})


def test_a_setting_like_no_other_gets_them_all():
    with pytest.raises(UsageError, match="no setting 'zzz'; the settings are ") as refused:
        configs_of({"zzz": 1}, TrainConfig)
    assert all(name in str(refused.value) for name in FIELDS)


def test_nothing_is_unfrozen_in_a_network_that_is_trained_whole():
    with pytest.raises(UsageError, match="base_cnn is always trained whole"):
        TrainConfig(model="base_cnn", unfreeze="20%")


def test_cutmix_is_refused_where_no_images_are_trained_on():
    for unfreeze in ("none", "20%", "1"):
        with pytest.raises(UsageError, match="cutmix"):
            TrainConfig(cutmix=1.0, unfreeze=unfreeze)
    TrainConfig(cutmix=1.0, unfreeze="all")
    TrainConfig(cutmix=1.0, model="base_cnn")


def test_a_config_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        TrainConfig().epochs = 3


def test_what_is_resolved_has_no_none_and_keeps_what_was_given():
    given = TrainConfig(model="deep_cnn", epochs=3, image_size=32, ema=0.0)
    found = resolve(given, scratch("deep_cnn", 32))
    assert None not in found.to_json().values()
    assert found.to_json().items() >= (DEEP | {"epochs": 3, "image_size": 32, "ema": 0.0}).items()
    assert (found.resize, found.ema) == ("crop", 0.0)
    assert resolve(found, scratch("deep_cnn", 32)) == found


def test_a_default_that_depends_on_the_model_is_given_for_every_kind():
    open_ = {name for name, field in ResolvedConfig.model_fields.items() if field.is_required()}
    assert open_ == {
        name for name, field in TrainConfig.model_fields.items() if field.default is None
    }
    for defaults in KINDS.values():
        assert set(defaults) == open_ - {"image_size", "resize"}


def test_the_schema_describes_every_setting():
    for kind in (TrainConfig, SplitConfig):
        schema = kind.model_json_schema()
        assert schema["additionalProperties"] is False
        assert set(schema["properties"]) == set(kind.model_fields)
        for name, one in schema["properties"].items():
            assert one["description"].endswith("."), name
    assert schema["properties"]["val_fraction"]["maximum"] == 0.5
    assert TrainConfig.model_json_schema()["properties"]["model"]["default"] == DEFAULT_MODEL


def test_the_page_of_settings_is_up_to_date():
    page = Path(__file__).parents[1] / "docs/settings.md"
    assert page.read_text(encoding="utf-8") == settings_markdown(), "run make docs"
