"""Which plausible patch comes first: clusters of like behaviour by their summed likelihood, one of each cluster before any second."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from inference.choice import Plausible, arrange, best, is_doubtful, weakness
from inference.edits import Candidate, Edit, FunctionSource
from inference.prior import WEIGHTS, cost, crowd_of, terms
from inference.proposer import Proposal
from inference.templates import functions, generate
from sandbox.candidates import Unit
from sandbox.verification import Counts, Verdict

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


def verified(level: int) -> Verdict:
    return Verdict(level, None, (), 3, Counts(4, 1, 5), Counts(5, 0, 5), 1.0)


def proposal(origin: str = "templates", patch: bytes = b"+a\n", level: int = 4, **more: Any) -> Proposal:
    return Proposal(patch, "", origin, 0.0, verdict=verified(level), **more)


def test_of_nothing_accepted_nothing_is_best() -> None:
    assert best([]) is None


@pytest.mark.parametrize(("better", "worse"), [
    (proposal(level=4), proposal("model", level=3)),
    (proposal("model", level=4), proposal(level=3)),
    (proposal("model", alternatives=0), proposal(alternatives=2)),
    (proposal("model", b"+a\n"), proposal("templates", b"+a\n+b\n-c\n")),
    (proposal("templates", level=3, alternatives=3), proposal("model", level=2)),
])  # fmt: skip
def test_the_better_of_two_origins_wins_in_either_order(better: Proposal, worse: Proposal) -> None:
    assert best([worse, better]) is better
    assert best([better, worse]) is better


def test_the_earlier_wins_among_equals() -> None:
    first, second = proposal("templates", b"+a\n"), proposal("model", b"+b\n")
    assert best([first, second]) is first


@pytest.mark.parametrize("agreeing", [{"patch": b"+a\n"}, {"patch": b"+other\n", "alike": (b"+a\n",)}])
def test_what_two_origins_agree_on_beats_a_higher_rung(agreeing: dict[str, Any]) -> None:
    one, alone = proposal("templates", level=3), proposal("templates", b"+alone\n", level=4)
    assert best([alone, one, proposal("model", level=3, **agreeing)]) in (one, proposal("model", level=3, **agreeing))


def test_a_patch_that_acts_like_another_origin_s_second_choice_beats_its_first() -> None:
    first, second = proposal("templates", b"+a\n"), proposal("model", b"+b\n+c\n", level=3, alike=(b"+other\n",))
    assert best([first, second]) is second
    assert best([first, replace(second, alike=())]) is first


def test_one_name_of_a_behaviour_by_two_origins_is_no_agreement() -> None:
    """Each names what it saw on inputs of its own: two different functions of few answers could have one name."""
    low, high = proposal("templates", level=3, behaviour="x"), proposal("model", b"+c\n", level=4)
    other = proposal("model", b"+b\n", level=3, behaviour="x")
    assert best([low, other, high]) is high


def test_agreement_within_one_origin_is_none() -> None:
    low, twin, high = proposal(level=3), proposal(patch=b"+a\n", level=3), proposal("model", b"+c\n", level=4)
    assert best([low, twin, high]) is high


@pytest.mark.parametrize(("given", "doubtful"), [
    (proposal(level=4, alternatives=9), False), (proposal(level=3, alternatives=1), True), (proposal(level=3), False),
    (replace(proposal(), verdict=None), True),
    (proposal(level=3, alternatives=9, score=0.95), False), (proposal(level=4, score=0.4), True),
])  # fmt: skip
def test_a_dearer_proposer_is_asked_where_what_was_found_is_doubtful(given: Proposal, doubtful: bool) -> None:
    assert is_doubtful(given) is doubtful


@pytest.mark.parametrize(("given", "asked", "said"), [
    (proposal(score=0.49), 0.5, "estimated probability of 0.49, and 0.5 is asked for"), (proposal(score=0.5), 0.5, None),
    (proposal(score=0.01), 0.0, None), (proposal(level=3, alternatives=2), 0.0, None),
    (proposal("model", level=3, alternatives=2), 0.5, "nobody has measured"), (proposal("model", level=4, alternatives=2), 0.99, None),
])  # fmt: skip
def test_a_weak_patch_is_withheld_with_a_reason(given: Proposal, asked: float, said: str | None) -> None:
    found = weakness(given, asked)
    assert found is None if said is None else found is not None and said in found


def test_a_literal_of_its_own_is_told() -> None:
    candidate = plausible("x", 0, None).candidate
    assert terms(replace(candidate, edits=(Edit(25, 26, "2"),)))["literals"] == 1
    assert terms(replace(candidate, edits=(Edit(25, 26, "a"),)))["literals"] == 0
    assert terms(replace(candidate, edits=(Edit(25, 26, "0"),)))["literals"] == 0


def test_the_cost_is_the_weighed_sum_of_its_terms() -> None:
    candidate = replace(plausible("strengthen", 0, None).candidate, cost=0.5)
    crowd = {"strengthen": 7}
    assert cost(candidate, crowd) == pytest.approx(sum(WEIGHTS[name] * value for name, value in terms(candidate, crowd).items()))


def test_a_first_member_tells_how_it_stands_among_the_others() -> None:
    found = arrange([plausible("a1", -1, "a"), plausible("a2", -2, "a"), plausible("b", -3, "b")])
    a, b, second = found
    weight = math.log(math.exp(-1) + math.exp(-2))
    assert a.signals == pytest.approx({"margin": weight + 3, "share": math.exp(weight) / (math.exp(weight) + math.exp(-3)),
                                       "members": 2, "agreement": weight + 1})  # fmt: skip
    assert b.signals["margin"] == pytest.approx(-3 - weight)
    assert a.signals["share"] + b.signals["share"] == pytest.approx(1)
    assert second.signals == {}


def test_what_has_no_rival_has_the_whole_share() -> None:
    (only,) = arrange([plausible("a", -900.0, "a")])
    assert only.signals["share"] == 1
    assert only.signals["margin"] > 10


@pytest.mark.parametrize("code", ["def last(items):\n    return items[1]\n", "def last(items):\n    return items[0]\n"])
def test_a_number_that_fits_the_shown_tests_alone_comes_behind_what_generalises(code: str) -> None:
    function = next(f for f in functions("f.py", code) if f.qualname == "last")
    crowd = crowd_of(function)
    costs = {c.apply().rsplit("return ", 1)[-1].strip(): cost(c, crowd) for c in generate(function, 1)}
    assert costs["items[-1]"] < costs["items[2]"]
