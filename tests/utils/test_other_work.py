import pytest

from graft.utils.other_work import other_work


@pytest.mark.parametrize(("waiting", "said"), [(0.5, ""), (7.9, ""), (20.0, "about 10 times")])
def test_other_work_is_told_where_it_slows_the_machine(monkeypatch, waiting, said):
    monkeypatch.setattr("os.getloadavg", lambda: (waiting, 0.0, 0.0), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    found = other_work()
    assert len(found) == bool(said)
    assert said in "".join(found)


def test_nothing_is_told_where_the_system_does_not_count(monkeypatch):
    monkeypatch.delattr("os.getloadavg", raising=False)
    assert other_work() == []
