"""Rust: ``cargo test``, whose text is read, since only nightly toolchains write another form.

Ids: ``crates/core/src/lib.rs::tests::adds``, ``crates/core/tests/it.rs::outside``; a documented example is ``src/lib.rs::add (example 1)``,
counted below its item, because its line moves with every line above. What does not compile is ``[build]``.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from sandbox.frameworks import BUILD, TestPlan
from sandbox.frameworks.adapter import (
    MOST_MESSAGE,
    MOST_TEXT,
    REPORT,
    Adapter,
    Invocation,
    collected,
    in_tree,
    joined,
    manifests,
    own_frames,
    text_of,
    unique_id,
)
from sandbox.report import Failure, Frame, Outcome, TestReport
from sandbox.runner import Execution
from sandbox.workspace import Workspace

RUNNING = re.compile(r"^\s*Running (?:(?P<kind>unittests|benches) )?(?P<path>\S+) \((?P<binary>[^)]+)\)$")
DOC_TESTS = re.compile(r"^\s*Doc-tests (?P<crate>\S+)$")
RESULT = re.compile(
    r"^test (?P<name>.+?)(?: - should panic)?(?: - (?:compile fail|compile))? \.\.\. (?P<word>ok|FAILED|ignored)\b(?:, .*)?$"
)  # fmt: skip
STARTED = re.compile(r"^running (\d+) tests?$")
SUMMARY = re.compile(r"^test result: (?:ok|FAILED)\. ")
OUTPUT = re.compile(r"^---- (?P<name>.+) (?:stdout|stderr) ----$")
PANICKED = re.compile(r"^thread '(?P<thread>[^'\n]{0,400})'(?: \(\d+\))? panicked at (?P<place>.+?):?$")
PLACE = re.compile(r"^(?:'(?P<old>.*)', )?(?P<path>[^\s:][^:\n]{0,400}\.rs):(?P<line>\d{1,7})(?::\d+)?$")
_STACK = re.compile(r"^\s+\d{1,4}: (?P<function>.{1,400})\n\s+at (?P<path>[^\s:]{1,400}\.rs):(?P<line>\d{1,7})", re.M)
COMPILER = re.compile(r"^error(?:\[E\d{4}\])?: (?P<message>.*)\n(?:.*\n){0,3}?\s*--> (?P<path>[^\s:]{1,400}\.rs):(?P<line>\d{1,7})", re.M)
EXAMPLE = re.compile(r"^(?P<path>\S+\.rs) - (?P<item>.*?) ?\(line (?P<line>\d+)\)$")
_EXAMPLE_ID = re.compile(r"^(?P<item>.*?) ?\(example \d+\)$")
_WORDS: dict[str, Outcome] = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}
_TOUCH = "find . -type f -exec touch -c {} +"
"""cargo takes for fresh what is older than its last build; a snapshot of another commit may be, whatever it holds."""


@dataclass
class Binary:
    """One test program: where its tests lie, what they ended as, what they printed."""

    path: str
    doc: bool = False
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    printed: dict[str, list[str]] = field(default_factory=dict)
    ended: bool = False


def detect(workspace: Workspace) -> Iterator[TestPlan]:
    """A plan for each workspace or lone package; members of a workspace are tested with it."""
    taken: list[str] = []
    for folder in manifests(workspace, "Cargo.toml"):
        data = _manifest(workspace, folder)
        inside = any(t == "." or folder.startswith(f"{t}/") for t in taken)
        if inside or not ("package" in data or "workspace" in data):
            continue
        if "workspace" in data:
            taken.append(folder)
        yield TestPlan("cargo", folder=folder)


def _manifest(workspace: Workspace, folder: str) -> dict[str, object]:
    try:
        return tomllib.loads(text_of(workspace, joined(folder, "Cargo.toml")))
    except tomllib.TOMLDecodeError:
        return {}


def invocation(plan: TestPlan, only: Sequence[str]) -> Invocation:
    cut = plan.arguments.index("--") if "--" in plan.arguments else len(plan.arguments)
    before, after = shlex.join(plan.arguments[:cut]), shlex.join(plan.arguments[cut + 1 :])
    names = _filters(only)
    everything = "" if re.search(r"(?:^| )(?:-p|--package|--manifest-path)\b", before) else "--workspace "
    options = [f"{everything}--no-fail-fast {before}".strip(), "--", *map(shlex.quote, names), "--color=never", after]
    command = f"cargo test {' '.join(o for o in options if o)} >{REPORT} 2>&1"
    prepare = f"[ -d /env/target ] && cp -a /env/target /tmp/target\n[ -d /env/cargo ] && cp -a /env/cargo /tmp/cargo\n{_TOUCH}"
    return Invocation(f"{prepare}\n{command}\nstatus=$?; tail -c 20000 {REPORT}; exit $status", (REPORT,))


def _filters(only: Sequence[str]) -> list[str]:
    """What libtest takes: parts of names; documented examples are found by their item."""
    names: dict[str, None] = {}
    for test_id in only:
        if test_id.endswith(BUILD):
            return []
        name = test_id.partition("::")[2]
        example = _EXAMPLE_ID.match(name)
        names[example["item"] if example else re.sub(r" #\d+$", "", name)] = None
    return [] if "" in names else list(names)[:200]


def read(plan: TestPlan, workspace: Workspace, execution: Execution) -> TestReport:
    text = collected(execution).decode("utf-8", "replace")
    crates = _crates(workspace, plan.folder)
    outcomes: dict[str, Outcome] = {}
    failures: list[Failure] = []
    taken: dict[str, int] = {}
    binaries = list(read_binaries(text))
    for binary in binaries:
        ids = _ids(binary, crates, plan.folder, workspace)
        for name, outcome in binary.outcomes.items():
            test_id = unique_id(ids[name], taken)
            outcomes[test_id] = outcome
            if outcome == "failed":
                printed = "\n".join(binary.printed.get(name, ()))
                failures.append(failure_of(test_id, printed, workspace, plan.folder, ids[name].split("::")[0]))
        if not binary.ended and binary.path:  # the process died: the test that it was in has no result
            test_id = unique_id(f"{ids.get('', joined(plan.folder, binary.path))}::{BUILD}", taken)
            outcomes[test_id] = "failed"
            failures.append(Failure(test_id, "", "the test program ended before its tests did", (), text[-MOST_TEXT:]))
    errors = list(COMPILER.finditer(text))
    if re.search(r"^error: could not compile ", text, re.M) or errors and not binaries:
        test_id = joined(plan.folder, BUILD)
        outcomes[test_id] = "failed"
        frames = [Frame(in_tree(m["path"], workspace, plan.folder), int(m["line"]), "") for m in errors[:5]]
        message = "\n".join(m["message"] for m in errors) or "the project does not compile"
        start = errors[0].start() if errors else 0
        failures.append(Failure(test_id, "build failed", message[:MOST_MESSAGE], own_frames(reversed(frames)),
                                text[start : start + MOST_TEXT]))  # fmt: skip
    return TestReport(outcomes, tuple(failures), complete=bool(outcomes), seconds=execution.seconds)


def read_binaries(text: str) -> Iterator[Binary]:
    """The test programs of a run, in the order that cargo started them."""
    current: Binary | None = None
    name = ""
    for line in text.splitlines():
        running, doc = RUNNING.match(line), DOC_TESTS.match(line)
        if running or doc:
            if current is not None:
                yield current
            current = Binary(f"{running['path']}\0{running['binary']}" if running else doc["crate"] if doc else "", doc=bool(doc))
            name = ""
        elif current is None:
            continue
        elif SUMMARY.match(line):
            current.ended, name = True, ""
        elif name == "" and (result := RESULT.match(line)):
            current.outcomes[result["name"]] = _WORDS[result["word"]]
        elif output := OUTPUT.match(line):
            name = output["name"]
            current.printed[name] = []
        elif line == "failures:":
            name = ""
        elif name:
            current.printed[name].append(line[:2000])
    if current is not None:
        yield current


def _crates(workspace: Workspace, folder: str) -> dict[str, str]:
    """Crate name, as programs are named after it -> its folder."""
    found: dict[str, str] = {}
    for place in manifests(workspace, "Cargo.toml"):
        package = _manifest(workspace, place).get("package")
        if isinstance(package, dict) and (folder == "." or place == folder or place.startswith(f"{folder}/")):
            found[str(package.get("name", "")).replace("-", "_")] = place
    return found


def _ids(binary: Binary, crates: dict[str, str], folder: str, workspace: Workspace) -> dict[str, str]:
    """The name that libtest prints -> the id; "" -> the file of the program."""
    if binary.doc:
        return example_ids(binary, folder)
    path, _, program = binary.path.partition("\0")
    crate = re.sub(r"-[0-9a-f]{16}$", "", program.rpartition("/")[2])
    owners = [crates[crate]] if crate in crates else [f for f in crates.values() if workspace.exists(joined(f, path))]
    root = joined(owners[0] if owners else folder, path)
    return {"": root, **{name: f"{_module_file(root, name, workspace)}::{name}" for name in binary.outcomes}}


def example_ids(binary: Binary, folder: str) -> dict[str, str]:
    found: dict[str, str] = {}
    by_item: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for name in binary.outcomes:
        example = EXAMPLE.match(name)
        if example:
            by_item.setdefault((example["path"], example["item"]), []).append((int(example["line"]), name))
        else:
            found[name] = f"{joined(folder, binary.path)}::{name}"
    for (path, item), places in by_item.items():
        for number, (_, name) in enumerate(sorted(places), 1):
            found[name] = f"{joined(folder, path)}::{item} (example {number})".replace("::  (", "::(")
    return found


def _module_file(root: str, name: str, workspace: Workspace) -> str:
    """The file of the innermost module that has one of its own, as ``mod`` finds them."""
    file = root
    place, _, stem = root.rpartition("/")
    stem = stem.removesuffix(".rs")
    place = place if stem in ("lib", "main", "mod") else f"{place}/{stem}" if place else stem
    for module in name.split("::")[:-1]:
        place = f"{place}/{module}" if place else module
        file = next((f for f in (f"{place}.rs", f"{place}/mod.rs") if workspace.exists(f)), file)
    return file


def told(printed: str, name: str) -> tuple[str, str, tuple[Frame, ...], str]:
    """(exception, message, frames outermost first with paths as printed, what is worth reading) of a failed test's output."""
    lines = printed.splitlines()
    message, exception, frames = "", "", list[Frame]()
    for at, line in enumerate(lines):
        panic = PANICKED.match(line)
        place = PLACE.match(panic["place"]) if panic else None
        if panic:
            exception = "panic"
            if place:
                frames = [Frame(place["path"], int(place["line"]), name)]
            until = next((n for n in range(at + 1, len(lines)) if lines[n].startswith(("stack backtrace:", "note: "))), len(lines))
            message = (place["old"] if place and place["old"] else "\n".join(lines[at + 1 : until])).strip()
            break
        if line.startswith("Error: "):
            exception, message = "Error", line.removeprefix("Error: ")
    stack = [
        Frame(m["path"], int(m["line"]), m["function"])
        for m in _STACK.finditer(printed)
        if not m["path"].startswith("/rustc/") and "{{closure}}" not in m["function"]
    ]
    body = "\n".join(line for line in lines if not line.startswith("note: ")).strip("\n")
    return exception, (message or body.strip())[:MOST_MESSAGE], own_frames([*reversed(stack)] or frames), body[:MOST_TEXT]


def failure_of(test_id: str, printed: str, workspace: Workspace, folder: str, file: str) -> Failure:
    exception, message, frames, body = told(printed, test_id.rpartition("::")[2])
    placed = (replace(f, path=_resolved(f.path, workspace, folder, file)) for f in frames)
    return Failure(test_id, exception, message, tuple(f for f in placed if workspace.exists(f.path)), body)


def _resolved(path: str, workspace: Workspace, folder: str, file: str) -> str:
    """A path as the tree knows it: relative to the workspace's folder, or to the package of the test's file."""
    plain = in_tree(path.removeprefix("./"), workspace, folder)
    if workspace.exists(plain) or plain.startswith("/"):
        return plain
    parts = file.split("/")
    for count in range(len(parts) - 1, -1, -1):
        candidate = joined("/".join(parts[:count]) or ".", path.removeprefix("./"))
        if workspace.exists(candidate):
            return candidate
    return plain


ADAPTER = Adapter("rust", detect, invocation, read)
