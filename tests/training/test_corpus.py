"""The small model's data: generated programs, batches in one sandbox, planted bugs with their answers, the card."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from sandbox.runner import Runner
from training.benchmark.judging import Oracle, make_oracle
from training.benchmark.mbpp import Task
from training.contamination import guard
from training.corpus import REWARDED, CorpusOptions, build_corpus, library_functions, read_bugs, read_documents
from training.corpus_bugs import Checked, Refused, is_right, plant_many, with_attempts
from training.corpus_dialogue import Planted, answer, changed_piece, example, explain, prompt, solve
from training.corpus_execution import Job, execute_many, make_oracles, sides_of
from training.corpus_programs import generate

WRONG = "def largest(v):\n    m = v[0]\n    for x in v:\n        if x < m:\n            m = x\n    return m\n"
RIGHT = WRONG.replace("x < m", "x > m")
BUG = Planted("b", "g", "token", "comparison operator", WRONG, RIGHT, ("assert largest([1, 3]) == 3", "assert largest([5]) == 5"),
              ("assert 1 == 3\n +  where 1 = largest([1, 3])", ""))  # fmt: skip


def test_generated_programs_are_python_fixed_by_their_seed_and_run(runner: Runner) -> None:
    made = [generate(seed) for seed in range(120)]
    assert made == [generate(seed) for seed in range(120)]
    assert len({one.text for one in made}) > 100
    seen = list(execute_many(runner, [Job(one.text, (), one.calls[:2]) for one in made]))
    assert all(one.outcomes.program[0] == "value" for one in seen)
    came = [call for one in seen for call in one.outcomes.calls]
    # A name that was replaced in one place only, or a value of another type than the template wants.
    assert not [call for call in came if call[0] == "exception" and call[1] in ("NameError", "UnboundLocalError", "TypeError")]
    assert sum(call[0] == "value" for call in came) > 0.9 * len(came)


def test_a_batch_tells_programs_apart_and_outlives_those_that_die(runner: Runner) -> None:
    first = Job("def f(a):\n    return a[0]\n", ("assert f([1]) == 1", "assert f([2]) == 1", "assert f([]) == 1"), ("f([7])", "f([])"))
    jobs = [first, Job("import os\nos._exit(0)\n", ("assert True",)), Job("def f(:\n", ("assert True",)),
            Job("def f():\n    while True:\n        pass\n", ("assert f()", "assert True")), first]  # fmt: skip
    seen = list(execute_many(runner, jobs))
    assert seen[0].messages == ("", "assert 2 == 1\n +  where 2 = f([2])", "IndexError: list index out of range\n> return a[0]")
    assert seen[0].outcomes.calls == (["value", 7], ["exception", "IndexError"])
    assert seen[0].passed() == 1
    assert seen[1].outcomes.program[0] == "dead"
    assert seen[2].outcomes.program == ["exception", "SyntaxError"]
    assert seen[3].messages[0] == "it does not end"
    assert seen[4] == seen[0]


def test_a_program_cannot_write_into_the_others_reports(runner: Runner) -> None:
    forging = ("import os\nfor n in range(3, 64):\n    try:\n        os.write(n, b'{}\\n{}\\n')\n    except OSError:\n        pass\n"
               "def f():\n    return 1\n")  # fmt: skip
    seen = list(execute_many(runner, [Job(forging, ("assert f() == 1",)), Job("def f():\n    return 1\n", ("assert f() == 1",))]))
    assert seen[1].messages == ("",)


def test_oracles_of_a_batch_are_the_benchmarks(runner: Runner, task: Task, oracle: Oracle) -> None:
    assert make_oracles(runner, [task], 0) == {task.id: oracle} == {task.id: make_oracle(runner, task.program, task.asserts, 0)[0]}


def test_the_two_sides_of_an_assert() -> None:
    assert sides_of("assert f(1) == [2, 3]") == ["f(1)", "[2, 3]"]
    assert sides_of("assert f(1) in (2, 3)") == ["f(1) in (2, 3)", "True"]
    assert sides_of("f(1)") is sides_of("assert (") is None


@pytest.mark.parametrize(
    ("wrong", "right", "part"),
    [
        ("return a - b", "return a + b", "`-` has to be `+`"),
        ("return f(a, b)", "return f(b, a)", "`a, b` has to be `b, a`"),
        ("return not a", "return a", "`return not` has to be `return`"),
        ("return a", "return a[0]", "`a` has to be `a[0]`"),
        ("if n < 10:", "if n < 100:", "`10` has to be `100`"),
    ],
)
def test_an_explanation_says_what_has_to_become_what(wrong: str, right: str, part: str) -> None:
    assert explain(wrong, right, ()) == f"The result is wrong. {part}."


def test_an_explanation_says_what_was_seen() -> None:
    assert explain(WRONG, RIGHT, BUG.messages) == "It gives 1 instead of 3. `<` has to be `>`."
    assert explain(WRONG, RIGHT, ("TypeError: no\n> x",)).startswith("It raises TypeError. ")
    assert explain(WRONG, RIGHT, ("", "it does not end")).startswith("It does not end. ")
    assert explain(WRONG, RIGHT + "# more\n", ()) == ""


def test_the_answer_is_read_back_by_productions_parser() -> None:
    text = answer(WRONG, RIGHT, BUG.messages)
    assert text is not None
    solved = solve(BUG, text)
    assert solved.text == RIGHT
    assert text[: solved.explanation_end] == explain(WRONG, RIGHT, BUG.messages)
    assert solve(BUG, "nonsense").text is None
    assert solve(BUG, text.replace("=======\n >", "=======\n <")).trouble == "the changes change nothing"
    assert answer(WRONG, RIGHT + "# two\n# lines\n", ()) is None


@pytest.mark.parametrize(("wrong", "right", "piece"), [
    ("for x in v:\n    if x < k:\n        return x\n", "for x in v:\n    if x > k:\n        return x\n", (" <", " >")),
    ("a = x + 1\nb = x + 1\n", "a = x + 1\nb = x - 1\n", ("b = x + 1", "b = x - 1")),
    ("return f(g(x))\n", "return f(x)\n", ("g(x))", "x)")), ("x=y\n", "x=y\nz=1\n", None),
])  # fmt: skip
def test_a_piece_is_as_small_as_it_can_stand_once(wrong: str, right: str, piece: tuple[str, str] | None) -> None:
    assert changed_piece(wrong, right) == piece


def test_the_dialogue_shows_the_code_what_failed_and_what_was_tried() -> None:
    asked, told = example(Planted(**{**BUG.__dict__, "tried": (answer(WRONG, WRONG.replace("v[0]", "v[1]"), ()), ("IndexError: x", ""))}))  # type: ignore[misc]
    assert [m.role for m in asked] == ["user", "assistant", "user", "assistant", "user"]
    assert WRONG.strip() in asked[1].content
    assert "where 1 = largest([1, 3])" in asked[2].content
    assert "test_second" not in asked[2].content
    assert "`0` has to be `1`" in asked[3].content
    assert asked[4].content.startswith("Your patch was refused: test_first fails.")
    assert told.startswith("It raises IndexError. `<` has to be `>`.")
    assert "could not be used: it is empty" in prompt(BUG, [("", "it is empty")])[-1].content


def test_bugs_are_planted_where_asserts_notice_them(runner: Runner) -> None:
    program = Checked("p", RIGHT, (*BUG.asserts, "assert largest([2, 9, 4]) == 9"))
    refused = Refused()
    found = plant_many(runner, [program], ("token", "expression"), 2, 1, refused)
    assert {one.kind for one in found} == {"token", "expression"}
    for one in found:
        assert one.wrong != one.right == RIGHT
        assert any(one.messages)
        assert one.hidden == program.asserts[2:]
        assert solve(one, answer(one.wrong, one.right, one.messages) or "").text == RIGHT
    tried = with_attempts(runner, found, ("token",), 1)
    assert tried
    assert all(one.tried is not None and any(one.tried[1]) for one in tried)


def test_right_is_what_shown_hidden_and_held_back_calls_say(runner: Runner) -> None:
    oracle = Oracle("assert largest([2, 9]) == 9", ("largest([4, 7])",), (["value", 7],))

    def judged(program: str) -> bool:
        [seen] = execute_many(runner, [Job(program, (*BUG.asserts, oracle.hidden), oracle.calls)])
        return is_right(seen, oracle, 2)

    assert judged(RIGHT)
    assert not judged(WRONG)
    assert not judged("def largest(v):\n    return {1: 3, 5: 5, 2: 9}.get(v[0], 0)\n")


def test_the_librarys_functions_are_short_and_not_the_evaluations() -> None:
    options = CorpusOptions(library=40, longest=300)
    found = library_functions(options, guard({}))
    assert len(found.programs) == 40
    assert all(len(text) <= 300 and text.startswith(("def ", "@")) and ast.parse(text) for text in found.programs)
    barred = library_functions(options, guard({"named": found.programs[:5]}))
    assert not set(found.programs[:5]) & set(barred.programs)
    assert found.card()["sha256"] != barred.card()["sha256"]


def test_the_corpus_keeps_its_splits_apart_and_says_where_it_is_from(runner: Runner, tmp_path: Path) -> None:
    options = CorpusOptions(programs=24, rewarded_programs=8, library=5, each=1, mbpp_each=1, rewarded_from=965, longest=90)
    card = build_corpus(runner, options, tmp_path)
    learned, held = read_bugs(tmp_path / "bugs_sft.jsonl"), read_bugs(tmp_path / REWARDED)
    assert learned
    assert held
    assert not {one.group for one in learned} & {one.group for one in held}
    assert not {one.right for one in held} & set(read_documents(tmp_path))
    assert set(card["sources"]) == {"library", "generated", "mbpp"}
    assert all(len(one["sha256"]) == 64 and one["licence"] for one in card["sources"].values())
    assert json.loads((tmp_path / "card.json").read_text())["bugs to learn from"]["bugs"] == len([b for b in learned if b.tried is None])
    assert build_corpus(runner, CorpusOptions(programs=1), tmp_path) == json.loads((tmp_path / "card.json").read_text())
