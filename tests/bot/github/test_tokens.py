from __future__ import annotations

import threading
import time

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bot.github import Forbidden, NotConfigured
from bot.github.client import GitHub
from bot.github.pacing import Clock
from bot.github.protocol import COMMENTING
from bot.github.tokens import Credentials, Grant, Token, TokenCache, app_jwt
from bot.github.transport import Manners
from tests.bot.github.conftest import Time
from tests.bot.github.server import APP_ID, INSTALLATION, REPOSITORY, REPOSITORY_ID, Answer, Server

MINT = rf"/app/installations/{INSTALLATION}/access_tokens"
GRANT = Grant.of(INSTALLATION, REPOSITORY_ID, COMMENTING)


def token(github: GitHub, grant: Grant = GRANT) -> str:
    return github.tokens.token(grant)


def test_the_jwt_is_signed_dated_back_and_shorter_than_ten_minutes(credentials: Credentials) -> None:
    now = time.time()
    public = load_pem_private_key(credentials.private_key.encode(), None).public_key()
    claims = jwt.decode(app_jwt(credentials, now), public, algorithms=["RS256"])  # type: ignore[arg-type]
    assert claims["iss"] == str(APP_ID)
    assert claims["iat"] == int(now) - 60
    assert now < claims["exp"] <= now + 600


def test_a_broken_key_is_told_without_quoting_it() -> None:
    with pytest.raises(NotConfigured, match="LEDEX_BOT_PRIVATE_KEY") as caught:
        app_jwt(Credentials("1", "-----BEGIN RSA PRIVATE KEY-----\nsecret"), 0.0)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(Credentials("1", "secret"))


def test_without_credentials_the_app_says_how_to_get_some() -> None:
    with pytest.raises(NotConfigured, match="ledex app create"):
        GitHub(None).identity()


def test_a_token_is_minted_for_one_repository_and_the_permissions_of_the_step(server: Server, github: GitHub) -> None:
    token(github)
    (request,) = server.seen("POST", MINT)
    assert request.body == {"permissions": COMMENTING, "repository_ids": [REPOSITORY_ID]}
    assert request.headers["authorization"].startswith("Bearer eyJ")


def test_a_grant_is_minted_once_and_kept_until_five_minutes_before_its_end(server: Server, github: GitHub, time_: Time) -> None:
    first = token(github)
    time_.now += 3600 - 301
    assert token(github) == first
    time_.now += 2
    assert token(github) != first
    assert server.minted == 2


def test_other_permissions_another_repository_and_another_installation_mint_other_tokens(server: Server, github: GitHub) -> None:
    grants = [
        GRANT,
        Grant.of(INSTALLATION, 43, COMMENTING),
        Grant.of(INSTALLATION, REPOSITORY_ID, {}),
        Grant.of(8, REPOSITORY_ID, COMMENTING),
    ]
    assert len({token(github, grant) for grant in grants}) == server.minted == 4


def test_twenty_threads_that_need_one_token_mint_it_once() -> None:
    minted = []

    def mint(grant: Grant) -> Token:
        time.sleep(0.05)
        minted.append(grant)
        return Token(f"t{len(minted)}", time.time() + 3600)

    cache, got = TokenCache(mint, Clock()), []
    threads = [threading.Thread(target=lambda: got.append(cache.token(GRANT))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["t1"] * 20
    assert len(minted) == 1


def test_a_late_refusal_of_an_old_token_does_not_drop_the_new_one(github: GitHub, server: Server) -> None:
    old = token(github)
    github.tokens.forget(GRANT, old)
    new = token(github)
    github.tokens.forget(GRANT, old)
    assert token(github) == new
    assert server.minted == 2


def test_a_token_of_the_new_form_and_any_length_is_taken_as_it_is(server: Server, github: GitHub) -> None:
    long = f"ghs_{APP_ID}_eyJ{'a' * 600}.{'b' * 400}.{'c' * 342}"
    server.on("POST", MINT, lambda r: Answer(201, {"token": long, "expires_at": "2099-01-01T00:00:00Z"}))
    assert token(github) == long


def test_minting_survives_a_failing_server_because_two_tokens_do_no_harm(server: Server, github: GitHub) -> None:
    server.fail("POST", MINT, Answer(502))
    server.fail("POST", MINT, Answer(drop=True), after=True)
    assert token(github).startswith("ghs_")


def test_permissions_that_were_not_granted_are_named(server: Server, github: GitHub) -> None:
    message = "The permissions requested are not granted to this installation."
    server.fail("POST", MINT, Answer(422, {"message": message}))
    with pytest.raises(Forbidden, match="pull_requests=write"):
        token(github)


def test_an_enterprise_server_is_asked_below_its_own_path(server: Server, credentials: Credentials, time_: Time) -> None:
    server.on("GET", "/api/v3/app", lambda r: Answer(body={"id": 3, "slug": "inside"}))
    github = GitHub(credentials, Manners(api_url=f"{server.url}/api/v3/", clock=time_.clock()))
    assert github.identity().login == "inside[bot]"
    assert github.web_url == server.url


def test_the_app_lists_its_installations_and_knows_where_its_webhooks_go(server: Server, github: GitHub) -> None:
    server.on("GET", "/app/installations", lambda r: Answer(body=[{"id": 9}, {"id": 8}]))
    server.on("GET", "/app/hook/config", lambda r: Answer(body={"url": "https://bot.example/webhook"}))
    assert github.installations() == [9, 8]
    assert github.webhook_url() == "https://bot.example/webhook"


def test_git_gets_its_token_by_the_environment_and_only_for_that_host(github: GitHub) -> None:
    with github.for_step(INSTALLATION, REPOSITORY_ID, REPOSITORY, COMMENTING) as session:
        access = session.git_access()
    assert access.url == f"{github.web_url}/{REPOSITORY}.git"
    assert "ghs_" not in repr(access)
    assert access.environment["GIT_CONFIG_KEY_0"] == f"http.{github.web_url}/.extraHeader"
    assert "ghs_" not in str(access.environment)  # base64, as git sends it
    assert access.environment["GIT_CONFIG_VALUE_0"].startswith("Authorization: Basic ")
