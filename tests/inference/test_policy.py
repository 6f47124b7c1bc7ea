"""The repository's policy: what is read, what is refused and with which words, and the schema that ships with it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from inference import ConfigurationError, policy
from inference.policy import Policy, load_policy, read_policy, schema, unknown_keys

SHIPPED = Path(policy.__file__).with_name("policy.schema.json")
FULL = """\
version = 1

[environment]
setup = ["make deps"]
test = "pytest -x"
timeout_minutes = 2.5
variables = {DEBUG = "1"}

[verify]
level = "V4"
repeats = 5

[limits]
max_files = 1
max_changed_lines = 10
memory_mb = 512
tree_mb = 64
processes = 32

[scope]
allow_paths = ["src/**"]
deny_paths = ["src/vendor/**"]

[comment]
style = "the bot reads this table"
"""


def test_an_empty_file_is_the_default_policy() -> None:
    assert read_policy("", "ledex.toml") == Policy()


def test_a_full_file_is_read() -> None:
    found = read_policy(FULL, "ledex.toml")
    environment, verify = found.environment, found.verify
    assert (environment.setup, environment.test, verify.level, verify.repeats, environment.variables) == (
        ("make deps",), "pytest -x", "V4", 5, {"DEBUG": "1"})  # fmt: skip


def test_the_scope_of_patches_comes_from_scope_and_limits() -> None:
    scope = read_policy(FULL, "ledex.toml").patch_scope()
    assert (scope.allow, scope.deny, scope.max_files, scope.max_changed_lines) == (("src/**",), ("src/vendor/**",), 1, 10)


def test_the_limits_of_a_run_come_from_limits_and_the_time_out() -> None:
    limits = read_policy(FULL, "ledex.toml").run_limits()
    assert (limits.wall_seconds, limits.memory_bytes, limits.tree_bytes, limits.processes) == (150.0, 512 << 20, 64 << 20, 32)


@pytest.mark.parametrize(("text", "key"), [
    ("[verify]\nrepeats = 1\n", "verify.repeats"),
    ("[verify]\nrepeats = 'three'\n", "verify.repeats"),
    ("[verify]\nlevel = 'V2'\n", "verify.level"),
    ("[environment]\ntimeout_minutes = 0\n", "environment.timeout_minutes"),
    ("[environment]\nnetwork = 'on'\n", "environment.network"),
    ("[environment.variables]\nDEBUG = 1\n", "environment.variables.DEBUG"),
    ("[limits]\nmax_files = 0\n", "limits.max_files"),
    ("[scope]\nallow_paths = 'src'\n", "scope.allow_paths"),
    ("environment = 3\n", "environment"),
    ("version = 2\n", "version"),
])  # fmt: skip
def test_an_invalid_value_is_refused_by_the_name_of_its_key(text: str, key: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^ledex\.toml: {key}: [^\n]+$"):
        read_policy(text, "ledex.toml")


def test_broken_toml_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigurationError, match=r"^ledex\.toml is no valid TOML: .*line 2"):
        read_policy("[verify]\nrepeats = \n", "ledex.toml")


def test_unknown_keys_are_left_alone() -> None:
    assert read_policy("[verify]\nrepeat = 9\n", "ledex.toml") == Policy()


def test_unknown_keys_are_listed_by_their_dotted_names() -> None:
    data = {"verify": {"repeat": 9, "repeats": 3}, "comment": {"style": "x"}, "environment": {"variables": {"ANY": "1"}}, "versoin": 1}
    assert unknown_keys(data) == ["verify.repeat", "comment", "versoin"]


def warnings(text: str) -> list[str]:
    told: list[str] = []
    read_policy(text, "ledex.toml", told.append)
    return told


def test_an_unknown_key_of_a_table_is_told_with_the_keys_of_that_table() -> None:
    assert warnings("[scope]\nallow = ['src/**']\n") == [
        "ledex.toml: scope.allow is no known key and is left alone; [scope] knows allow_paths, deny_paths"]  # fmt: skip


@pytest.mark.parametrize("text", ["[comment]\nstyle = 'x'\n", "versoin = 1\n", "'scopes.allow' = 1\n"])
def test_an_unknown_key_of_the_file_is_told_with_its_tables(text: str) -> None:
    assert [w.partition("; ")[2] for w in warnings(text)] == ["the file knows version, environment, verify, limits, scope"]


def test_each_unknown_key_is_told_once() -> None:
    assert len(warnings("a = 1\n[verify]\nb = 2\nrepeats = 3\n[environment]\nc = 4\n")) == 3


def test_known_keys_are_told_nothing_about() -> None:
    assert warnings(FULL.split("[comment]")[0]) == []


def test_an_unknown_key_cannot_steer_a_terminal() -> None:
    told = warnings('"\\u001b[31m\\n' + "x" * 500 + '" = 1\n')[0]
    assert (told.isprintable(), len(told) < 250) == (True, True)


def test_a_file_is_read_from_disk(tmp_path: Path) -> None:
    (tmp_path / "ledex.toml").write_text(FULL, encoding="utf-8")
    assert load_policy(tmp_path / "ledex.toml") == read_policy(FULL, "")


def test_an_absent_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: No such file or directory$"):
        load_policy(tmp_path / "absent.toml")


def test_a_file_that_is_not_utf_8_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "ledex.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        load_policy(tmp_path / "ledex.toml")


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Policy().verify.repeats = 9


def test_the_shipped_schema_is_the_models() -> None:
    """Write it anew with ``python -m inference.policy > inference/policy.schema.json``."""
    assert json.loads(SHIPPED.read_text(encoding="utf-8")) == schema()


def test_every_key_says_what_it_does() -> None:
    tables = [t for name, t in schema()["$defs"].items() if name.endswith("Policy")]
    silent = [f"{t['title']}.{key}" for t in tables for key, value in t["properties"].items() if "description" not in value]
    assert silent == []


@pytest.mark.parametrize(("policy", "valid"), [
    ({}, True), ({"verify": {"repeats": 3}, "unknown": 1}, True), ({"verify": {"repeats": 1}}, False), ({"version": 2}, False),
])  # fmt: skip
def test_the_shipped_schema_agrees_with_the_model(policy: dict[str, object], valid: bool) -> None:
    assert jsonschema.Draft202012Validator(json.loads(SHIPPED.read_text(encoding="utf-8"))).is_valid(policy) == valid
