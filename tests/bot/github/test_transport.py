"""The manners of the transport, against a real server: what is tried again, what never is, and how limits are obeyed."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from bot.github import Conflict, Forbidden, NotFound, RateLimited, Rejected, Unauthorized, Unavailable
from bot.github.client import GitHub, RepositorySession
from bot.github.pacing import Budget
from bot.github.transport import next_page
from tests.bot.github.conftest import Time
from tests.bot.github.server import INSTALLATION, REPOSITORY, Answer, Server

COMMENTS = rf"/repos/{REPOSITORY}/issues/5/comments"
PULL = rf"/repos/{REPOSITORY}/pulls/5"


def read(session: RepositorySession) -> object:
    return session.requester.requestJsonAndCheck("GET", PULL)[1]


def write(session: RepositorySession) -> object:
    return session.requester.requestJsonAndCheck("POST", COMMENTS, input={"body": "hello"})[1]


@pytest.fixture
def pull(server: Server) -> None:
    server.on("GET", PULL, lambda r: Answer(body={"number": 5}))


@pytest.mark.usefixtures("pull")
@pytest.mark.parametrize("failure", [Answer(502), Answer(503, {"message": "later"}), Answer(drop=True)])
def test_a_read_is_tried_again_after(failure: Answer, server: Server, session: RepositorySession) -> None:
    server.fail("GET", PULL, failure, times=2)
    assert read(session) == {"number": 5, "url": PULL}


@pytest.mark.usefixtures("pull")
def test_a_read_is_given_up_after_four_tries(server: Server, session: RepositorySession, time_: Time) -> None:
    server.fail("GET", PULL, Answer(500), times=9)
    with pytest.raises(Unavailable, match="answered 500"):
        read(session)
    assert len(server.seen("GET", PULL)) == 4
    assert time_.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("failure", [Answer(502), Answer(drop=True)])
def test_a_write_is_never_repeated_by_the_transport_after(failure: Answer, server: Server, session: RepositorySession) -> None:
    server.fail("POST", COMMENTS, failure, after=True)
    with pytest.raises(Unavailable):
        write(session)
    assert len(server.comments) == len(server.seen("POST", COMMENTS)) == 1


@pytest.mark.usefixtures("pull")
def test_a_short_retry_after_is_slept(server: Server, session: RepositorySession, time_: Time) -> None:
    server.fail("GET", PULL, Answer(429, {"message": "slow down"}, {"Retry-After": "7"}))
    read(session)
    assert time_.slept == [pytest.approx(7.0)]


def test_a_refused_write_is_tried_again_since_it_did_not_happen(server: Server, session: RepositorySession, time_: Time) -> None:
    server.fail("POST", COMMENTS, Answer(403, {"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "3"}))
    write(session)
    assert len(server.comments) == 1
    assert time_.slept == [pytest.approx(3.0)]


@pytest.mark.usefixtures("pull")
def test_a_long_retry_after_gives_the_job_back_with_its_time(server: Server, session: RepositorySession, time_: Time) -> None:
    server.fail("GET", PULL, Answer(429, {"message": "slow down"}, {"Retry-After": "120"}))
    with pytest.raises(RateLimited) as caught:
        read(session)
    assert caught.value.retry_at == datetime.fromtimestamp(time_.now + 120, UTC)
    assert time_.slept == []


@pytest.mark.usefixtures("pull")
def test_an_exhausted_hour_waits_for_its_reset(server: Server, session: RepositorySession, time_: Time) -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time_.now) + 900)}
    server.fail("GET", PULL, Answer(403, {"message": "API rate limit exceeded"}, headers))
    with pytest.raises(RateLimited) as caught:
        read(session)
    assert caught.value.retry_at == datetime.fromtimestamp(int(time_.now) + 900, UTC)


@pytest.mark.usefixtures("pull")
def test_a_secondary_limit_without_a_time_waits_a_minute(server: Server, session: RepositorySession, time_: Time) -> None:
    server.fail("GET", PULL, Answer(403, {"message": "You have exceeded a secondary rate limit"}))
    with pytest.raises(RateLimited) as caught:
        read(session)
    assert caught.value.retry_at == datetime.fromtimestamp(time_.now + 60, UTC)


@pytest.mark.usefixtures("pull")
def test_during_a_limit_no_request_of_that_installation_is_sent(server: Server, session: RepositorySession) -> None:
    server.fail("GET", PULL, Answer(429, {"message": "slow down"}, {"Retry-After": "120"}))
    with pytest.raises(RateLimited):
        read(session)
    with pytest.raises(RateLimited):
        write(session)
    assert server.seen("POST", COMMENTS) == []


@pytest.mark.usefixtures("pull")
def test_no_fourth_request_follows_three_refusals(server: Server, session: RepositorySession) -> None:
    server.fail("GET", PULL, Answer(429, {"message": "slow down"}, {"Retry-After": "1"}), times=9)
    with pytest.raises(RateLimited):
        read(session)
    assert len(server.seen("GET", PULL)) == 3


@pytest.mark.usefixtures("pull")
def test_a_refused_token_is_minted_again_once(server: Server, session: RepositorySession) -> None:
    server.fail("GET", PULL, Answer(401, {"message": "Bad credentials"}))
    read(session)
    assert server.minted == 2
    first, second = (r.headers["authorization"] for r in server.seen("GET", PULL))
    assert first != second


@pytest.mark.usefixtures("pull")
def test_a_second_refusal_of_a_new_token_is_an_error(server: Server, session: RepositorySession) -> None:
    server.fail("GET", PULL, Answer(401, {"message": "Bad credentials"}), times=9)
    with pytest.raises(Unauthorized, match="its key"):
        read(session)
    assert server.minted == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(404, {"message": "Not Found"}), NotFound),
        (Answer(410, {"message": "Gone"}), NotFound),
        (Answer(409, {"message": "Conflict"}), Conflict),
        (Answer(422, {"message": "Validation Failed", "errors": [{"code": "invalid"}]}), Rejected),
        (Answer(403, {"message": "Resource not accessible by integration"}), Forbidden),
    ],
)
def test_an_answer_becomes_an_error_of_the_tree(answer: Answer, error: type[Exception], server: Server, session: RepositorySession) -> None:
    server.fail("POST", COMMENTS, answer)
    with pytest.raises(error):
        write(session)


def test_a_missing_permission_is_named(server: Server, session: RepositorySession) -> None:
    headers = {"X-Accepted-GitHub-Permissions": "issues=write; pull_requests=write"}
    server.fail("POST", COMMENTS, Answer(403, {"message": "Resource not accessible by integration"}, headers))
    with pytest.raises(Forbidden, match="grant it issues=write or pull_requests=write") as caught:
        write(session)
    assert caught.value.needed == ("issues=write", "pull_requests=write")


@pytest.mark.usefixtures("pull")
def test_no_token_and_no_key_is_logged_at_any_level(server: Server, session: RepositorySession, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "github")  # PyGithub quiets itself until somebody looks for a fault
    read(session)
    assert "ghs_" not in caplog.text
    assert "eyJ" not in caplog.text


def test_nobody_creates_more_than_eighty_times_in_any_minute(time_: Time) -> None:
    budget, created = Budget(time_.clock()), []
    for _ in range(200):
        time_.sleep(budget.take(5, creates=True, patience=1e9))
        created.append(time_.now)
    assert all(sum(at <= other < at + 60 for other in created) <= 80 for at in created)


def test_nobody_spends_more_than_nine_hundred_points_in_any_minute(time_: Time) -> None:
    budget, sent = Budget(time_.clock()), []
    for _ in range(2500):
        time_.sleep(budget.take(1, creates=False, patience=1e9))
        sent.append(time_.now)
    assert all(sum(at <= other < at + 60 for other in sent) <= 900 for at in sent[::50])


def test_a_wait_beyond_patience_takes_nothing(time_: Time) -> None:
    budget = Budget(time_.clock())
    assert budget.take(450, creates=False, patience=0) == 0
    owed = budget.take(75, creates=False, patience=1)
    assert budget.take(75, creates=False, patience=1) == owed == pytest.approx(10.0)


def test_each_installation_has_its_own_budget(github: GitHub) -> None:
    assert github.budget(INSTALLATION) is github.budget(INSTALLATION)
    assert github.budget(INSTALLATION) is not github.budget(INSTALLATION + 1)


def test_the_next_page_is_found_among_the_links() -> None:
    before, after, last = '<https://a/x?page=1>; rel="prev"', '<https://a/x?page=3>; rel="next"', '<https://a/x?page=9>; rel="last"'
    assert next_page(f"{before}, {after}, {last}") == "https://a/x?page=3"
    assert next_page(last) is None
    assert next_page(None) is None


def test_a_next_page_on_another_host_is_not_asked_with_our_token(server: Server, session: RepositorySession) -> None:
    server.on("GET", PULL, lambda r: Answer(body=[], headers={"Link": '<https://elsewhere.example/x>; rel="next"'}))
    with pytest.raises(Rejected, match="outside"):
        list(session.requester.pages(PULL))
