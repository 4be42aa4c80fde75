import pytest

from graft.errors import UsageError
from graft.training.checkpoint import pause


def test_the_pause_between_checkpoints_is_thirty_seconds_or_as_asked(monkeypatch):
    monkeypatch.delenv("GRAFT_CHECKPOINT_SECONDS", raising=False)
    assert pause() == 30
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", "0")
    assert pause() == 0


@pytest.mark.parametrize("given", ["soon", "-1", "nan", ""])
def test_a_pause_that_is_no_number_of_seconds_is_refused(given, monkeypatch):
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", given)
    with pytest.raises(UsageError, match="GRAFT_CHECKPOINT_SECONDS is a number of seconds"):
        pause()
