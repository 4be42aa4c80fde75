import json

import pytest

from graft.errors import UsageError
from graft.tuning import portfolio
from graft.tuning.candidate import Candidate, complexity, described, name_of
from graft.tuning.space import Space, read_space, space_text


def test_the_space_is_printed_edited_and_given_back(graft_here, tmp_path):
    ended = graft_here("tune", "--space")
    assert ended.code == 0
    assert ended.out.strip() == space_text(Space())
    edited = json.loads(ended.out) | {"strengths": [0.5], "fine_tunings": 0}
    (tmp_path / "space.json").write_text(json.dumps(edited))
    space = read_space(tmp_path / "space.json")
    assert (space.strengths, space.fine_tunings) == ([0.5], 0)
    assert space.model_copy(update={"strengths": Space().strengths, "fine_tunings": 12}) == Space()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "expected a search space"),
        ("[]", "a JSON object"),
        ('{"strength": [1]}', "did you mean strengths"),
        ('{"strengths": [-1]}', "strengths"),
        ('{"hidden": []}', "hidden"),
        ('{"unfreeze": ["most"]}', "unfreeze must be"),
        ('{"schedules": ["steep"]}', "schedules"),
    ],
)
def test_a_file_that_describes_no_space_is_one_clear_line(graft_here, digits, tmp_path, text, said):
    file = tmp_path / "space.json"
    file.write_text(text)
    ended = graft_here("tune", digits, "--space-file", file, "--out", tmp_path / "run")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert str(file) in ended.err
    assert said in ended.err
    assert not (tmp_path / "run").exists()


def test_settings_that_are_searched_for_cannot_be_given_with_a_budget(graft_here, digits, tmp_path):
    ended = graft_here("train", digits, "--budget", "1m", "--epochs", "3", "--out", tmp_path / "r")
    assert ended.code == 2
    assert "graft tune searches for epochs itself" in ended.err


def test_each_pass_is_a_family_whose_first_head_is_the_default():
    space, base = Space(), portfolio.default_candidate("base")
    first = portfolio.first_family(space, base)
    assert first[0] == (base,)
    families = [first, *portfolio.other_families(space, base)]
    for trials in families:
        assert len({one.family() for one, *_ in trials}) == 1
        assert len(set(trials)) == len(trials) <= portfolio.LARGEST_FAMILY
    tried = {(o.schedule, o.patience) for trials in families for o, *_ in trials}
    assert {("one-cycle", 10), ("plateau", 10), ("one-cycle", 3)} <= tried


def test_fine_tunings_are_as_many_as_the_space_allows_the_usual_one_first():
    base = portfolio.default_candidate("base")
    found = portfolio.fine_tunings(Space(), base)
    assert len(found) == len(set(found)) == 12
    assert (found[0].unfreeze, found[0].learning_rate, found[0].augment) == (
        "20%",
        5e-4,
        "standard",
    )
    assert portfolio.fine_tunings(Space(unfreeze=[]), base) == []


def test_a_candidate_is_read_back_and_named_by_what_it_is():
    one = Candidate(head="ridge", hidden=0, strength=0.1)
    again = Candidate(**json.loads(json.dumps(one.to_json())))
    assert again == one
    assert name_of([one]) == name_of([again]) != name_of([Candidate()])
    assert "strength 0.1" in described((one,))
    with pytest.raises(UsageError, match="has a strength"):
        Candidate(head="ridge", hidden=0)


def test_simple_is_frozen_before_fine_tuned_and_one_head_before_several():
    default = Candidate()
    ridge = Candidate(head="ridge", hidden=0, strength=1.0)
    tuned, all_of_it = Candidate(unfreeze="20%"), Candidate(unfreeze="all")
    ranked = [(ridge,), (default,), (ridge, default), (tuned,), (all_of_it,)]
    keys = [complexity(members, default) for members in ranked]
    assert keys == sorted(keys)


def test_a_network_is_fed_in_other_ways_but_never_in_its_own_again():
    base = portfolio.default_candidate("base")
    space = Space(image_scales=[1.0, 1.3], image_sizes=[288, 320])
    found = list(portfolio.other_inputs(space, base, 224))
    sizes = [one.image_size for one in found if one.image_size]
    assert sizes == [288, 320]
    assert base not in found
    assert {(one.views, one.augment) for one in found} == {(1, "none"), (3, "light"), (3, "strong")}
