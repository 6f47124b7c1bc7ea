"""Operations of the App itself: who it is, where it is installed, its tokens and its deliveries."""

from __future__ import annotations

import secrets

from bot.demo.emulator import auth, shapes
from bot.demo.emulator.answers import Answer, Call, Refusal, Route, found, invalid, missing
from bot.demo.emulator.deliveries import full_shape, item_shape
from bot.demo.emulator.state import ALL_PERMISSIONS, User, stamp

DELIVERIES_KEPT_SECONDS = 3 * 86400


def get_app(call: Call) -> Answer:
    app = call.state.app
    count = len(call.state.installations)
    return Answer(200, {**shapes.integration(call.emulator.at, app, dict(ALL_PERMISSIONS)), "installations_count": count})


def hook_config(call: Call) -> Answer:
    return Answer(
        200,
        {"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": call.emulator.deliveries.url or "http://unset.invalid"},
    )


def list_deliveries(call: Call) -> Answer:
    """Newest first; pages by cursor, which is the id of the last delivery of the page before."""
    oldest = call.state.clock() - DELIVERIES_KEPT_SECONDS
    kept = [one for one in reversed(call.emulator.deliveries.kept) if one.at >= oldest and one.status != "pending"]
    if "status" in call.query:
        kept = [one for one in kept if (one.status == "OK") == (call.query["status"] == "success")]
    if "cursor" in call.query:
        kept = [one for one in kept if one.id < int(call.query["cursor"])]
    size = int(call.query.get("per_page", 30))
    headers = {}
    if len(kept) > size:
        headers["Link"] = f'<{call.url}?per_page={size}&cursor={kept[size - 1].id}>; rel="next"'
    return Answer(200, [item_shape(one) for one in kept[:size]], headers)


def get_delivery(call: Call) -> Answer:
    return Answer(200, full_shape(found(call.emulator.deliveries.find(call.number("delivery_id"))), call.emulator.deliveries.url))


def redeliver(call: Call) -> Answer:
    found(call.emulator.deliveries.redeliver(call.number("delivery_id")))
    return Answer(202, {})


def list_installations(call: Call) -> Answer:
    chosen = [shapes.installation(call.emulator.at, call.state.app, one) for one in call.state.installations.values()]
    return call.paginate(chosen)


def get_installation(call: Call) -> Answer:
    one = found(call.state.installations.get(call.number("installation_id")))
    return Answer(200, shapes.installation(call.emulator.at, call.state.app, one))


def repository_installation(call: Call) -> Answer:
    one = found(call.state.installation_of(call.repository))
    return Answer(200, shapes.installation(call.emulator.at, call.state.app, one))


def create_token(call: Call) -> Answer:
    one = found(call.state.installations.get(call.number("installation_id")))
    if one.suspended is not None:
        raise Refusal(403, "This installation has been suspended")
    body = call.body or {}
    numbers = body.get("repository_ids")
    if "repositories" in body:
        named = {each.name: each.id for each in call.state.repositories.values() if each.id in one.repositories}
        if set(body["repositories"]) - named.keys():
            raise Refusal(422, "There is at least one repository that does not exist or is not accessible to the parent installation.")
        numbers = [*(numbers or []), *(named[name] for name in body["repositories"])]
    token = auth.mint(call.state, one, None if numbers is None else frozenset(numbers), body.get("permissions"), call.emulator.long_tokens)
    answer = {"token": token.value, "expires_at": stamp(token.expires), "permissions": token.permissions}
    if numbers is None:
        return Answer(201, {**answer, "repository_selection": "selected"})
    chosen = [shapes.repository(call.emulator.at, call.state.repositories[number]) for number in sorted(token.repositories)]
    return Answer(201, {**answer, "repository_selection": "selected", "repositories": chosen})


