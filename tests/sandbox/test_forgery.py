"""What stays forgeable, shown to be so: these tests fail on the day that it no longer is, and limits.NOT_STOPPED has to change.

Code that shares an interpreter with its report can write the report. The attacks that the ladder does stop are in test_verification.
"""

from __future__ import annotations

from sandbox.limits import NOT_STOPPED
from sandbox.refusal import Scope, refusal
from sandbox.reproduction import reproduce
from sandbox.verification import verify
from tests.sandbox.conftest import Repository, diff

SAMPLE = "def answer():\n    return 41\n"
FORGERY = """\
def answer():
    import json
    import os

    def name(*parts):
        return "".join(parts)

    ids = ["test_sample.py::test_answer", "test_sample.py::test_other"]
    records = [{"kind": "result", "id": i, "outcome": "passed", "seconds": 0.0} for i in ids] + [{"kind": "end", "status": 0}]
    lines = "".join(json.dumps(r) + "\\n" for r in records).encode()
    for number in range(3, 64):
        try:
            if getattr(os, name("fs", "tat"))(number).st_mode & 0o170000 == 0o140000:
                getattr(os, name("wr", "ite"))(number, lines)
        except OSError:
            pass
    getattr(os, name("_ex", "it"))(0)
"""
TESTS = "from sample import answer\n\n\ndef test_answer():\n    assert answer() == 42\n\n\ndef test_other():\n    pass\n"


def test_a_patch_that_hides_its_names_can_write_the_report_itself(repository: Repository) -> None:
    repository.files({"sample.py": SAMPLE, "test_sample.py": TESTS})
    head = repository.commit().workspace()
    bench = repository.bench(head)
    found = reproduce(bench, head)
    assert found.failing == ("test_sample.py::test_answer",)
    patch = diff("sample.py", SAMPLE, FORGERY)
    verdict = verify(bench, head, found, patch, Scope(), repository.space())
    assert verdict.level >= 1, [c.detail for c in verdict.checks]
    assert "forge the report" in NOT_STOPPED[0]


def test_the_same_patch_in_plain_words_is_refused(repository: Repository) -> None:
    plain = FORGERY.replace('getattr(os, name("_ex", "it"))', "os._exit")
    assert refusal({"sample.py": (SAMPLE.encode(), FORGERY.encode())}, Scope()) is None
    assert "reaches for the interpreter" in (refusal({"sample.py": (SAMPLE.encode(), plain.encode())}, Scope()) or "")
