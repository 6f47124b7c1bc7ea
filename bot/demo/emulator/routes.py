"""Every operation that the emulator serves. Their paths are those of the description, and a test holds both lists together."""

from __future__ import annotations

from bot.demo.emulator import rest_app, rest_ci, rest_comments, rest_git, rest_pulls, rest_repositories

ROUTES = (*rest_app.ROUTES, *rest_repositories.ROUTES, *rest_git.ROUTES, *rest_pulls.ROUTES, *rest_comments.ROUTES, *rest_ci.ROUTES)
