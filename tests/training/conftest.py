import pytest

from graft.config import TrainConfig, configs_of
from graft.training.recipe import train
from graft.utils.progress import Progress


class Told(Progress):
    """Keeps what it was told."""

    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


@pytest.fixture
def told():
    """A Progress whose `lines` are what it was told."""
    return Told()


@pytest.fixture(scope="session")
def fit():
    """The function that trains a run without writing its page: fit(source, out, **settings)."""

    def run(source, out, resume=False, **settings):
        config, split_config = configs_of(settings, TrainConfig)
        return train(source, config, split_config, out, Progress(), resume)

    return run
