import pytest

from graft.errors import UsageError
from graft.training.checkpoint import seconds_between


def test_checkpoints_are_thirty_seconds_apart_or_as_asked(monkeypatch):
    monkeypatch.delenv("GRAFT_CHECKPOINT_SECONDS", raising=False)
    assert seconds_between() == 30
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", "0")
    assert seconds_between() == 0


@pytest.mark.parametrize("given", ["soon", "-1", "nan", ""])
def test_seconds_that_are_not_a_number_are_refused(given, monkeypatch):
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", given)
    with pytest.raises(UsageError, match="GRAFT_CHECKPOINT_SECONDS is a number of seconds"):
        seconds_between()
