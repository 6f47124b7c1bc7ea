"""Makes ``openapi.json`` from GitHub's own OpenAPI description: the operations that the emulator serves, and what they reach.

    npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz
    python -m bot.demo.emulator.prune package/generated/api.github.com.json

Prose and examples are dropped. Every schema stays as it is but for the mends below, where the description contradicts itself or what
GitHub answers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Node = Any  # JSON as json.load gives it

_REPOSITORY = "/repos/{owner}/{repo}"
OPERATIONS: tuple[tuple[str, str], ...] = (
    ("GET", "/app"),
    ("GET", "/app/hook/config"),
    ("GET", "/app/hook/deliveries"),
    ("GET", "/app/hook/deliveries/{delivery_id}"),
    ("POST", "/app/hook/deliveries/{delivery_id}/attempts"),
    ("GET", "/app/installations"),
    ("GET", "/app/installations/{installation_id}"),
    ("POST", "/app/installations/{installation_id}/access_tokens"),
    ("POST", "/app-manifests/{code}/conversions"),
    ("GET", "/installation/repositories"),
    ("GET", "/rate_limit"),
    ("GET", "/search/issues"),
    ("GET", "/users/{username}"),
    ("GET", _REPOSITORY),
    ("GET", f"{_REPOSITORY}/installation"),
    ("GET", f"{_REPOSITORY}/branches/{{branch}}"),
    ("GET", f"{_REPOSITORY}/collaborators/{{username}}/permission"),
    ("GET", f"{_REPOSITORY}/contents/{{path}}"),
    ("GET", f"{_REPOSITORY}/compare/{{basehead}}"),
    ("GET", f"{_REPOSITORY}/commits/{{ref}}"),
    ("GET", f"{_REPOSITORY}/commits/{{commit_sha}}/pulls"),
    ("GET", f"{_REPOSITORY}/commits/{{ref}}/check-runs"),
    ("GET", f"{_REPOSITORY}/commits/{{ref}}/check-suites"),
    ("GET", f"{_REPOSITORY}/pulls"),
    ("POST", f"{_REPOSITORY}/pulls"),
    ("GET", f"{_REPOSITORY}/pulls/{{pull_number}}"),
    ("GET", f"{_REPOSITORY}/pulls/{{pull_number}}/files"),
    ("GET", f"{_REPOSITORY}/pulls/{{pull_number}}/commits"),
    ("GET", f"{_REPOSITORY}/pulls/{{pull_number}}/comments"),
    ("GET", f"{_REPOSITORY}/pulls/{{pull_number}}/reviews"),
    ("POST", f"{_REPOSITORY}/pulls/{{pull_number}}/reviews"),
    ("GET", f"{_REPOSITORY}/issues/{{issue_number}}/comments"),
    ("POST", f"{_REPOSITORY}/issues/{{issue_number}}/comments"),
    ("GET", f"{_REPOSITORY}/issues/comments/{{comment_id}}"),
    ("PATCH", f"{_REPOSITORY}/issues/comments/{{comment_id}}"),
    ("DELETE", f"{_REPOSITORY}/issues/comments/{{comment_id}}"),
    ("GET", f"{_REPOSITORY}/issues/comments/{{comment_id}}/reactions"),
    ("POST", f"{_REPOSITORY}/issues/comments/{{comment_id}}/reactions"),
    ("POST", f"{_REPOSITORY}/pulls/comments/{{comment_id}}/reactions"),
    ("GET", f"{_REPOSITORY}/issues/{{issue_number}}/labels"),
    ("POST", f"{_REPOSITORY}/issues/{{issue_number}}/labels"),
    ("DELETE", f"{_REPOSITORY}/issues/{{issue_number}}/labels/{{name}}"),
    ("POST", f"{_REPOSITORY}/check-runs"),
    ("GET", f"{_REPOSITORY}/check-runs/{{check_run_id}}"),
    ("PATCH", f"{_REPOSITORY}/check-runs/{{check_run_id}}"),
    ("GET", f"{_REPOSITORY}/check-runs/{{check_run_id}}/annotations"),
    ("GET", f"{_REPOSITORY}/check-suites/{{check_suite_id}}"),
    ("GET", f"{_REPOSITORY}/check-suites/{{check_suite_id}}/check-runs"),
    ("GET", f"{_REPOSITORY}/actions/runs"),
    ("GET", f"{_REPOSITORY}/actions/runs/{{run_id}}"),
    ("GET", f"{_REPOSITORY}/actions/runs/{{run_id}}/jobs"),
    ("GET", f"{_REPOSITORY}/actions/runs/{{run_id}}/artifacts"),
    ("GET", f"{_REPOSITORY}/actions/jobs/{{job_id}}"),
    ("GET", f"{_REPOSITORY}/actions/jobs/{{job_id}}/logs"),
    ("GET", f"{_REPOSITORY}/actions/artifacts/{{artifact_id}}/{{archive_format}}"),
    ("POST", f"{_REPOSITORY}/git/blobs"),
    ("POST", f"{_REPOSITORY}/git/trees"),
    ("GET", f"{_REPOSITORY}/git/trees/{{tree_sha}}"),
    ("POST", f"{_REPOSITORY}/git/commits"),
    ("GET", f"{_REPOSITORY}/git/commits/{{commit_sha}}"),
    ("GET", f"{_REPOSITORY}/git/ref/{{ref}}"),
    ("POST", f"{_REPOSITORY}/git/refs"),
    ("PATCH", f"{_REPOSITORY}/git/refs/{{ref}}"),
    ("DELETE", f"{_REPOSITORY}/git/refs/{{ref}}"),
)
_DROPPED = {"description", "summary", "example", "examples", "externalDocs", "title", "tags", "deprecated"}


def prune(full: Node) -> Node:
    """The description with only ``OPERATIONS`` and the components they reach, mended. Raises KeyError for an operation that it lacks."""
    paths: dict[str, dict[str, Node]] = {}
    for method, path in OPERATIONS:
        paths.setdefault(path, {})[method.lower()] = _bare(full["paths"][path][method.lower()])
    components: dict[str, dict[str, Node]] = {}
    waiting = list(_references(paths))
    while waiting:
        kind, name = waiting.pop().removeprefix("#/components/").split("/", 1)
        if name not in components.setdefault(kind, {}):
            components[kind][name] = _bare(full["components"][kind][name])
            waiting += _references(components[kind][name])
    components = {kind: dict(sorted(entries.items())) for kind, entries in sorted(components.items())}
    info = {key: full["info"][key] for key in ("version", "title", "license")}
    pruned = {"openapi": full["openapi"], "info": info, "servers": full["servers"], "paths": paths, "components": components}
    mend(pruned)
    return pruned


def mend(description: Node) -> None:
    """Repair, in place, what the description gets wrong. Each mend says what GitHub really answers."""
    # A nullable enum must list null (OpenAPI 3.0.3), and GitHub sends null: the conclusion of a check run that has not ended, for one.
    for schema in _schemas(description):
        if schema.get("nullable") and None not in schema.get("enum", [None]):
            schema["enum"] = [*schema["enum"], None]
    schemas = description["components"]["schemas"]
    # `head.repo` of a pull request is null once its fork was deleted; only the other side may not be null.
    for name in ("pull-request", "pull-request-simple"):
        repo = schemas[name]["properties"]["head"]["properties"]["repo"]
        schemas[name]["properties"]["head"]["properties"]["repo"] = {"nullable": True, "allOf": [repo]}
    # A search result without a text has a null body, as the pull request itself does.
    schemas["issue-search-result-item"]["properties"]["body"]["nullable"] = True
    # An installation belongs to an account or an enterprise, as the description of a single installation says; no object is both.
    account = description["paths"]["/app/installations"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["items"]
    account = account["properties"]["account"] if "properties" in account else {}
    if "allOf" in account:
        account["anyOf"] = account.pop("allOf")
    # GitHub takes a bare list of names as well, and PyGithub sends one.
    labels = description["paths"]["/repos/{owner}/{repo}/issues/{issue_number}/labels"]["post"]["requestBody"]["content"][
        "application/json"
    ]
    labels["schema"] = {"anyOf": [labels["schema"], {"type": "array", "minItems": 1, "items": {"type": "string"}}]}


def _bare(node: Node, names: bool = False) -> Node:
    """``node`` without prose, examples and vendor extensions; ``names`` where the keys are names that someone chose, not keywords."""
    if isinstance(node, list):
        return [_bare(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if not names and (key.startswith("x-") or key in _DROPPED):
            continue
        if not names and key == "enum":
            kept[key] = value
        else:
            # The value of `properties` maps names to schemas; so do `responses`, `headers` and `content`.
            kept[key] = _bare(value, names=not names and key in {"properties", "responses", "headers", "content"})
    if "content" in kept and "schema" not in kept or set(node) == {"description"}:
        kept.setdefault("description", "")  # a response must have one
    return kept


def _references(node: Node) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _schemas(node: Node) -> Iterator[dict[str, Node]]:
    if isinstance(node, dict):
        if "nullable" in node:
            yield node
        for value in node.values():
            yield from _schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from _schemas(value)


if __name__ == "__main__":
    source, target = Path(sys.argv[1]), Path(__file__).with_name("openapi.json")
    target.write_text(json.dumps(prune(json.loads(source.read_text())), indent=1) + "\n")
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB, {len(OPERATIONS)} operations")
