from graft.report import validation_section


def rate(value, low, high, method="Wilson, 95 %"):
    return {"value": value, "low": low, "high": high, "method": method}


ANY = rate(0.9, 0.8, 0.95)


def repeated(**changes):
    found = {
        "what": "splits",
        "each": [0.9, 0.94],
        "n": [100, 104],
        "mean": 0.92,
        "low": 0.88,
        "high": 0.95,
        "method": "Bayesian bootstrap, 95 %",
        "standard_deviation": 0.028,
    }
    return {"repeats": found | changes}


def plain(sentences):
    return " ".join(sentences).replace("\u00a0", " ")


def test_a_leak_is_told_with_intervals_of_both_figures_and_of_their_difference():
    leak = {"near": 80, "test_seen": 30, "n": 450, "accuracy": rate(0.97, 0.95, 0.98)}
    said = plain(validation_section.other_splits({"leaky_split": leak}, rate(0.92, 0.89, 0.94)))
    assert "97.0 % (95 % interval 95.0 to 98.0 %, Wilson)" in said
    assert "92.0 % (95 % interval 89.0 to 94.0 %, Wilson)" in said
    # 5 points less the root of 2² + 2², and more the root of 1² + 3².
    assert "+5.0 percentage points (95 % interval +2.2 to +8.2)" in said
    assert "chance" not in said
    said = plain(validation_section.other_splits({"leaky_split": leak}, rate(0.98, 0.96, 0.99)))
    assert "−1.0 percentage points" in said
    assert "which may be chance" in said


def test_repeats_are_told_with_their_interval_range_and_images():
    said = plain(validation_section.other_splits(repeated(), ANY))
    assert said.startswith("With 2 other splits and seeds, the mean accuracy is 92.0 % (95 % inter")
    for words in ("88.0 to 95.0 %", "90.0 to 94.0 %", "on 100 to 104 test images each"):
        assert words in said


def test_repeats_on_one_test_split_are_not_called_splits():
    once = repeated(what="seeds", each=[0.92], n=[100], standard_deviation=None)
    said = plain(validation_section.other_splits(once, ANY))
    assert said.startswith("With 1 other seed on the same test images, the mean accuracy is 92.0 %")
    assert said.endswith(", on 100 test images.")


def test_a_test_split_left_out_of_the_folds_is_told():
    fold = {"accuracy": rate(0.9, 0.8, 0.95), "folds": 3, "n": 30, "left_out": 0}
    assert "left out" not in plain(validation_section.other_splits({"folds": fold}, ANY))
    said = plain(validation_section.other_splits({"folds": fold | {"left_out": 10}}, ANY))
    assert "The source's own test split (10 images) was left out of it." in said


def curve(gain):
    return {
        "points": [{"images": 400, "accuracy": 0.9, "low": 0.87, "high": 0.93}],
        "n": 450,
        "ahead": [{"images": 800, "accuracy": 0.92, "low": 0.89, "high": 0.95, "gain": gain}],
        "method": "power law",
        "next": [
            {
                "class": "rose",
                "n": 40,
                "recall": 0.75,
                "low": 0.6,
                "high": 0.86,
                "before": rate(0.7, 0.55, 0.82),
                "gained": 0.05,
            }
        ],
    }


def test_figures_of_the_learning_curve_have_intervals():
    said = plain(validation_section.more_data(curve(rate(0.02, 0.01, 0.03))))
    assert "90.0 % (95 % interval 87.0 to 93.0 %, on 450 test images)" in said
    assert "its recall is 75.0 % (95 % interval 60.0 to 86.0 %, on 40 test images)" in said
    assert "+5.0 percentage points (95 % interval −14.2 to +23.6)" in said


def test_more_images_help_hardly_help_or_it_cannot_be_told():
    assert "would help." in plain(validation_section.more_data(curve(rate(0.02, 0.01, 0.03))))
    assert "hardly help" in plain(validation_section.more_data(curve(rate(0.001, 0.0, 0.004))))
    assert "not clear yet" in plain(validation_section.more_data(curve(rate(0.004, 0.0, 0.02))))
