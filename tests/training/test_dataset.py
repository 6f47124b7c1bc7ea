"""What is learned from trajectories and what is not; damaged files cost their own lines and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inference.prompt import render_prompt
from inference.trajectory import Feedback, Trajectory, write_trajectories
from tests.training.trajectories import BECAUSE, CONTEXT, PATCH, WRONG, round_of, trajectory, verdict
from training.census import Census, is_held_out, read_all
from training.dataset import examples_of, tokenized
from training.encoder import LexicalEncoder
from training.references import code_after, group_of, verified_of
from training.rewarded import RewardOptions, attempt_of, rollouts_of
from training.tokens import Tokens


def write(path: Path, *trajectories: Trajectory, more: str = "") -> Path:
    path.write_text("".join(write_trajectories(trajectories)) + more, encoding="utf-8")
    return path


def test_every_damage_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = list(write_trajectories([trajectory("a"), trajectory("b"), trajectory("c")]))
    newer = lines[1].replace('"format":"1.0"', '"format":"2.0"')
    text = lines[0] + newer + '{"format": "1.0", "id": 3}\n' + "[]\n\n" + lines[0] + lines[2] + lines[1][: len(lines[1]) // 2]
    (tmp_path / "bad.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00\n" + lines[1].encode())
    gone = trajectory("d", problem=replace(trajectory().problem, tree="trees/gone.tar.gz"))
    write(tmp_path / "gone.jsonl", gone)
    census = Census()
    found = list(read_all([tmp_path], census))
    assert [one.id for one in found] == ["a", "c", "b", "d"]
    assert found[-1].problem.tree is None
    assert census.counts == {"trajectories": 4, "trajectories whose tree is gone": 1}
    assert census.left_out == {"format of another version": 1, "no trajectory": 2, "the same trajectory again": 1,
                               "line is no JSON (cut?)": 2}  # fmt: skip
    assert any("format of another version: 1 (first: bad.jsonl:2" in line for line in census.lines())


def test_of_several_exports_of_a_trajectory_the_newest_judgement_counts(tmp_path: Path) -> None:
    applied, reverted = Feedback("applied", 1.0), Feedback("reverted", 2.0)
    write(tmp_path / "1.jsonl", trajectory("a", feedback=(applied,)), trajectory("b", feedback=(applied, reverted)), trajectory("c"))
    write(tmp_path / "2.jsonl", trajectory("a", feedback=(applied, reverted)), trajectory("b", feedback=(applied,)))
    census = Census()
    found = {one.id: [said.kind for said in one.feedback] for one in read_all([tmp_path], census)}
    assert found == {"a": ["applied", "reverted"], "b": ["applied", "reverted"], "c": []}
    assert (census.counts["trajectories"], census.left_out["the same trajectory again"]) == (3, 2)


def test_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    census = Census()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
    assert list(read_all([tmp_path], census)) == []
    assert census.left_out == {"file cannot be read": 1}


def test_the_three_tasks_are_made_from_one_verified_round() -> None:
    solved = replace(trajectory().problem, task="Add two numbers.", extra={"solution": WRONG.replace("-", "+")})
    one = trajectory(problem=solved)
    generate, refine, explain = examples_of([one], Census())
    assert [generate.kind, refine.kind, explain.kind] == ["generate", "refine", "explain"]
    assert refine.messages == render_prompt(CONTEXT, (), "refine")
    assert explain.messages == render_prompt(CONTEXT, (), "explain")
    assert explain.completion == round_of().completion
    assert BECAUSE not in refine.completion
    assert refine.completion.startswith("solution.py\n<<<<<<< SEARCH")
    assert generate.completion.startswith("```python\ndef add")


def test_only_verified_rounds_are_imitated_and_each_once() -> None:
    wrong = trajectory("wrong", round_of(verdict=verdict(False)), round_of(verdict=None))
    census = Census()
    assert list(examples_of([wrong, trajectory("no dialogue", round_of(messages=()))], census)) == []
    assert census.left_out == {"no verified round with its dialogue": 2}
    assert len(list(examples_of([trajectory("a"), trajectory("b")], Census()))) == 2


def test_no_loss_is_taken_on_the_prompt_and_its_wrong_code(tokens: Tokens) -> None:
    examples = list(examples_of([trajectory()], Census()))
    rows = tokenized(examples, tokens, 4096, Census())
    for row, example in zip(rows, examples, strict=True):
        learned = [token for token, mask in zip(row["input_ids"], row["completion_mask"], strict=True) if mask]
        assert learned[-1] == tokens.end
        assert tokens.decode(learned) == example.completion
        masked = tokens.decode([token for token, mask in zip(row["input_ids"], row["completion_mask"], strict=True) if not mask])
        assert WRONG.strip() in masked


def test_a_prompt_of_fifty_thousand_tokens_is_left_out_unread(tokens: Tokens) -> None:
    [example, _] = examples_of([trajectory()], Census())
    long = replace(example, messages=(replace(example.messages[0], content="x = 1\n" * 50_000), *example.messages[1:]))
    census = Census()
    assert len(tokenized([long, example], tokens, 4096, census)) == 1
    assert census.left_out == {"longer than the model's context": 1}


def test_the_prompt_is_token_for_token_the_samplers(tiny: Path, tokens: Tokens) -> None:
    import time

    from inference.model import Options
    from inference.model.transformers import TransformersSampler

    messages = render_prompt(CONTEXT, (), "explain")
    answer = TransformersSampler(tiny, device="cpu").sample(messages, Options(max_tokens=1, logprobs=True), time.monotonic() + 60)
    assert list(answer.prompt_token_ids or ()) == tokens.prompt(messages)


def test_code_is_compared_as_it_reads_after_the_patch() -> None:
    assert code_after(PATCH).rstrip() == "def add(a, b):\n    return a + b"


def test_references_come_from_all_attempts_at_the_same_wrong_code() -> None:
    merged = Feedback("edited", 1.0, human_patch=PATCH.replace("a + b", "b + a"))
    other = trajectory("other", round_of("It should add."), feedback=(merged,))
    elsewhere = trajectory("elsewhere", problem=replace(trajectory().problem, head_sha="b" * 40))
    found = verified_of([trajectory(), other, elsewhere, trajectory("bad", round_of("Nonsense.", verdict=verdict(False)))])
    assert len(found) == 2
    references = found[group_of(trajectory())]
    assert references.explanations == (BECAUSE, "It should add.")
    assert [("b + a" in code) for code in references.refinements] == [False, True]


def test_a_round_is_read_for_the_rewards() -> None:
    attempt = attempt_of(round_of(verdict=verdict(False, passed=1), extra={"hidden": [3, 50]}))
    assert (attempt.passed, attempt.total, attempt.hidden_passed, attempt.hidden_total) == (1, 2, 3, 50)
    assert attempt.refused_by is None, "failing tests are graded by their share"
    assert attempt_of(round_of(verdict=verdict(False, "test_changes"))).refused_by == "test_changes"
    assert attempt_of(round_of(verdict=None)).passed == 0


def test_right_and_wrong_rounds_become_rollouts_with_both_rewards(tokens: Tokens) -> None:
    wrong = round_of("The test is wrong.", verdict=verdict(False, passed=0), patch=PATCH.replace("a + b", "a * b"))
    census = Census()
    right, failed = rollouts_of([trajectory("t", round_of(), wrong)], tokens, LexicalEncoder(), RewardOptions(), 4096, census)
    assert right.reward.refinement == pytest.approx(5.0)
    assert right.reward.explanation == pytest.approx(5.0)
    assert failed.reward.refinement < 0
    assert right.explanation_end is not None
    # The token that holds the explanation's last character: neither the one before it nor the line ends behind.
    end = right.explanation_end
    assert BECAUSE in tokens.decode(right.completion_ids[: end + 1])
    assert BECAUSE not in tokens.decode(right.completion_ids[:end])
    assert (right.right, failed.right, right.group == failed.group) == (True, False, True)
    assert census.counts["rollouts"] == 2


def test_an_empty_verified_set_and_a_round_without_dialogue_are_left_out(tokens: Tokens) -> None:
    census = Census()
    lonely = trajectory("lonely", round_of(verdict=verdict(False)), round_of(verdict=None, messages=()))
    assert rollouts_of([lonely], tokens, LexicalEncoder(), RewardOptions(), 4096, census) == []
    assert sum(census.left_out.values()) == 2
    gated = rollouts_of([lonely], tokens, LexicalEncoder(), RewardOptions("gated"), 4096, Census())
    assert len(gated) == 1


def test_a_patch_that_nobody_judged_is_neither_right_nor_wrong(tokens: Tokens) -> None:
    unjudged = round_of(verdict=None, patch=PATCH.replace("a + b", "b + a"))
    flaky = round_of(verdict=verdict(False, "control"), patch=PATCH.replace("a + b", "sum((a, b))"))
    again = round_of("It has to add.", verdict=None)  # the patch of the first round, which was run once for both
    unread = round_of(verdict=None, patch="", extra={"refused": "no_edits"})
    census = Census()
    one = trajectory("t", round_of(), unjudged, flaky, again, unread)
    for name in ("paper", "gated"):
        found = rollouts_of([one], tokens, LexicalEncoder(), RewardOptions(name), 4096, census)
        assert [rollout.right for rollout in found] == [True, True, False]
        assert found[1].reward.refinement == found[0].reward.refinement
    assert census.left_out == {"nobody has judged this patch": 2, "its tests are flaky": 2}
    assert verified_of([one])[group_of(one)].explanations == (BECAUSE, "It has to add.")
    assert len(list(examples_of([one], Census()))) == 3  # the same refinement after two explanations


def test_what_people_refused_is_no_reference_and_not_imitated_whoever_wrote_it() -> None:
    other = round_of("It has to add.", patch=PATCH.replace("a + b", "b + a"))
    one = trajectory("t", round_of(), round_of("Add!"), other, feedback=(Feedback("rejected", 1.0, "wrong"),))
    references = verified_of([one])[group_of(one)]
    assert ["b + a" in code for code in references.refinements] == [True]
    assert references.explanations == ("It has to add.",)
    census = Census()
    assert all("It has to add." in e.completion or e.kind == "refine" for e in examples_of([one], census))
    assert census.left_out == {"people refused it": 2}


def test_what_was_refused_before_it_ran_is_refused_for_the_rewards() -> None:
    assert attempt_of(round_of(verdict=None, extra={"refused": "forbidden"})).refused_by == "forbidden"
    assert attempt_of(round_of(extra={"refused": "forbidden"})).refused_by is None, "the verdict is the last word"


def test_each_language_is_compared_by_its_own_grammar() -> None:
    for path, language in (("a.go", "go"), ("src/a.rs", "rust"), ("a.mjs", "javascript"), ("A.java", "java"), ("a.py", "python"),
                           ("a.cobol", "python")):  # fmt: skip
        assert attempt_of(round_of(patch=PATCH.replace("solution.py", path))).language == language


def test_token_ids_of_another_tokenizer_are_not_used(tokens: Tokens) -> None:
    own = tokens.completion(round_of().completion or "")
    for ids, kept in ((tuple(own), True), ((1, 2, 3), False), ((*own, 10**12), False), ((-1, *own), False), ((), False)):
        recorded = round_of(token_ids=ids, logprobs=(-0.5,) * len(ids))
        [rollout] = rollouts_of([trajectory("t", recorded)], tokens, LexicalEncoder(), RewardOptions(), 4096, Census())
        assert rollout.completion_ids == tuple(own)
        assert (rollout.logprobs is not None) is kept


def test_the_split_is_by_repository_and_stays() -> None:
    names = [f"owner/{n}" for n in range(1000)]
    held = {name for name in names if is_held_out(name, 0.2)}
    assert 150 < len(held) < 250
    assert held == {name for name in names if is_held_out(name, 0.2)}
    assert {name for name in names if is_held_out(name, 0.1)} < held
