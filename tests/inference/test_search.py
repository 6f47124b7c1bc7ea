"""The schedule: every function and every bucket gets its turns, in proportion to its weight, and nothing is tried twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from inference.edits import Candidate
from inference.localization import Suspect
from inference.schedule import Schedule, edits_of, trial_unit, unit_of
from inference.search import EmbeddedProposer, _is_over, _near_misses, _State
from inference.templates import functions, generate

CODE = """\
def first(a, b, c):
    if a < b and b < c:
        return a + b - c
    return a * b + c


def second(a, b, c):
    if a > b or b > c:
        return a - b + c
    return a + b * c


def third(a, b, c):
    while a < b:
        a = a + c
    return a - b
"""
FUNCTIONS = {f.qualname: f for f in functions("code.py", CODE)}


def suspects(*scores: tuple[str, float], exception: str = "") -> list[Suspect]:
    return [Suspect(replace(FUNCTIONS[name], exception=exception), score, 1) for name, score in scores]


def drawn(count: int, *scores: tuple[str, float]) -> list[Candidate]:
    return Schedule(suspects(*scores)).draw(count)


def by_function(candidates: list[Candidate]) -> Counter[str]:
    return Counter(c.function.qualname for c in candidates)


def test_a_hundredth_of_the_suspicion_still_gets_a_turn() -> None:
    counts = by_function(drawn(1500, ("first", 1.0), ("second", 0.4), ("third", 0.2)))
    assert min(counts[name] for name in ("first", "second", "third")) >= 5


def test_more_suspicion_gets_more_turns() -> None:
    counts = by_function(drawn(120, ("first", 1.0), ("second", 0.5), ("third", 0.25)))
    assert counts["first"] > counts["second"] > counts["third"] > 0


def test_turns_follow_the_weights() -> None:
    """Equal suspicion: the second place has the share of one to two to the power of 0.6."""
    counts = by_function(drawn(90, ("first", 1.0), ("second", 1.0)))
    assert counts["second"] / counts["first"] == pytest.approx(1 / 2**0.6, rel=0.15)


def test_the_module_gets_few_turns_because_each_costs_an_import() -> None:
    counts = by_function(drawn(150, ("first", 1.0), ("<module>", 1.0)))
    assert counts["<module>"] < 0.15 * counts["first"]


def test_the_module_gets_fewer_turns_still_where_functions_are_judged_in_process() -> None:
    schedule = Schedule(suspects(("first", 1.0), ("<module>", 1.0)))
    schedule.slow_modules(6.0)
    assert by_function(schedule.draw(300))["<module>"] < 8


def test_composed_expressions_get_a_share_beside_the_typed_edits_and_do_not_count_as_missing_ones() -> None:
    schedule = Schedule([Suspect(functions("one.py", "def one(xs, n):\n    return n\n")[0], 1.0, 1)])
    drawn = schedule.draw(4000)
    assert schedule.exhausted
    assert drawn[-1].bucket == 6
    assert sum(c.bucket == 6 for c in drawn[:100]) < 25


def test_the_module_gets_more_turns_where_a_name_is_missing() -> None:
    few = by_function(Schedule(suspects(("first", 1.0), ("<module>", 1.0))).draw(100))["<module>"]
    more = by_function(Schedule(suspects(("first", 1.0), ("<module>", 1.0), exception="NameError")).draw(100))["<module>"]
    assert more > 2 * few


def test_cheap_buckets_come_first_and_dear_ones_are_not_starved() -> None:
    counts = Counter(c.bucket for c in drawn(120, ("first", 1.0)))
    assert counts[1] > counts[2] > counts[3] > 0


def test_no_function_gets_a_candidate_twice() -> None:
    texts = [(c.function.qualname, c.apply()) for c in drawn(800, ("first", 1.0), ("second", 0.6)) if c.bucket in (1, 2, 3)]
    assert len(texts) == len(set(texts))


def test_a_schedule_ends_when_everything_was_drawn() -> None:
    source = "def one():\n    return 1\n"
    schedule = Schedule([Suspect(functions("one.py", source)[0], 1.0, 1)])
    drawn_in_all = sum(len(schedule.draw(500)) for _ in range(20))
    assert (schedule.exhausted, schedule.generated, schedule.draw(10)) == (True, drawn_in_all, [])


def test_nothing_suspicious_is_nothing_to_draw() -> None:
    assert Schedule([]).draw(5) == []


def test_a_near_miss_is_tried_with_second_edits() -> None:
    schedule = Schedule(suspects(("first", 1.0)))
    seed = schedule.draw(1)[0]
    schedule.seed(seed)
    pairs = [c for c in schedule.draw(200) if c.bucket == 4 and set(seed.edits) < set(c.edits)]
    assert len(pairs) > 10


def test_near_misses_of_one_function_are_limited() -> None:
    schedule = Schedule(suspects(("first", 1.0)))
    for candidate in schedule.draw(100):
        schedule.seed(candidate)
    assert len(schedule._heap) <= 5 + 12


def test_an_edit_inside_a_function_compiles_the_function_alone() -> None:
    candidate = next(generate(FUNCTIONS["first"], 1))
    assert trial_unit(candidate) == unit_of(FUNCTIONS["first"])


def test_an_edit_outside_the_function_compiles_the_module() -> None:
    function = replace(FUNCTIONS["first"], exception="NameError", message="name 'math' is not defined")
    candidate = next(generate(FUNCTIONS["first"], 1))
    outside = replace(candidate, function=function, edits=(replace(candidate.edits[0], start=0, end=0, new="import math\n"),))
    assert FUNCTIONS["second"].start > 0
    moved = replace(outside, function=FUNCTIONS["second"])
    assert trial_unit(moved).qualname == "<module>"


def test_edits_keep_offsets_and_text() -> None:
    candidate = next(generate(FUNCTIONS["first"], 1))
    ((start, end, new),) = edits_of(candidate)
    assert CODE[:start] + new + CODE[end:] == candidate.apply()


def test_the_proposer_says_that_it_is_the_templates() -> None:
    assert EmbeddedProposer().origin == "templates"


def test_a_pair_that_passes_does_not_end_the_search_while_typed_edits_are_left() -> None:
    schedule = Schedule([Suspect(functions("one.py", "def one(xs, n):\n    return n\n")[0], 1.0, 1)])
    state = _State(schedule, 100.0, 0.0, first=1.0)
    assert not _is_over(state, 50.0, 20.0)
    schedule.draw(4000)
    assert _is_over(state, 50.0, 20.0)


def test_a_typed_edit_that_passes_ends_the_search_a_little_later() -> None:
    state = _State(Schedule(suspects(("first", 1.0))), 100.0, 0.0, first=1.0, typed=1.0)
    assert (_is_over(state, 3.9, 20.0), _is_over(state, 4.1, 20.0)) == (False, True)


def test_what_helped_most_is_told_first_and_once() -> None:
    one, other, *_ = drawn(8, ("first", 1.0))
    found = _near_misses([(1, one), (2, other), (1, one)], 3)
    assert [line.rsplit("(", 1)[1] for line in found] == ["makes 2 of 3 failing tests pass)", "makes 1 of 3 failing tests pass)"]
    edit = other.edits[0]
    assert found[0].startswith(f"code.py:{other.line}: -{CODE[edit.start : edit.end].strip()}")
