"""Which plausible patch comes first: clusters of like behaviour by their summed likelihood, one of each cluster before any second."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inference.choice import Plausible, arrange, cost
from inference.edits import Candidate, Edit, FunctionSource
from sandbox.candidates import Unit

FUNCTION = FunctionSource("f.py", "def f(a):\n    return a - 1\n", "f", 0, 27)


def plausible(name: str, score: float, behaviour: str | None) -> Plausible:
    candidate = Candidate(FUNCTION, (Edit(21, 26, name),), name, 1, 0.0, 2)
    return Plausible(candidate, Unit("f.py", "f", 0, 27), ((21, 26, name),), score, behaviour)


def names(found: list[Plausible]) -> list[str]:
    return [p.candidate.template for p in found]


def test_nothing_is_nothing() -> None:
    assert arrange([]) == []


def test_without_behaviours_the_likeliest_comes_first() -> None:
    assert names(arrange([plausible("a", -3, None), plausible("b", -1, None), plausible("c", -2, None)])) == ["b", "c", "a"]


def test_patches_that_act_alike_outvote_a_single_one() -> None:
    found = [plausible("alone", -1.0, "x"), plausible("one", -1.2, "y"), plausible("two", -1.3, "y"), plausible("three", -1.4, "y")]
    assert names(arrange(found))[0] == "one"


def test_a_single_patch_stays_first_where_it_is_much_likelier() -> None:
    found = [plausible("alone", 0.0, "x"), plausible("one", -3.0, "y"), plausible("two", -3.0, "y")]
    assert names(arrange(found))[0] == "alone"


def test_more_than_two_that_act_alike_weigh_no_more_than_two() -> None:
    found = [plausible("alone", 0.0, "x"), *(plausible(f"m{n}", -1.0, "y") for n in range(40))]
    assert names(arrange(found))[0] == "alone"


def test_one_patch_of_each_behaviour_comes_before_any_second() -> None:
    found = [
        plausible("a1", -1, "a"),
        plausible("a2", -1.1, "a"),
        plausible("b1", -5, "b"),
        plausible("b2", -6, "b"),
        plausible("c1", -9, "c"),
    ]
    assert names(arrange(found)) == ["a1", "b1", "c1", "a2", "b2"]


def test_the_score_of_a_cluster_is_the_logarithm_of_its_summed_likelihood() -> None:
    first = arrange([plausible("a", -1.0, "x"), plausible("b", -2.0, "x")])[0]
    assert first.score == pytest.approx(math.log(math.exp(-1) + math.exp(-2)))


def test_other_behaviours_are_counted_for_everyone() -> None:
    found = [plausible("a", -1, "x"), plausible("b", -2, "x"), plausible("c", -3, "y"), plausible("d", -4, None)]
    assert {p.alternatives for p in arrange(found)} == {2}


def test_a_behaviour_that_is_not_known_is_like_no_other() -> None:
    found = [plausible("a", -1.0, None), plausible("b", -1.0, None), plausible("c", -0.9, "x")]
    assert names(arrange(found))[0] == "c"


def test_very_unlikely_patches_are_still_ordered() -> None:
    assert names(arrange([plausible("a", -700.0, None), plausible("b", -690.0, None)])) == ["b", "a"]


@pytest.mark.parametrize(("less", "more"), [
    ({"bucket": 1}, {"bucket": 2}), ({"bucket": 2}, {"bucket": 4}), ({"cost": 0.1}, {"cost": 0.2}),
    ({"edits": (Edit(21, 22, "-a"),)}, {"edits": (Edit(21, 22, "a if a else a"),)}),
    ({"edits": (Edit(25, 26, "2"),)}, {"edits": (Edit(21, 22, "2"),)}),  # the parameter is left unread
    ({"template": "drop-index"}, {"template": "strengthen"}),
    ({"edits": (Edit(23, 24, "+"),)}, {"edits": (Edit(14, 26, "x"),)}),
])  # fmt: skip
def test_what_is_less_likely_costs_more(less: dict[str, object], more: dict[str, object]) -> None:
    base = plausible("x", 0, None).candidate
    assert cost(replace(base, **less)) < cost(replace(base, **more))  # type: ignore[arg-type]


def test_a_template_with_many_candidates_passes_by_luck_more_easily() -> None:
    candidate = plausible("name", 0, None).candidate
    assert cost(candidate, {"name": 40}) > cost(candidate, {"name": 2}) > cost(candidate)


def test_a_model_s_candidate_is_not_weighed_like_a_template_s() -> None:
    candidate = replace(plausible("model", 0, None).candidate, bucket=0, edits=(Edit(25, 26, "2"),))
    assert cost(candidate, {"model": 40}) == pytest.approx(candidate.cost + 2.01)
