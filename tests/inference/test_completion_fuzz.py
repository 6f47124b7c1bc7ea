"""Whatever a model says: no crash, no path outside of the tree, no forbidden file in a patch that the policy lets through.

``LEDEX_FUZZ_CASES`` sets how many completions are tried; ``make fuzz`` tries 20,000.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.completion import BlockEdit, Malformed, Parsed, TextEdit, apply_edits, parse_completion, render_completion, survives
from inference.context import Excerpt
from inference.patch import unified_diff
from sandbox import WorkspaceError
from sandbox.refusal import Scope, refusal
from sandbox.workspace import Workspace

CASES = int(os.environ.get("LEDEX_FUZZ_CASES", "400"))
FILES = {
    "shop/prices.py": "import math\n\n\ndef total(items):\n    return sum(items) - 1\n"
    "\n\nclass Basket:\n    def total(self):\n        return 2\n",
    "shop/tabs.py": "def rest(a, b):\r\n\treturn a + b\r\n\r\ndef twice(a):\r\n\treturn a\r\n",
    "src/cart.js": "'use strict';\nfunction total(items) {\n  return items.length;\n}\nmodule.exports = { total };\n",
    "docs/rst.py": 'def titled():\n    """Title\n    =======\n    """\n    return 1',
    "empty.py": "",
    "tests/test_prices.py": "def test_total():\n    assert total([1]) == 1\n",
    "conftest.py": "import pytest\n",
    ".github/workflows/ci.yml": "on: push\n",
    "pyproject.toml": "[project]\n",
}
NEVER = {"tests/test_prices.py", "conftest.py", ".github/workflows/ci.yml", "pyproject.toml", "package.json", ".git/config", "tests/new.py"}
OUTSIDE = ["../secret.py", "/etc/passwd", "shop/../../secret.py", "./../secret.py", "a/../../x.py", "C:\\windows\\a.py", "~/x.py",
           ".git/config", ".GIT/hooks/pre-commit.py", "link/secret.py", "linked.py", "shop\\..\\..\\x.py",
           "a\x00b.py", "b//c.py", "x" * 400 + ".py"]  # fmt: skip
PATHS = [*FILES, *OUTSIDE, "package.json", "tests/new.py", "new/module.py", "prices.py", "b/shop/prices.py", "./src/cart.js", "no/such.py",
         ""]  # fmt: skip
LINES = [
    *sorted({line for text in FILES.values() for line in text.split("\n")}), "    return sum(items)",
    "\treturn a - b", "...", "def total(items):", "import os", "=======", ">>>", "```",
    "x = 1  # é", "<|im_end|>", "  ", "@"]  # fmt: skip
MARKS = [
    ("<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"), ("<<<<< search", "=======", ">>>>>>>>> REPLACE"),
    ("  <<<<<<< SEARCH", "  =======", "  >>>>>>> REPLACE"), ("<<<<<<< SEARCH", "", ">>>>>>> REPLACE"),
    ("<<<<<<< HEAD", "=======", ""), ("```\n<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE\n```")]  # fmt: skip
line = st.sampled_from(LINES) | st.text(max_size=20)
lines = st.lists(line, max_size=4).map("\n".join)
existing = st.sampled_from(sorted(FILES.items())).flatmap(
    lambda file: st.tuples(st.just(file[0]), st.integers(0, file[1].count("\n")), st.integers(1, 4)).map(
        lambda cut: (cut[0], "\n".join(file[1].splitlines()[cut[1] : cut[1] + cut[2]]))))  # fmt: skip
path = st.sampled_from(PATHS) | st.text(st.characters(codec="utf-8"), max_size=12)
heading = st.sampled_from(["{}", "**{}**", "### {}:", "File: {}", "`{}`", "I change `{}` here:", "```python {}", "# {}", "a/{}"])


@st.composite
def block(draw: st.DrawFn) -> str:
    where, search = draw(existing) if draw(st.booleans()) else (draw(path), draw(lines))
    replace = draw(lines)
    if draw(st.booleans()):
        where = draw(path)
    named = draw(heading).format(where)
    kind = draw(st.integers(0, 5))
    if kind < 3:
        marks = draw(st.sampled_from(MARKS))
        return "\n".join([named, marks[0], *([search] if search else []), marks[1], *([replace] if replace else []), marks[2]])
    if kind == 3:
        opening, closing = draw(st.sampled_from(["", "python", "js"])), draw(st.sampled_from(["```", "", "````"]))
        return f"{named}\n```{opening}\n{search}\n{replace}\n{closing}"
    if kind == 4:
        old = "\n".join(f"-{one}" for one in search.split("\n"))
        new = "\n".join(f"+{one}" for one in replace.split("\n"))
        return f"```diff\n--- {draw(st.sampled_from(['a/', '', '/dev/null']))}{where}\n+++ b/{where}\n@@ -1 +1 @@\n{old}\n{new}\n```"
    return f"{where}\n{search}\n{replace}"


completion = st.lists(block() | lines | st.text(max_size=60), min_size=1, max_size=5).map("\n\n".join) | st.text(max_size=300)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "secret.py").write_text("SECRET = 1\n")
    root = folder / "tree"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    (root / "link").symlink_to(folder)
    (root / "linked.py").symlink_to(folder / "secret.py")
    return Workspace(root, "tree", tuple(sorted([*FILES, "link", "linked.py"])))


@given(text=completion, finished=st.booleans(), shows=st.booleans())
@settings(max_examples=CASES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_is_said_stays_in_the_tree_and_off_forbidden_files(
    head: Workspace, tmp_path_factory: pytest.TempPathFactory, text: str, finished: bool, shows: bool
) -> None:
    def read(name: str) -> bytes | None:
        try:
            return head.read(name) if head.exists(name) else None
        except WorkspaceError:
            return None

    parsed = parse_completion(text, "explain", finished)
    if isinstance(parsed, Malformed):
        return
    first, last = parsed.refinement_span
    assert 0 <= first < last <= len(text)
    if parsed.explanation_span is not None:
        assert 0 <= parsed.explanation_span[0] < parsed.explanation_span[1] <= first
        assert text[slice(*parsed.explanation_span)] == parsed.explanation == parsed.explanation.strip()
    shown = [Excerpt(name, 1, body, "") for name, body in FILES.items() if name.startswith(("shop", "src"))] if shows else []
    changes = apply_edits(parsed.edits, read, shown)
    if isinstance(changes, Malformed):
        return
    for name in changes:
        pure = PurePosixPath(name)
        assert not pure.is_absolute()
        assert ".." not in pure.parts
        assert ".git" not in [part.lower() for part in pure.parts]
    patch = unified_diff({name: (read(name), after) for name, after in changes.items()})
    if not patch:
        return
    into = tmp_path_factory.getbasetemp() / "overlays"
    into.mkdir(exist_ok=True)
    try:
        patched = head.patched(patch, into)
    except WorkspaceError:  # a link or a folder is in the way
        return
    assert {name: after for name, (_, after) in patched.diff_from(head).items()} == {n: a for n, a in changes.items() if a != read(n)}
    assert (head.root.parent / "secret.py").read_text() == "SECRET = 1\n"
    if refusal(patched.diff_from(head), Scope()) is None:
        assert not NEVER & set(changes)
        assert not any(part.startswith("test") for name in changes for part in PurePosixPath(name).parts)


told = st.text(st.characters(codec="utf-8", exclude_characters="\r<>=`~-"), max_size=80)
edit = st.tuples(st.sampled_from(["shop/prices.py", "src/cart.js"]), lines, lines).filter(lambda e: bool(e[1].strip()))


@given(explanation=told, edits=st.lists(edit, min_size=1, max_size=3))
@settings(max_examples=max(CASES // 4, 50))
def test_what_training_writes_is_read_as_it_was_meant_or_known_not_to_be(explanation: str, edits: list[tuple[str, str, str]]) -> None:
    texts = [TextEdit(*edit) for edit in edits]
    parsed = parse_completion(render_completion(explanation, texts), "explain")
    if survives(explanation, texts):
        assert isinstance(parsed, Parsed)
        assert parsed.edits == tuple(texts)


@given(code=st.text(max_size=200), content=st.binary(max_size=200), name=st.sampled_from(["a.py", "a.js", "a.bin"]))
@settings(max_examples=max(CASES // 4, 50))
def test_any_block_over_any_bytes_is_applied_or_refused(code: str, content: bytes, name: str) -> None:
    for edit in (BlockEdit(name, code), TextEdit(name, code, "x"), TextEdit(name, content.decode("latin-1"), "y\n")):
        changes = apply_edits([edit], {name: content}.get)
        assert isinstance(changes, Malformed) or list(changes) == [name]


def test_every_kind_of_path_outside_is_refused(head: Workspace, tmp_path: Path) -> None:
    for name in OUTSIDE:
        if name.startswith("link"):
            continue  # a link in the tree is the workspace's to refuse, which the first test asks
        found = apply_edits([TextEdit(name, "", "x = 1\n")], lambda _: None)
        assert isinstance(found, Malformed), name
        assert found.reason == "outside", name
