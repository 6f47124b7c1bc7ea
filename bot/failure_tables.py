"""What CI logs say when it was not a test that failed: infrastructure, tools with their fixers, dependencies, configuration, builds. Data.

Every pattern is searched in single lines that no test can have printed (``LogStep.outside``): a test that asserts on "No space left on
device" stays a failing test.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from bot.policy import Kind
from inference.fixers import Fixer, installed_version


@dataclass(frozen=True)
class Sign:
    """A line that gives the cause away; ``reason`` is the sentence that people read."""

    kind: Kind
    pattern: re.Pattern[str]
    reason: str


def _signs(kind: Kind, rows: Sequence[tuple[str, str]]) -> tuple[Sign, ...]:
    return tuple(Sign(kind, re.compile(pattern, re.IGNORECASE), reason) for pattern, reason in rows)


INFRASTRUCTURE = _signs("infra", (
    (r"runner has received a shutdown signal|(?:hosted|self-hosted) runner.*(?:lost communication|encountered an error)"
     r"|runner .*did not respond in time", "the runner was lost"),
    (r"\bno space left on device\b|\bENOSPC\b|there is not enough space on the disk", "the runner's disk is full"),
    (r"^##\[error\]the operation was cancell?ed|the run was cancell?ed by|higher priority waiting request", "the job was cancelled"),
    (r"could not resolve host|temporary failure in name resolution|getaddrinfo (?:ENOTFOUND|EAI_AGAIN)|name or service not known"
     r"|npm (?:ERR!|error) (?:network|code (?:ECONNRESET|ETIMEDOUT|EAI_AGAIN|ECONNREFUSED))",
     "the network or its name service did not answer"),
    (r"curl: \((?:5|6|7|28|35|52|55|56)\)|wget: unable to resolve|fatal: unable to access .*(?:could not|connection|timed out|error: 5\d\d)"
     r"|\b(?:ReadTimeoutError|ConnectTimeoutError|NewConnectionError|IncompleteRead)\b|RPC failed; (?:curl|HTTP 5)"
     r"|error: failed to (?:fetch|download)\b.*(?:timed out|connection|5\d\d)", "a download broke off"),
    (r"\b(?:HTTP(?:/[\d.]+)?(?: error| status(?: code)?)?:? ?|status(?: code)?:? ?|response code:? ?)5\d\d\b"
     r"|\b50[0234] (?:Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time-?out)|\b5\d\d Server Error"
     r"|E: Failed to fetch .* 5\d\d|npm (?:ERR!|error) code E5\d\d", "a registry or service answered with a server error"),
    (r"\btoomanyrequests\b|429 Too Many Requests|status code:? 429|(?:API|secondary) rate limit exceeded|pull rate limit"
     r"|HTTP (?:error )?429",
     "a service refused because of its rate limit"),
    (r"error response from daemon: (?:Get|Head|toomanyrequests|net/http|received unexpected)|docker pull failed with exit code"
     r"|failed to (?:pull|copy|resolve).*(?:image|registry|docker|source metadata)|one or more containers failed to start"
     r"|failed to initialize container", "a container image or service container could not be had"),
    (r"E: Failed to fetch|hash sum mismatch|could not get lock /var/lib/(?:dpkg|apt)", "the system's package mirror failed"),
    (r"failed to (?:CreateArtifact|FinalizeArtifact)|unable to (?:upload|download) artifact|cache service responded with (?:4|5)\d\d"
     r"|failed to download action|unable to download (?:actions|artifact)", "GitHub's artifact, cache or action store failed"),
))  # fmt: skip

TIMEOUT = _signs("timeout", (
    (r"exceeded the maximum execution time of|has timed out after \d+ minutes|^##\[error\]the action .*has timed out",
     "the job ran out of time"),
))  # fmt: skip

SYNTAX = Sign(
    "build", re.compile(r"\bE999 |^\s*(?:SyntaxError|IndentationError|TabError): |invalid-syntax:|error: cannot format .*: Cannot parse"),
    "a file cannot be parsed")  # fmt: skip

OTHERS = (
    *_signs("dependency", (
        (r"^ERROR: (?:Could not find a version that satisfies|No matching distribution found for|Cannot install .* because these"
         r"|ResolutionImpossible)",
         "pip finds no version that fits"),
        (r"No solution found when resolving|version solving failed|ERESOLVE|npm (?:ERR!|error) code (?:E404|ETARGET|EUSAGE)"
         r"|ERR_PNPM_(?:OUTDATED_LOCKFILE|NO_MATCHING_VERSION)|no matching package named|unresolvable dependency",
         "the dependencies cannot be resolved"),
        (r"The lockfile at .* needs to be updated|poetry\.lock (?:is not up to date|was last generated)"
         r"|lock ?file .*(?:out of date|would have been modified)"
         r"|the lock file .* needs to be updated", "the lock file does not fit the manifest"),
        (r"THESE PACKAGES DO NOT MATCH THE HASHES|hashes? (?:mismatch|did not match)", "a package does not have the hash that is locked"),
    )),
    *_signs("config", (
        (r"^ERROR: usage: |: error: unrecognized arguments|^ERROR: file or directory not found|^ERROR: (?:not found|invocation error)",
         "the test command has wrong arguments"),
        (r"invalid workflow file|unable to resolve action|input required and not supplied|unexpected value '|the workflow is not valid",
         "the workflow file is wrong"),
        (r"^(?:/\S+: line \d+: )?\S+: command not found$|^##\[error\]unable to locate executable",
         "a command of the step does not exist on the runner"),
        (r"^(?:ERROR: )?FAIL Required test coverage of|^Coverage failure: total of|^total of [\d.]+ is less than fail-under",
         "the coverage is below the threshold"),
        (r"No such file or directory: '?(?:pyproject\.toml|tox\.ini|noxfile\.py)|could not open requirements file",
         "a file that the step reads does not exist"),
    )),
    *_signs("build", (
        (r"^error: subprocess-exited-with-error|error: command '.*(?:gcc|g\+\+|cc|clang|cl\.exe)' failed|fatal error: .*: No such file"
         r"|Failed building wheel for|^make(?:\[\d+\])?: \*\*\* |^error(?:\[E\d{4}\])?: could not compile|BUILD FAILURE"
         r"|ninja: build stopped", "the build failed"),
    )),
)  # fmt: skip


@dataclass(frozen=True)
class Tool:
    """A linter, formatter or type checker. ``output`` is a line only its failure prints; ``fix`` the words that repair in place, with the
    paths at their end, or () where it has no deterministic fixer; ``check`` likewise fails while there is something to repair, and
    ``package`` is what has both on the Python package index (without them the fixer is named, not run). ``hooks`` are its names as a
    pre-commit hook, ``drop`` the options without a value that the check has and the fix must not."""

    name: str
    kind: Kind
    output: re.Pattern[str]
    command: re.Pattern[str]
    fix: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    package: str = ""


def _tool(name: str, kind: Kind, output: str, command: str, fix: str = "", hooks: str = "", drop: str = "", check: str = "") -> Tool:
    called = re.compile(rf"(?:^|[\s/]){command}(?=\s|$)")
    words = tuple(check.split())
    package = words[0] if words else ""
    return Tool(
        name, kind, re.compile(output), called, tuple(fix.split()), tuple(hooks.split()), tuple(drop.split()), words, package)  # fmt: skip


TOOLS = (
    _tool("ruff format", "lint", r"^(?:Would reformat: |\d+ files? would be reformatted|unformatted: )", r"ruff format",
          fix="ruff format", hooks="ruff-format", drop="--check --diff", check="ruff format --check"),
    _tool("ruff", "lint",
          r"^\[\*\] \d+ fixable with|^[^\s:]+:\d+:\d+: [A-Z]{1,4}\d{2,4} |^[A-Z]{1,4}\d{2,4} (?:\[\*\] )?\S|^Found \d+ errors?\.$",
          r"ruff(?: check)?", fix="ruff check --fix", hooks="ruff ruff-check", drop="--check --diff --no-fix --exit-non-zero-on-fix",
          check="ruff check"),
    _tool("black", "lint", r"^(?:would reformat |Oh no! |\d+ files? would be reformatted)", r"black",
          fix="black", hooks="black", drop="--check --diff", check="black --check"),
    _tool("isort", "lint", r"Imports are incorrectly sorted", r"isort", fix="isort", hooks="isort", drop="--check --check-only -c --diff",
          check="isort --check-only"),
    _tool("autopep8", "lint", r"^--- original/", r"autopep8", fix="autopep8 --in-place --recursive", hooks="autopep8",
          drop="--diff -d --exit-code --recursive -r", check="autopep8 --diff --exit-code --recursive"),
    _tool("prettier", "lint", r"Code style issues (?:found|detected)", r"prettier",
          fix="prettier --write", hooks="prettier", drop="--check -c --list-different -l"),
    _tool("eslint", "lint", r"^✖ \d+ problems?", r"eslint", fix="eslint --fix", hooks="eslint"),
    _tool("biome", "lint", r"lint/\w+/\w+ .*FIXABLE", r"biome (?:check|ci|lint|format)", fix="biome check --write", hooks="biome-check"),
    _tool("stylelint", "lint", r"^\d+ problems? \(\d+ errors?", r"stylelint", fix="stylelint --fix", hooks="stylelint"),
    _tool("cargo fmt", "lint", r"^Diff in .+(?: at line \d+:?|:\d+:)$", r"cargo fmt", fix="cargo fmt"),
    _tool("whitespace hook", "lint", r"$.", r"$.",
          fix="pre-commit run --all-files", hooks="trailing-whitespace end-of-file-fixer mixed-line-ending"),
    _tool("flake8", "lint", r"^[^\s:]+:\d+:\d+: [A-Z]{1,3}\d{3} ", r"flake8", hooks="flake8"),
    _tool("pylint", "lint", r"^Your code has been rated at|^[^\s:]+:\d+:\d+: [CRWEF]\d{4}: ", r"pylint", hooks="pylint"),
    _tool("shellcheck", "lint", r"^In .+ line \d+:$|\[shellcheck\]|\(SC\d{4}\)", r"(?:actionlint|shellcheck)", hooks="shellcheck"),
    _tool("mypy", "type", r"^Found \d+ errors? in \d+ files?|^[^\s:]+:\d+:(?:\d+:)? error: .*\[[a-z-]+\]$", r"mypy", hooks="mypy"),
    _tool("pyright", "type", r"^\d+ errors?, \d+ warnings?, \d+ (?:informations?|notes?)|:\d+:\d+ - error: ", r"(?:based)?pyright",
          hooks="pyright basedpyright"),
    _tool("tsc", "type", r"error TS\d+: ", r"tsc"),
    _tool("ty", "type", r"^error\[[a-z-]+\]: ", r"ty check"),
)  # fmt: skip
"""Where two print alike, the one that the step's script names counts, and the first of the table where it names none."""