def convert_manifest(call: Call) -> Answer:
    """The last step of the manifest flow. A code works once."""
    code = call.path["code"]
    if code not in call.state.manifest_codes:
        raise missing()
    call.state.manifest_codes.remove(code)
    app = call.state.app
    secret = {
        "client_id": f"Iv1.{secrets.token_hex(8)}", "client_secret": secrets.token_hex(20), "webhook_secret": app.webhook_secret,
        "pem": app.private_key,
    }  # fmt: skip
    return Answer(201, {**shapes.integration(call.emulator.at, app, dict(ALL_PERMISSIONS)), **secret})


def token_repositories(call: Call) -> Answer:
    numbers = sorted(call.token.repositories) if call.token else []
    chosen = [shapes.repository(call.emulator.at, call.state.repositories[number]) for number in numbers]
    return call.paginate(chosen, "repositories")


def rate_limit(call: Call) -> Answer:
    core = call.emulator.rates(f"installation:{call.token.installation.id}" if call.token else "anonymous")
    return Answer(200, {"resources": {"core": core, "search": {**core, "limit": 30, "remaining": 30, "used": 0}}, "rate": core})


def get_user(call: Call) -> Answer:
    name = call.path["username"].lower()
    if name not in call.state.users:
        raise missing()
    one: User = call.state.users[name]
    return Answer(200, shapes.profile(call.emulator.at, one))


def search_issues(call: Call) -> Answer:
    """Pull requests by the commit that the query names, within ``repo:OWNER/NAME``; nothing cleverer."""
    words = call.query["q"].split()
    scope = [word.removeprefix("repo:") for word in words if word.startswith("repo:")]
    shas = [word for word in words if ":" not in word and len(word) >= 7]
    if not scope or not shas:
        raise invalid("the emulated search needs repo:OWNER/NAME and a commit")
    hits = []
    for one in call.state.pulls:
        allowed = call.token is not None and one.repository.id in call.token.repositories
        if allowed and one.repository.full_name in scope and one.head_sha.startswith(shas[0]):
            full = shapes.pull_simple(call.emulator.at, one)
            page = f"{call.emulator.at.page(one.repository)}/pull/{one.number}"
            urls = {"url": full["issue_url"], "repository_url": call.emulator.at.of(one.repository), "comments_url": full["comments_url"]}
            more = {
                "labels_url": f"{full['issue_url']}/labels",
                "events_url": f"{full['issue_url']}/events",
                "html_url": page,
                "comments": 0,
            }
            pull = {key: full[key] for key in ("url", "html_url", "diff_url", "patch_url")}
            hits.append({**{key: full[key] for key in shapes.ISSUE_KEYS}, **urls, **more, "pull_request": pull, "score": 1.0})
    page_of = call.paginate(hits, "items")
    return Answer(200, {**page_of.body, "incomplete_results": False, "search_type": "lexical"}, page_of.headers)


ROUTES = (
    Route("GET", "/app", get_app, "app"),
    Route("GET", "/app/hook/config", hook_config, "app"),
    Route("GET", "/app/hook/deliveries", list_deliveries, "app"),
    Route("GET", "/app/hook/deliveries/{delivery_id}", get_delivery, "app"),
    Route("POST", "/app/hook/deliveries/{delivery_id}/attempts", redeliver, "app"),
    Route("GET", "/app/installations", list_installations, "app"),
    Route("GET", "/app/installations/{installation_id}", get_installation, "app"),
    Route("GET", "/repos/{owner}/{repo}/installation", repository_installation, "app"),
    Route("POST", "/app/installations/{installation_id}/access_tokens", create_token, "app"),
    Route("POST", "/app-manifests/{code}/conversions", convert_manifest, "anyone"),
    Route("GET", "/installation/repositories", token_repositories, "token"),
    Route("GET", "/rate_limit", rate_limit, "anyone"),
    Route("GET", "/users/{username}", get_user, "anyone"),
    Route("GET", "/search/issues", search_issues, "token"),
)
