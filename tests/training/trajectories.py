"""Valid trajectories, made from what a test changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inference.completion import Parsed, parse_completion, render_completion
from inference.context import Context, Excerpt
from inference.prompt import PROMPT_VERSION, render_prompt
from inference.text_edits import TextEdit
from inference.trajectory import RecordedEnvironment, RecordedFailure, RecordedProblem, Round, Trajectory

WRONG = "def add(a, b):\n    return a - b\n"
BECAUSE = "add subtracts b, and the test wants the sum."
FIX = TextEdit("solution.py", "    return a - b\n", "    return a + b\n")
PATCH = """\
--- a/solution.py
+++ b/solution.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a - b
+    return a + b
"""
_CODE = Excerpt("solution.py", 1, WRONG.rstrip(), "called by the test")
_TEST = Excerpt("test_solution.py", 3, "def test_first():\n    assert add(1, 2) == 3", "fails")
CONTEXT = Context("Add two numbers.", (_CODE,), (_TEST,), ("assert -1 == 3",))


def verdict(accepted: bool = True, refused_by: str | None = "target", passed: int = 2) -> dict[str, Any]:
    counts = {"before": {"passed": 0, "failed": 2, "total": 2}, "after": {"passed": passed, "failed": 2 - passed, "total": 2}}
    return {"level": "V4" if accepted else "V0", "refused_by": None if accepted else refused_by, "counts": counts, "checks": []}


def round_of(explanation: str = BECAUSE, edit: TextEdit = FIX, **changes: Any) -> Round:
    text = render_completion(explanation, [edit])
    parsed = parse_completion(text, "explain")
    assert isinstance(parsed, Parsed)
    made = Round("model", PATCH, verdict(), PROMPT_VERSION, render_prompt(CONTEXT, (), "explain"), text, parsed.explanation_span,
                 parsed.refinement_span)  # fmt: skip
    return replace(made, **changes)


def trajectory(name: str = "t1", *rounds: Round, **changes: Any) -> Trajectory:
    problem = RecordedProblem("mbpp/601", None, "a" * 40, RecordedEnvironment("3.11"), "pytest",
                              (RecordedFailure("test_solution.py::test_first", "AssertionError", "assert -1 == 3"),))  # fmt: skip
    return replace(Trajectory(name, problem, rounds or (round_of(),), 0), **changes)
