"""Operations on the conversation of a pull request: comments, reactions, labels."""

from __future__ import annotations

from bot.demo.emulator import events, shapes
from bot.demo.emulator.answers import Answer, Call, Route, invalid, missing
from bot.demo.emulator.rest_pulls import pull_of
from bot.demo.emulator.state import Comment, Reaction

_HERE = "/repos/{owner}/{repo}"
_READ, _WRITE = ("pull_requests", "read"), ("pull_requests", "write")
BODY_LIMIT = 65_536


def list_comments(call: Call) -> Answer:
    one = pull_of(call, "issue_number")
    said = [comment for comment in call.state.comments.values() if comment.pull is one]
    return call.paginate([_shape(call, comment) for comment in said])


def _shape(call: Call, one: Comment) -> dict[str, object]:
    own = call.state.installation_of(one.pull.repository)
    return shapes.comment(call.emulator.at, call.state.app, dict(own.permissions) if own else {}, one)


def _checked(text: str) -> str:
    if not text.strip():
        raise invalid("body can't be blank", "IssueComment", "missing_field", "body")
    if len(text) > BODY_LIMIT:
        raise invalid(f"body is too long (maximum is {BODY_LIMIT} characters)", "IssueComment", "custom", "body")
    return text


def create_comment(call: Call) -> Answer:
    pull, now = pull_of(call, "issue_number"), call.state.clock()
    made = Comment(call.state.new_id(), pull, call.actor, _checked(call.body["body"]), now, now, by_app=True)
    call.state.comments[made.id] = made
    events.issue_comment(call.emulator, "created", made, call.actor)
    return Answer(201, _shape(call, made))


def _comment(call: Call) -> Comment:
    return call.of_repository(call.state.comments, "comment_id", lambda one: one.pull.repository)


def get_comment(call: Call) -> Answer:
    return Answer(200, _shape(call, _comment(call)))


def update_comment(call: Call) -> Answer:
    one = _comment(call)
    before, one.body, one.updated = one.body, _checked(call.body["body"]), call.state.clock()
    events.issue_comment(call.emulator, "edited", one, call.actor, changes={"body": {"from": before}})
    return Answer(200, _shape(call, one))


def delete_comment(call: Call) -> Answer:
    one = _comment(call)
    del call.state.comments[one.id]
    events.issue_comment(call.emulator, "deleted", one, call.actor)
    return Answer(204)


def list_reactions(call: Call) -> Answer:
    return call.paginate([shapes.reaction(call.emulator.at, one) for one in _comment(call).reactions])


def react(call: Call) -> Answer:
    return _react(call, _comment(call).reactions)


def react_to_review_comment(call: Call) -> Answer:
    one = call.of_repository(call.state.review_comments, "comment_id", lambda one: one.pull.repository)
    return _react(call, one.reactions)


def _react(call: Call, reactions: list[Reaction]) -> Answer:
    """200 when this account reacted so already, 201 when it is new."""
    content = call.body["content"]
    for one in reactions:
        if one.user is call.actor and one.content == content:
            return Answer(200, shapes.reaction(call.emulator.at, one))
    made = Reaction(call.state.new_id(), call.actor, content, call.state.clock())
    reactions.append(made)
    return Answer(201, shapes.reaction(call.emulator.at, made))


def list_labels(call: Call) -> Answer:
    return call.paginate([shapes.label(call.emulator.at, call.repository, name) for name in pull_of(call, "issue_number").labels])


def add_labels(call: Call) -> Answer:
    pull, body = pull_of(call, "issue_number"), call.body
    entries = [] if body is None else body if isinstance(body, list) else [body] if isinstance(body, str) else body.get("labels", [])
    for entry in entries:
        name = entry if isinstance(entry, str) else entry["name"]
        if name not in pull.labels:
            pull.labels.append(name)
            label = shapes.label(call.emulator.at, call.repository, name)
            events.pull_request(call.emulator, "labeled", pull, call.actor, label=label)
    return list_labels(call)


def remove_label(call: Call) -> Answer:
    pull, name = pull_of(call, "issue_number"), call.path["name"]
    if name not in pull.labels:
        raise missing()
    pull.labels.remove(name)
    events.pull_request(call.emulator, "unlabeled", pull, call.actor, label=shapes.label(call.emulator.at, call.repository, name))
    return list_labels(call)


_COMMENTS, _ISSUE = f"{_HERE}/issues/comments/{{comment_id}}", f"{_HERE}/issues/{{issue_number}}"
# Every issue here is a pull request. Its conversation is read with either permission; writing wants pull_requests, although GitHub's
# reference names issues as well: tokens with issues alone are refused in practice.
_EITHER = ("issues", "read")
ROUTES = (
    Route("POST", f"{_HERE}/pulls/comments/{{comment_id}}/reactions", react_to_review_comment, _WRITE),
    Route("GET", f"{_ISSUE}/comments", list_comments, _READ, also=_EITHER),
    Route("POST", f"{_ISSUE}/comments", create_comment, _WRITE),
    Route("GET", _COMMENTS, get_comment, _READ, also=_EITHER),
    Route("PATCH", _COMMENTS, update_comment, _WRITE),
    Route("DELETE", _COMMENTS, delete_comment, _WRITE),
    Route("GET", f"{_COMMENTS}/reactions", list_reactions, _READ, also=_EITHER),
    Route("POST", f"{_COMMENTS}/reactions", react, _WRITE),
    Route("GET", f"{_ISSUE}/labels", list_labels, _READ, also=_EITHER),
    Route("POST", f"{_ISSUE}/labels", add_labels, _WRITE),
    Route("DELETE", f"{_ISSUE}/labels/{{name}}", remove_label, _WRITE),
)
