"""GitHub's JSON for accounts, the App, repositories, pull requests and what is said on them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from bot.demo.emulator import repositories
from bot.demo.emulator.state import App, Comment, Installation, Pull, Reaction, Repository, Review, ReviewComment, State, User, stamp

Json = dict[str, Any]

# What an issue and the pull request that it is have in common.
ISSUE_KEYS = (
    "id node_id number title user labels state locked assignee milestone created_at updated_at closed_at author_association body".split()
)
_USER_LINKS = (
    "followers following{/other_user} gists{/gist_id} starred{/owner}{/repo} subscriptions orgs repos events{/privacy} received_events"
)
_REPOSITORY_LINKS = """
    archive{archive_format}{/ref} assignees{/user} git/blobs{/sha} branches{/branch} collaborators{/collaborator} comments{/number}
    commits{/sha} compare/{base}...{head} contents/{+path} contributors deployments downloads events forks git/commits{/sha}
    git/refs{/sha} git/tags{/sha} hooks issues/comments{/number} issues/events{/number} issues{/number} keys{/key_id} labels{/name}
    languages merges milestones{/number} notifications{?since,all,participating} pulls{/number} releases{/id} stargazers
    statuses/{sha} subscribers subscription tags teams git/trees{/sha}
"""
# Where GitHub's name for a link is not the first word of its path.
_LINK_NAMES = {"orgs": "organizations", "issues/comments": "issue_comment", "issues/events": "issue_events"}


@dataclass(frozen=True)
class Addresses:
    """Where this GitHub is: ``api`` and ``web`` without a trailing slash. Every URL in every answer starts with one of them."""

    api: str
    web: str

    def of(self, repository: Repository) -> str:
        return f"{self.api}/repos/{repository.full_name}"

    def page(self, repository: Repository) -> str:
        return f"{self.web}/{repository.full_name}"


def node(kind: str, number: int) -> str:
    return base64.b64encode(f"{kind}{number}".encode()).decode()


def _links(prefix: str, words: str) -> Json:
    links = {}
    for word in words.split():
        path = word.split("{")[0].rstrip("/")
        name = _LINK_NAMES.get(path, path.removeprefix("git/") if path.split("/")[-1] in ("blobs", "trees") else path.replace("/", "_"))
        links[f"{name}_url"] = f"{prefix}/{word}"
    return links


def user(at: Addresses, one: User) -> Json:
    mine = f"{at.api}/users/{one.login}"
    page = f"{at.web}/apps/{one.login.removesuffix('[bot]')}" if one.type == "Bot" else f"{at.web}/{one.login}"
    return {
        "login": one.login, "id": one.id, "node_id": node("User", one.id), "avatar_url": f"{at.web}/avatars/u/{one.id}", "gravatar_id": "",
        "url": mine, "html_url": page, **_links(mine, _USER_LINKS), "type": one.type, "site_admin": False,
    }  # fmt: skip


def organization(at: Addresses, one: User) -> Json:
    """How webhooks describe the organisation that owns a repository."""
    mine = f"{at.api}/orgs/{one.login}"
    links = {f"{word}_url": f"{mine}/{word}" for word in ("repos", "events", "hooks", "issues")}
    members = {f"{word}_url": f"{mine}/{word}{{/member}}" for word in ("members", "public_members")}
    own = {"login": one.login, "id": one.id, "node_id": node("Organization", one.id), "url": mine, "description": None}
    return {**own, **links, **members, "avatar_url": f"{at.web}/avatars/u/{one.id}"}


def profile(at: Addresses, one: User) -> Json:
    nothing = dict.fromkeys(("name", "company", "blog", "location", "email", "hireable", "bio"))
    counts = dict.fromkeys(("public_repos", "public_gists", "followers", "following"), 0)
    return {**user(at, one), **nothing, **counts, "created_at": stamp(0), "updated_at": stamp(0)}


def integration(at: Addresses, app: App, permissions: Json) -> Json:
    return {
        "id": app.id, "slug": app.slug, "node_id": node("App", app.id), "owner": user(at, app.owner), "name": app.name, "description": "",
        "external_url": f"{at.web}/{app.owner.login}", "html_url": f"{at.web}/apps/{app.slug}", "created_at": stamp(app.created),
        "updated_at": stamp(app.created), "permissions": permissions, "events": list(app.events),
    }  # fmt: skip


def actions_app(at: Addresses) -> Json:
    """The App of GitHub Actions, whose check runs the jobs of workflows are."""
    owner = User(9919, "github", "Organization")
    return {
        "id": 15368, "slug": "github-actions", "node_id": node("App", 15368), "owner": user(at, owner), "name": "GitHub Actions",
        "description": "",
        "external_url": "https://help.github.com/en/actions", "html_url": f"{at.web}/apps/github-actions", "created_at": stamp(0),
        "updated_at": stamp(0), "permissions": {"actions": "write", "checks": "write", "metadata": "read"},
        "events": ["check_run", "check_suite"],
    }  # fmt: skip


def installation(at: Addresses, app: App, one: Installation) -> Json:
    return {
        "id": one.id, "account": user(at, one.account), "repository_selection": "selected", "app_id": app.id, "app_slug": app.slug,
        "access_tokens_url": f"{at.api}/app/installations/{one.id}/access_tokens",
        "repositories_url": f"{at.api}/installation/repositories",
        "html_url": f"{at.web}/settings/installations/{one.id}", "target_id": one.account.id, "target_type": one.account.type,
        "permissions": dict(one.permissions), "events": list(app.events), "created_at": stamp(one.created),
        "updated_at": stamp(one.created),
        "single_file_name": None, "suspended_by": None if one.suspended is None else user(at, one.account),
        "suspended_at": None if one.suspended is None else stamp(one.suspended),
    }  # fmt: skip


def repository(at: Addresses, one: Repository) -> Json:
    mine, page, made = at.of(one), at.page(one), stamp(one.created)
    zero = dict.fromkeys("forks forks_count open_issues open_issues_count size stargazers_count watchers watchers_count".split(), 0)
    yes = dict.fromkeys("has_issues has_projects has_wiki has_downloads".split(), True)
    no = dict.fromkeys("has_pages has_discussions archived disabled".split(), False)
    return {
        "id": one.id, "node_id": node("Repository", one.id), "name": one.name, "full_name": one.full_name, "owner": user(at, one.owner),
        "private": one.private, "html_url": page, "description": None, "fork": one.parent is not None, "url": mine,
        **_links(mine, _REPOSITORY_LINKS), **zero, **yes, **no, "clone_url": f"{page}.git", "git_url": f"git:{page.split(':', 1)[1]}.git",
        "ssh_url": f"git@{at.web.split('//')[1]}:{one.full_name}.git", "svn_url": page, "mirror_url": None, "homepage": None,
        "language": "Python",
        "license": None, "default_branch": one.default_branch, "pushed_at": made, "created_at": made, "updated_at": made,
        "custom_properties": {}, "visibility": "private" if one.private else "public", "topics": [],
        "allow_forking": True, "is_template": False, "web_commit_signoff_required": False,
    }  # fmt: skip


def minimal_repository(at: Addresses, one: Repository) -> Json:
    """How workflow runs mention a repository."""
    full = repository(at, one)
    plain = ("id", "node_id", "name", "full_name", "owner", "private", "html_url", "description", "fork", "url")
    other = ("clone_url", "git_url", "ssh_url", "svn_url", "mirror_url", "html_url")
    return {key: full[key] for key in (*plain, *(key for key in full if key.endswith("_url") and key not in other))}


def association(one: Repository, author: User) -> str:
    if author.login == one.owner.login:
        return "OWNER"
    return "COLLABORATOR" if author.login.lower() in one.roles else "NONE"


def pull_simple(at: Addresses, one: Pull) -> Json:
    mine, page = f"{at.of(one.repository)}/pulls/{one.number}", f"{at.page(one.repository)}/pull/{one.number}"
    issue = f"{at.of(one.repository)}/issues/{one.number}"
    links = {
        "self": mine, "html": page, "issue": issue, "comments": f"{issue}/comments", "review_comments": f"{mine}/comments",
        "review_comment": f"{at.of(one.repository)}/pulls/comments{{/number}}", "commits": f"{mine}/commits",
        "statuses": f"{at.of(one.repository)}/statuses/{one.head_sha}",
    }  # fmt: skip
    times = {"closed_at": one.closed, "merged_at": one.merged}
    return {
        "url": mine, "id": one.id, "node_id": node("PullRequest", one.id), "html_url": page, "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        "issue_url": issue, "commits_url": links["commits"], "review_comments_url": links["review_comments"],
        "review_comment_url": links["review_comment"], "comments_url": links["comments"], "statuses_url": links["statuses"],
        "number": one.number, "state": one.state, "locked": False, "title": one.title, "user": user(at, one.author), "body": one.body,
        "labels": [label(at, one.repository, name) for name in one.labels], "milestone": None, "created_at": stamp(one.created),
        "updated_at": stamp(one.updated), **{key: None if value is None else stamp(value) for key, value in times.items()},
        "merge_commit_sha": one.merge_sha, "assignee": None, "assignees": [], "requested_reviewers": [], "requested_teams": [],
        "active_lock_reason": None,
        "head": _side(at, one.head_repository, one.head_ref, one.head_sha, one.author),
        "base": _side(at, one.repository, one.base_ref, one.base_sha, one.author),
        "_links": {key: {"href": value} for key, value in links.items()}, "author_association": association(one.repository, one.author),
        "auto_merge": None, "draft": one.draft,
    }  # fmt: skip


def _side(at: Addresses, where: Repository | None, ref: str, commit: str, author: User) -> Json:
    owner = where.owner if where else author
    return {
        "label": f"{owner.login}:{ref}",
        "ref": ref,
        "sha": commit,
        "user": user(at, owner),
        "repo": repository(at, where) if where else None,
    }


def pull(at: Addresses, state: State, one: Pull) -> Json:
    changes = repositories.changes(one.repository.directory, one.base_sha, one.head_sha)
    said = sum(comment.pull is one for comment in state.comments.values())
    return {
        **pull_simple(at, one), "merged": one.merged is not None, "mergeable": True if one.state == "open" else None, "rebaseable": None,
        "mergeable_state": "unstable" if one.state == "open" else "unknown",
        "merged_by": user(at, one.repository.owner) if one.merged else None,
        "comments": said, "review_comments": sum(comment.pull is one for comment in state.review_comments.values()),
        "maintainer_can_modify": one.maintainer_can_modify and one.is_fork,
        "commits": len(repositories.log(one.repository.directory, one.base_sha, one.head_sha)),
        "additions": sum(change.additions for change in changes), "deletions": sum(change.deletions for change in changes),
        "changed_files": len(changes),
    }  # fmt: skip


def pull_minimal(at: Addresses, one: Pull) -> Json:
    """How workflow runs and check runs mention a pull request."""

    def side(where: Repository, ref: str, commit: str) -> Json:
        return {"ref": ref, "sha": commit, "repo": {"id": where.id, "url": at.of(where), "name": where.name}}

    mine = f"{at.of(one.repository)}/pulls/{one.number}"
    head = one.head_repository or one.repository
    return {
        "id": one.id, "number": one.number, "url": mine,
        "head": side(head, one.head_ref, one.head_sha), "base": side(one.repository, one.base_ref, one.base_sha),
    }  # fmt: skip


def label(at: Addresses, where: Repository, name: str) -> Json:
    number = sum(name.encode()) + where.id * 10_000
    url = f"{at.of(where)}/labels/{name}"
    return {
        "id": number,
        "node_id": node("Label", number),
        "url": url,
        "name": name,
        "description": None,
        "color": "ededed",
        "default": False,
    }


def comment(at: Addresses, app: App, permissions: Json, one: Comment) -> Json:
    where = one.pull.repository
    return {
        "id": one.id, "node_id": node("IssueComment", one.id), "url": f"{at.of(where)}/issues/comments/{one.id}",
        "html_url": f"{at.page(where)}/pull/{one.pull.number}#issuecomment-{one.id}", "body": one.body, "user": user(at, one.author),
        "created_at": stamp(one.created), "updated_at": stamp(one.updated), "issue_url": f"{at.of(where)}/issues/{one.pull.number}",
        "author_association": association(where, one.author),
        "reactions": reactions(f"{at.of(where)}/issues/comments/{one.id}", one.reactions),
        "performed_via_github_app": integration(at, app, permissions) if one.by_app else None,
    }  # fmt: skip


def reactions(url: str, given: list[Reaction]) -> Json:
    counts = {
        word: sum(one.content == word for one in given) for word in ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")
    }
    return {"url": f"{url}/reactions", "total_count": len(given), **counts}


def reaction(at: Addresses, one: Reaction) -> Json:
    return {
        "id": one.id, "node_id": node("Reaction", one.id), "user": user(at, one.user), "content": one.content,
        "created_at": stamp(one.created),
    }  # fmt: skip


def review(at: Addresses, one: Review) -> Json:
    mine = f"{at.of(one.pull.repository)}/pulls/{one.pull.number}"
    page = f"{at.page(one.pull.repository)}/pull/{one.pull.number}#pullrequestreview-{one.id}"
    return {
        "id": one.id, "node_id": node("Review", one.id), "user": user(at, one.author), "body": one.body, "state": one.state,
        "html_url": page,
        "pull_request_url": mine, "_links": {"html": {"href": page}, "pull_request": {"href": mine}}, "submitted_at": stamp(one.created),
        "commit_id": one.commit, "author_association": association(one.pull.repository, one.author),
    }  # fmt: skip


def review_comment(at: Addresses, one: ReviewComment) -> Json:
    where = one.pull.repository
    mine, pull_url = f"{at.of(where)}/pulls/comments/{one.id}", f"{at.of(where)}/pulls/{one.pull.number}"
    page = f"{at.page(where)}/pull/{one.pull.number}#discussion_r{one.id}"
    shape = {
        "id": one.id, "node_id": node("ReviewComment", one.id), "url": mine,
        "pull_request_review_id": one.review.id, "position": one.line, "original_position": one.line,
        "reactions": reactions(mine, one.reactions),
        "diff_hunk": "@@", "path": one.path, "commit_id": one.commit, "original_commit_id": one.commit, "user": user(at, one.author),
        "body": one.body, "created_at": stamp(one.created), "updated_at": stamp(one.created), "html_url": page,
        "pull_request_url": pull_url,
        "author_association": association(where, one.author), "line": one.line, "original_line": one.line, "start_line": one.start_line,
        "original_start_line": one.start_line, "side": one.side, "start_side": one.side if one.start_line else None, "subject_type": "line",
        "_links": {key: {"href": value} for key, value in (("self", mine), ("html", page), ("pull_request", pull_url))},
    }  # fmt: skip
    return shape if one.reply_to is None else {**shape, "in_reply_to_id": one.reply_to}
