import pytest

from graft.config import SplitConfig, TrainConfig
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
        split = {n: settings.pop(n) for n in ("group_by", "time_by") if n in settings}
        config = TrainConfig.from_dict(settings)
        return train(source, config, SplitConfig(**split), out, Progress(), resume)

    return run
