"""Checks every request and every answer against GitHub's own description of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft4Validator, FormatChecker
from jsonschema.exceptions import best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

_ROOT = "urn:github"
_formats = FormatChecker(formats=())


@_formats.checks("date-time", raises=ValueError)
def _date_time(value: object) -> bool:
    from datetime import datetime

    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@_formats.checks("uri", raises=ValueError)
def _uri(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme)


@cache
def description() -> dict[str, Any]:
    """The pruned OpenAPI description, its schemas turned into JSON Schema."""
    loaded: dict[str, Any] = _plain(json.loads(Path(__file__).with_name("openapi.json").read_text()))
    return loaded


def _plain(node: Any) -> Any:
    """OpenAPI 3.0 is JSON Schema draft 4 but for ``nullable``; references are made absolute, so that any part can be a schema."""
    if isinstance(node, list):
        return [_plain(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    turned = {key: _plain(value) for key, value in node.items() if key != "nullable"}
    if isinstance(turned.get("$ref"), str):
        turned["$ref"] = _ROOT + turned["$ref"]
    return {"anyOf": [{"type": "null"}, turned]} if node.get("nullable") is True else turned


@cache
def _registry() -> Registry[Any]:
    resource: Resource[Any] = DRAFT4.create_resource(description())
    registry: Registry[Any] = Registry()
    filled: Registry[Any] = registry.with_resource(_ROOT, resource)
    return filled


def _resolve(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = description()
        for part in node["$ref"].removeprefix(f"{_ROOT}#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        node = found
    return node


@lru_cache(maxsize=4096)
def _validator(pointer: tuple[str, ...]) -> Draft4Validator:
    """A validator for the schema at this place of the description."""
    path = "/".join(part.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D") for part in pointer)
    return Draft4Validator({"$ref": f"{_ROOT}#/{path}"}, registry=_registry(), format_checker=_formats)


def _complaint(validator: Draft4Validator, value: Any, where: str) -> Iterator[str]:
    error = best_match(validator.iter_errors(value))
    if error is not None:
        yield f"{where}{''.join(f'[{part!r}]' for part in error.absolute_path)}: {error.message[:300]}"


def parameters(path: str, method: str) -> list[dict[str, Any]]:
    return [_resolve(one) for one in description()["paths"][path][method.lower()].get("parameters", [])]


def read_query(path: str, method: str, query: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The query with the types that the description gives, and what is wrong with it."""
    known = {one["name"]: one["schema"] for one in parameters(path, method) if one["in"] == "query"}
    values: dict[str, Any] = {}
    wrong = [f"query parameter {name!r} is not described" for name in query if name not in known]
    for name in query.keys() & known.keys():
        kind, text = known[name].get("type"), query[name]
        try:
            values[name] = int(text) if kind == "integer" else text == "true" if kind == "boolean" else text
        except ValueError:
            wrong.append(f"query parameter {name!r} is no {kind}: {text[:50]!r}")
            continue
        checker = Draft4Validator(known[name], registry=_registry(), format_checker=_formats)
        wrong += _complaint(checker, values[name], f"query parameter {name!r}")
    missing = [one["name"] for one in parameters(path, method) if one["in"] == "query" and one.get("required") and one["name"] not in query]
    return values, wrong + [f"query parameter {name!r} is missing" for name in missing]


def check_request(path: str, method: str, values: Mapping[str, str], body: Any) -> list[str]:
    """What is wrong with the path parameters and the body (None: no body)."""
    wrong = []
    for one in parameters(path, method):
        if one["in"] == "path" and one["schema"].get("type") == "integer" and not values[one["name"]].lstrip("-").isdigit():
            wrong.append(f"path parameter {one['name']!r} is no integer: {values[one['name']][:50]!r}")
    described = description()["paths"][path][method.lower()].get("requestBody")
    if described is None:
        return wrong + (["a body where none is described"] if body not in (None, {}) else [])
    if body is None:
        return wrong + (["the body is missing"] if described.get("required") else [])
    pointer = ("paths", path, method.lower(), "requestBody", "content", "application/json", "schema")
    return wrong + list(_complaint(_validator(pointer), body, "body"))


def check_response(path: str, method: str, status: int, body: Any) -> list[str]:
    """What is wrong with an answer."""
    operation = ("paths", path, method.lower(), "responses", str(status))
    described = description()["paths"][path][method.lower()]["responses"].get(str(status))
    if described is None and status < 400:
        return [f"status {status} is not described"]
    schema = _resolve(described).get("content", {}).get("application/json", {}).get("schema") if described else None
    if schema is None and status >= 400:
        # The description lists few of the errors, and some without their body; all of GitHub's have this form.
        return list(_complaint(_validator(("components", "schemas", "basic-error")), body, "answer"))
    if schema is None:
        return ["a body where none is described"] if body is not None else []
    base = described["$ref"].removeprefix(f"{_ROOT}#/").split("/") if "$ref" in described else operation
    return list(_complaint(_validator((*base, "content", "application/json", "schema")), body, "answer"))
