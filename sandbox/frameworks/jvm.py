"""Java by Maven Surefire and by Gradle: both leave JUnit XML, one file for each test class.

Ids: ``core/src/test/java/shop/CartTest.java::adds``, of a nested class ``...::Discounts.adds``; what does not compile is ``[build]``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

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
    said,
    text_of,
)
from sandbox.frameworks.junit import read_junit
from sandbox.report import Failure, Frame, Outcome, TestReport
from sandbox.runner import Execution
from sandbox.workspace import Workspace

_SOURCES = re.compile(r"^(?:.*/)?src/(?:\w+)/(?:java|kotlin|groovy|scala)/(?P<name>.+)\.(?:java|kt|groovy|scala)$")
MAVEN_ERROR = re.compile(r"^\[ERROR\] (?P<path>/?[^\s:\[\]]{1,400}\.(?:java|kt|scala)):\[(?P<line>\d{1,7}),\d+\] (?P<message>.*)$", re.M)
JAVAC_ERROR = re.compile(r"^(?::[\w:-]*\w(?=/))?(?P<path>/?[^\s:]{1,400}\.java):(?P<line>\d{1,7}): error: (?P<message>.*)$", re.M)
_BUILD_FILES = ("build.gradle", "build.gradle.kts")
_SETTINGS_FILES = ("settings.gradle", "settings.gradle.kts")


def detect_maven(workspace: Workspace) -> Iterator[TestPlan]:
    """A plan for each pom that is no module of one above it, where there are tests."""
    folders = manifests(workspace, "pom.xml")
    modules = {joined(f, m) for f in folders for m in re.findall(r"<module>\s*([^<\s]+)\s*</module>",
                                                                 text_of(workspace, joined(f, "pom.xml")))}  # fmt: skip
    for folder in folders:
        if folder not in modules and _has_tests(workspace, folder):
            yield TestPlan("maven", folder=folder)


def detect_gradle(workspace: Workspace) -> Iterator[TestPlan]:
    folders = sorted({*(f for name in _BUILD_FILES for f in manifests(workspace, name)), *(
        f for name in _SETTINGS_FILES for f in manifests(workspace, name))}, key=lambda f: (f != ".", f.count("/"), f))  # fmt: skip
    tops: list[str] = []
    for folder in folders:
        below_one = any(t == "." or folder.startswith(f"{t}/") for t in tops)
        if below_one and not any(workspace.exists(joined(folder, name)) for name in _SETTINGS_FILES):
            continue
        tops.append(folder)
        if _has_tests(workspace, folder) and not workspace.exists(joined(folder, "pom.xml")):
            wrapper = workspace.exists(joined(folder, "gradlew"))
            yield TestPlan("gradle", shell="./gradlew test" if wrapper else "", folder=folder)


def _has_tests(workspace: Workspace, folder: str) -> bool:
    head = "" if folder == "." else f"{folder}/"
    return any(f.startswith(head) and re.search(r"(?:^|/)src/\w*[tT]est\w*/", f) for f in workspace.files)


def class_of(path: str) -> str:
    """The class that a source file is named after, with its package."""
    found = _SOURCES.match(path)
    return found["name"].replace("/", ".") if found else path.rpartition("/")[2].partition(".")[0]


def _chosen(only: Sequence[str]) -> dict[str, list[str]]:
    """Class -> methods, for the tests to be run alone; a class whose methods cannot all be named is run whole."""
    found: dict[str, list[str]] = {}
    for test_id in only:
        if test_id.endswith(BUILD):
            return {}
        path, _, name = test_id.partition("::")
        inner, _, method = name.rpartition(".") if re.match(r"^[\w$.]+(?:[\[({ ]|$)", name) else ("", "", name)
        method = re.split(r"[\[({ ]", method)[0]
        found.setdefault(class_of(path) + (f"${inner.replace('.', '$')}" if inner else ""), []).append(method)
    return found


def invoke_maven(plan: TestPlan, only: Sequence[str]) -> Invocation:
    chosen = _chosen(only)
    options = ["-B", "-fae", "-s", "/env/settings.xml", "-DtrimStackTrace=false", "-Dsurefire.rerunFailingTestsCount=0", *plan.arguments]
    if chosen:
        tests = ",".join(f"{name}#{'+'.join(dict.fromkeys(methods))}" for name, methods in chosen.items())
        options += [f"-Dtest={tests}", "-DfailIfNoTests=false", "-Dsurefire.failIfNoSpecifiedTests=false"]
    return _invocation(f"mvn {shlex.join(options)} test", "*/target/surefire-reports", r"^\[ERROR\] \S")


def invoke_gradle(plan: TestPlan, only: Sequence[str]) -> Invocation:
    chosen = _chosen(only)
    filters = [word for name, methods in chosen.items() for m in dict.fromkeys(methods) for word in ("--tests", f"{name}.{m}")]
    program = "./gradlew" if plan.shell else "gradle"
    options = ["--offline", "--no-daemon", "--console=plain", "--continue", *plan.arguments, "test", *filters]
    # Gradle writes to its home even when it needs nothing new.
    home = "export GRADLE_USER_HOME=/tmp/gradle; [ -d /env/gradle ] && cp -a /env/gradle /tmp/gradle && chmod -R u+w /tmp/gradle"
    return _invocation(f"{program} {shlex.join(options)}", "*/build/test-results/*", r"^(?:> |FAILURE|e: )\S", home)


def _invocation(command: str, reports: str, telling: str, first: str = "true") -> Invocation:
    """Reports are gathered in one folder, under the names of their modules; the telling line of a build without reports is said last."""
    lines = [
        first, f"find . -path '{reports}' -prune -exec rm -rf {{}} +", f"{command} >{REPORT}.out 2>&1", "status=$?", f"mkdir -p {REPORT}",
        f"find . -path '{reports}/TEST-*.xml' | while read -r f; do cp \"$f\" \"{REPORT}/$(echo \"$f\" | tr / @)\"; done",
        f"tail -c 30000 {REPORT}.out; grep -m1 -E '{telling}' {REPORT}.out >&2; exit $status",
    ]  # fmt: skip
    return Invocation("\n".join(lines), (REPORT, f"{REPORT}.out"))


def read(plan: TestPlan, workspace: Workspace, execution: Execution) -> TestReport:
    outcomes: dict[str, Outcome] = {}
    failures: list[Failure] = []
    files = {class_of(f): f for f in reversed(workspace.files) if _SOURCES.match(f)}
    for name in sorted(execution.collected):
        if not (name.startswith(f"{REPORT.lstrip('/')}/") and name.endswith(".xml")):
            continue
        module = joined(plan.folder, name.rpartition("/")[2].replace("@", "/").partition("/target/")[0].partition("/build/")[0])
        report = read_junit(execution.collected[name])
        ids = {test_id: _id(test_id, files, module) for test_id in report.outcomes}
        for test_id, outcome in report.outcomes.items():
            outcomes[ids[test_id]] = outcome
        failures += [_located(replace(f, test_id=ids[f.test_id]), files) for f in report.failures]
    text = collected(execution, f"{REPORT}.out").decode("utf-8", "replace") or said(execution)
    errors = list(MAVEN_ERROR.finditer(text)) or list(JAVAC_ERROR.finditer(text))
    if errors:
        test_id = joined(plan.folder, BUILD)
        outcomes[test_id] = "failed"
        frames = [Frame(in_tree(m["path"], workspace, plan.folder), int(m["line"]), "") for m in errors[:5]]
        told = dict.fromkeys(m["message"] for m in errors)
        failures.append(Failure(test_id, "build failed", "\n".join(told)[:MOST_MESSAGE], own_frames(reversed(frames)),
                                "\n".join(dict.fromkeys(m[0] for m in errors))[:MOST_TEXT]))  # fmt: skip
    return TestReport(outcomes, tuple(failures), complete=bool(outcomes), seconds=execution.seconds)


def _id(test_id: str, files: dict[str, str], module: str) -> str:
    """``package.Class$Inner::method`` -> the id by file; by the class's name below its module where no file is named so."""
    named, separator, method = test_id.partition("::")
    outer, _, inner = named.partition("$")
    name = f"{inner.replace('$', '.')}.{method}" if inner else method
    if not separator:
        return f"{module}::{test_id}"
    return f"{files.get(outer, joined(module, outer))}::{name}"


def _located(failure: Failure, files: dict[str, str]) -> Failure:
    """The failure with the frames that lie in the tree, by the classes that they name."""
    frames = []
    for frame in failure.frames:
        name = frame.function.rpartition(".")[0].partition("$")[0]
        path = files.get(name) or next((f for f in files.values() if f.endswith(f"/{frame.path}")), None)
        if path:
            frames.append(replace(frame, path=path))
    return replace(failure, frames=own_frames(frames))


MAVEN = Adapter("java", detect_maven, invoke_maven, read)
GRADLE = Adapter("java", detect_gradle, invoke_gradle, read)
