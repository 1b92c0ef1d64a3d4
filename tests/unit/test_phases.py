import itertools
import json

import pytest

from dither.arch.isa import Rule
from dither.recipe import Recipe
from dither.recipe.phases import Phase, Plateau, parse_phase, parse_phases, phase_text


def test_a_phase_changes_what_its_text_names() -> None:
    first = Recipe(estimator="tensorwise", rate=0.01)
    end, changed = parse_phase("after=400,estimator=coordinate,probes=1,rate=0.001,rule=sign", first)
    assert end == {"steps": 400}
    assert (changed.estimator, changed.probes, changed.rate, changed.rule) == ("coordinate", 1, 0.001, Rule.SIGN)
    assert changed.batch == first.batch
    assert parse_phase("after=plateau:3,rate=0.5", first)[0] == {"plateau": 3}
    assert parse_phase("after=plateau", first)[0] == {"plateau": 5}
    assert parse_phase("after=1,probes=1:4,estimator=layerwise", first)[1].probes == (1, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("after", "'after' is no NAME=VALUE"),
        ("rate=0.1", "after= says no end of a phase"),
        ("after=soon", "after=soon says no end of a phase; give after=STEPS or after=plateau"),
        ("after=3,speed=9", "the recipe has no field 'speed'"),
        ("after=3,batch=9", "batch must be the same in all phases"),
        ("after=3,tile=9", "tile must be the same in all phases"),
        ("after=0,rate=0.1", "a phase's steps must be a positive integer, not 0"),
        ("after=3,rate=-1", "rate must be a positive number"),
    ],
)
def test_impossible_phases(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_phases(Recipe(), [text])


def test_phases_survive_text_and_json() -> None:
    texts = ["after=40,estimator=coordinate,rate=0.002", "after=plateau:2,shared_probe=true,probes=3"]
    phases = parse_phases(Recipe(), texts)
    assert [phase_text(before, phase) for before, phase in itertools.pairwise(phases)] == [
        "after=40,estimator=coordinate,rate=0.002",
        "after=plateau:2,probes=3,shared_probe=true",
    ]
    assert tuple(Phase.from_dict(json.loads(json.dumps(phase.to_dict()))) for phase in phases) == phases
    assert parse_phases(Recipe(), []) == ()
    with pytest.raises(ValueError, match="not both"):
        Phase(Recipe(), steps=3, plateau=3)


def test_a_plateau_is_no_new_low_for_some_time() -> None:
    plateau = Plateau()
    for loss, stale in ((2.0, 0), (1.0, 0), (0.999, 1), (1.1, 2), (0.9, 0), (0.9, 1)):
        plateau.see(loss)
        assert plateau.stale == stale