def failed_tool(script: Sequence[str], lines: Sequence[str]) -> tuple[Tool, str] | None:
    """The tool that failed in a step, with the line that says so. Where several print alike, the one that the script names."""
    hook = next((line for line in lines if line.endswith("Failed") and "..." in line), "")
    hooks = {m.group(1) for line in lines if (m := re.match(r"^- hook id: (\S+)$", line))} if hook else set()
    for tool in TOOLS:
        if hooks & set(tool.hooks):
            return tool, hook
    said = [(tool, line) for tool in TOOLS if (line := next((x for x in lines if tool.output.search(x)), None)) is not None]
    named = [(tool, line) for tool, line in said if any(tool.command.search(words) for words in script)]
    return next(iter([*named, *said]), None)


def fixer_of(tool: Tool, script: Sequence[str], log: str = "") -> Fixer | None:
    """The tool's own fixer, on the script's own paths and in the version that the job's log names; None where it has none.

    For the sandbox only: the words come from the pull request's workflow, and no shell may read them.
    """
    if not tool.fix:
        return None
    paths = _paths(tool, script)
    whole = tool.fix[0] in ("cargo", "pre-commit")
    command = tool.fix if whole else (*tool.fix, "--", *paths)
    version = installed_version(log, tool.package) if tool.package else ""
    return Fixer(tool.name, command, (*tool.check, "--", *paths) if tool.check else (), tool.package, version)


def _paths(tool: Tool, script: Sequence[str]) -> tuple[str, ...]:
    for line in script:
        called = tool.command.search(line)
        if called and not re.search(r"[$`|&;<>(){}*?\\]", line):
            try:
                words = shlex.split(line[called.end() :])
            except ValueError:
                continue
            kept = [w for w in words if not w.startswith("-")]
            values = any(w.startswith("-") and "=" not in w and w not in tool.drop for w in words)
            # An option that we do not know may take the next word as its value; then the whole tree is safer than a wrong path.
            return tuple(kept) if kept and not values else (".",)
    return (".",)
