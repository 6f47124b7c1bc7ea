"""The bot's view of ``.github/ledex.toml``: when it works, where, and what it may learn. Pure: the caller fetches the files, from the base
branch only, since a pull request must not change the rules it is judged by.

The first file that exists counts: the repository's, else the organisation's, else the server's defaults. What a file leaves out has the
server's default. A key that cannot be read never stops the bot: it gets its default, and the check run says so.
"""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.markdown import one_line
from bot.runs import FailedRun, PullRequest
from inference.policy import Policy, ScopePolicy, unknown_keys

Kind = Literal["test", "build", "type", "lint", "dependency", "config", "infra", "flaky", "pre_existing", "timeout", "unknown"]
Mode = Literal["off", "explain", "suggest", "stacked_pr", "commit"]

OPT_OUT_LABEL = "no-ledex"
OPT_IN_LABEL = "ledex"
_MAX_BYTES = 256 * 1024
UNHEEDED = (
    ("verify", "full_suite", "every test is run that environment.test names"),
)
"""Keys that a file may set and that change nothing yet, with what holds instead."""


class BotScope(ScopePolicy):
    """Where the bot works, beside where a fix may reach."""

    workflows: tuple[str, ...] = Field(default=(), description="Globs of workflow names to work on; empty means all of them.")
    never_fix: tuple[str, ...] = Field(default=(), description="Globs of workflows, jobs and test ids that are never worked on.")
    protected_branches: tuple[str, ...] = Field(default=(), description="Globs of head branches that are never committed to.")
    drafts: bool = Field(default=False, description="Whether draft pull requests are worked on.")
    bots: tuple[int, ...] = Field(default=(), description="Numeric account ids of bots whose pull requests are worked on.")


