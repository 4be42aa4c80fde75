import pytest

from graft.explanation.layer_table import summary


@pytest.mark.parametrize("model", ["base_cnn", "deep_cnn"])
def test_what_a_run_says_was_trained_is_what_its_network_lets_learn(digits, fit, tmp_path, model):
    """deep_cnn's whitening filters and the gains of its normalization are fixed."""
    run = fit(digits, tmp_path / "run", model=model, epochs=1, views=1, image_size=32)
    counted = run.model["parameters"]
    network = summary(run.path)
    assert counted == {"total": network.parameters, "trained": network.trainable}
    assert (counted["trained"] < counted["total"]) == (model == "deep_cnn")
