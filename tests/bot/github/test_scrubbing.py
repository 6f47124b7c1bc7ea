from __future__ import annotations

import base64
import time

import pytest

from bot.github.scrubbing import REMOVED, scrub

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI3NyIsImV4cCI6MTd9.c2lnbmF0dXJlLXdpdGgtX2FuZC1kYXNoZXM"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc+/=\n-----END RSA PRIVATE KEY-----"
SECRETS = {
    "installation token": "ghs_" + "a1B2" * 9,
    "installation token with a JWT": f"ghs_123456_{JWT}",
    "personal token": "ghp_" + "Z9y8" * 9,
    "fine-grained token": "github_pat_" + "11AAAA_" * 11,
    "App JWT": JWT,
    "private key": PEM,
    "private key in one line of JSON": PEM.replace("\n", "\\n"),
    "private key cut off": PEM[:-30],
    "git's header": base64.b64encode(b"x-access-token:ghs_" + b"a" * 36).decode(),
}


@pytest.mark.parametrize("kind", SECRETS)
def test_is_removed_from_the_middle_of_a_text(kind: str) -> None:
    secret = SECRETS[kind]
    cleaned = scrub(f'before "{secret}" after')
    assert cleaned == f'before "{REMOVED}" after'


@pytest.mark.parametrize("kind", SECRETS)
def test_is_removed_at_the_end_of_an_address(kind: str) -> None:
    assert SECRETS[kind] not in scrub(f"GET https://api.github.com/x?token={SECRETS[kind]}")


@pytest.mark.parametrize("header", ["Authorization: Bearer abc123", "authorization: token xyz", "{'Authorization': 'Basic Zm9v'}"])
def test_the_value_of_an_authorization_header_is_removed(header: str) -> None:
    cleaned = scrub(header)
    assert REMOVED in cleaned
    assert not any(value in cleaned for value in ("abc123", "xyz", "Zm9v"))


def test_user_and_password_in_an_address_are_removed() -> None:
    assert scrub("fatal: https://x-access-token:s3cret@github.com/o/r") == f"fatal: https://{REMOVED}@github.com/o/r"


@pytest.mark.parametrize(
    "text", ["ghs_short", "a test named eyJ.x.y", "sha 4b825dc642cb6eb9a060e54bf8d69288fbee4904", "https://github.com/o/r"]
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize(
    "piece", ["-----BEGIN RSA PRIVATE KEY-----\n", "eyJaaaaaaaa.", "-eyJ", "ghs_", "://a:", "Authorization: token ", "eyJa-"]
)
def test_a_megabyte_made_to_be_slow_is_scrubbed_in_seconds(piece: str) -> None:
    started = time.process_time()
    scrub(piece * (1_000_000 // len(piece)))
    assert time.process_time() - started < 5