class LearningPolicy(BaseModel):
    """What may be learnt from this repository; everything is off until it is switched on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    use_feedback: bool = Field(default=False, description="Whether what people accept and reject is kept for training.")
    share_code: bool = Field(default=False, description="Whether the source needed to verify again is kept with it.")
    retention_days: int = Field(default=30, ge=1, le=3650, description="How long what was kept for training stays.")


class RepositoryPolicy(Policy):
    """Everything that ``.github/ledex.toml`` may say."""

    mode: Mode = Field(
        default="suggest", description="How far the bot goes by itself; stacked_pr and commit need an App that may write, commit also V4."
    )
    trigger: Literal["auto", "label", "command"] = Field(default="auto", description="What starts it: failure, label ledex, or command.")
    scope: BotScope = BotScope()
    classify: dict[str, Kind] = Field(default_factory=dict, description="Globs of test files, each with the class of its failures.")
    learning: LearningPolicy = LearningPolicy()


@dataclass(frozen=True)
class PolicyFile:
    """A policy file as it was fetched; ``source`` names it for people, such as ``.github/ledex.toml at 1a2b3c4``."""

    source: str
    text: str


@dataclass(frozen=True)
class EffectivePolicy:
    """The policy that holds, where it comes from, and one sentence for everything in the file that does not count."""

    policy: RepositoryPolicy
    source: str = "the server's defaults"
    warnings: tuple[str, ...] = ()


def effective_policy(
    base: PolicyFile | None, organisation: PolicyFile | None = None, defaults: RepositoryPolicy | None = None
) -> EffectivePolicy:
    """The policy of a repository, out of the file of the base branch, the organisation's, and the server's defaults. Never raises."""
    defaults = defaults or RepositoryPolicy()
    file = base or organisation
    if file is None:
        return EffectivePolicy(defaults)
    return _read(file, defaults)


def _read(file: PolicyFile, defaults: RepositoryPolicy) -> EffectivePolicy:
    try:
        if len(file.text) > _MAX_BYTES:
            raise ValueError(f"longer than {_MAX_BYTES // 1024} KiB")
        data = tomllib.loads(file.text)
    except (ValueError, RecursionError) as error:
        # A file that says "off" is obeyed even when the rest of it cannot be read.
        off = re.search(r"""^\s*mode\s*=\s*["']off["']""", file.text[:_MAX_BYTES], re.MULTILINE) is not None
        policy = defaults.model_copy(update={"mode": "off"}) if off else defaults
        kept = "; mode = off is kept" if off else ""
        return EffectivePolicy(policy, "the server's defaults", (f"{file.source} cannot be read ({_shown(error)}): mend it{kept}",))
    warnings = [f"{file.source}: {_shown(key)} is no known key and is left alone" for key in unknown_keys(data, RepositoryPolicy)]
    merged = _merged(defaults.model_dump(mode="json"), data)
    for _ in range(50):
        try:
            found = RepositoryPolicy.model_validate(merged)
            return EffectivePolicy(found, file.source, (*warnings, *_unheeded(found, file.source)))
        except ValidationError as error:
            first = error.errors()[0]
            path = _drop(merged, first["loc"], defaults.model_dump(mode="json"))
            warnings.append(f"{file.source}: {_shown('.'.join(path))}: {_shown(first['msg'])}; its default is used")
    return EffectivePolicy(defaults, "the server's defaults", (f"{file.source} has too many mistakes and is left alone",))


def _unheeded(policy: RepositoryPolicy, source: str) -> list[str]:
    given, plain = policy.model_dump(), RepositoryPolicy().model_dump()
    changed = [(table, key, instead) for table, key, instead in UNHEEDED if given[table][key] != plain[table][key]]
    return [f"{source}: {table}.{key} has no effect yet: {instead}" for table, key, instead in changed]


def _merged(defaults: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """The file over the defaults, table by table; a list or a value of the file replaces the default's whole."""
    found = dict(defaults)
    for key, value in data.items():
        below = found.get(key)
        # Globs and variables are one value each: what the file lists is the whole of it.
        found[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) and key != "classify" else value
    return found


def _drop(data: dict[str, Any], location: tuple[int | str, ...], defaults: dict[str, Any]) -> list[str]:
    """Put the default in the place of a wrong value: the smallest key of a table that holds it. Returns the key's path."""
    path: list[str] = []
    table: Any = data
    default: Any = defaults
    for part in location:
        path.append(str(part))
        if not isinstance(table.get(part), dict) or not isinstance(default.get(part), dict) or part in ("classify", "variables"):
            break
        if len(path) == len(location):
            break
        table, default = table[part], default[part]
    key = path[-1]
    if isinstance(default, dict) and key in default:
        table[key] = default[key]
    else:
        table.pop(key, None)
    return path


def _shown(value: object) -> str:
    return one_line(str(value), 160)


def why_not(policy: RepositoryPolicy, run: FailedRun, pull_request: PullRequest, asked: bool = False) -> str | None:
    """One sentence on why a failed run is not worked on, or None when it is. ``asked``: somebody with write access gave a command."""
    scope = policy.scope
    if policy.mode == "off":
        return "the policy's mode is off"
    if pull_request.state != "open":
        return "the pull request is closed"
    if OPT_OUT_LABEL in pull_request.labels:
        return f"the pull request has the label {OPT_OUT_LABEL}"
    if run.head_sha != pull_request.head_sha:
        return "the pull request has moved on to another commit"
    if scope.workflows and not matches(run.workflow, scope.workflows):
        return "the workflow is not among scope.workflows"
    if matches(run.workflow, scope.never_fix):
        return "scope.never_fix names the workflow"
    if asked:
        return None
    if policy.trigger == "command":
        return "the policy waits for the command /ledex fix"
    if policy.trigger == "label" and OPT_IN_LABEL not in pull_request.labels:
        return f"the policy waits for the label {OPT_IN_LABEL}"
    if pull_request.draft and not scope.drafts:
        return "the pull request is a draft"
    if pull_request.author_is_bot and pull_request.author_id not in scope.bots:
        return "a bot wrote the pull request, and scope.bots does not hold its account id"
    return None


def may_commit(policy: RepositoryPolicy, pull_request: PullRequest) -> bool:
    """Whether the head branch may be committed to when somebody asks for it; never a fork's."""
    return not pull_request.is_fork and not matches(pull_request.head_ref, policy.scope.protected_branches)


def by_itself(policy: RepositoryPolicy, pull_request: PullRequest, level: int) -> Literal["apply", "pr"] | None:
    """What is done with a fix that was posted, without anybody asking; a commit only of what V4's checks had an opinion on."""
    if not may_commit(policy, pull_request):
        return None
    if policy.mode == "stacked_pr":
        return "pr"
    return "apply" if policy.mode == "commit" and level >= 4 else None


def matches(name: str, globs: Sequence[str]) -> bool:
    """Whether a name fits one of the globs; ``*`` crosses slashes, and ``**/`` also means no folder at all."""
    return any(fnmatch.fnmatchcase(name, form) for glob in globs for form in (glob, glob.replace("**/", "")))


def policy_text(effective: EffectivePolicy) -> str:
    """The effective configuration as TOML, its source on top."""
    lines = [f"# from {one_line(effective.source, 200)}"]
    tables: list[str] = []
    for key, value in effective.policy.model_dump(mode="json", exclude_none=True).items():
        if isinstance(value, dict):
            inner = [f"{_key(k)} = {_value(v)}" for k, v in value.items()]
            tables += ["", f"[{key}]", *inner] if inner else []
        else:
            lines.append(f"{key} = {_value(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_value(v) for v in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    # JSON's strings, numbers and truth values are TOML's too, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def schema() -> dict[str, Any]:
    """The JSON schema of ``.github/ledex.toml``; ``bot/policy.schema.json`` ships it for editors."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:ledexbot:repository-policy:1"}
    return {**head, **RepositoryPolicy.model_json_schema()}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2, ensure_ascii=False))
