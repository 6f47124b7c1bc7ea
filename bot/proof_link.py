"""The address of a proof bundle, and the route that serves it.

Whoever has the address may read the bundle; the address stands in the comment, which everybody who may read the pull request reads. It
cannot be guessed (HMAC of the server's secret), names nothing, and does not end by itself: erasing, the time that bundles are kept, and
a new secret end it. A server without LEDEX_BOT_PUBLIC_URL links nothing.
"""

from __future__ import annotations

import hmac
import re
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, PlainTextResponse
from sqlalchemy import select

from bot.context import Context
from bot.models import FixRow
from bot.proof import PROOFS
from bot.server_secret import keyed
from bot.settings import BotSettings

_TOKEN = re.compile(r"([1-9][0-9]{0,17})-([0-9a-f]{64})", re.ASCII)
_HEADERS = {
    "Cache-Control": "private, no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex"}  # fmt: skip


def proof_url(settings: BotSettings, run_id: int, repository_id: int, head_sha: str) -> str:
    """The address of a run's bundle; "" where this server has none that others can reach."""
    if settings.public_url is None:
        return ""
    return f"{settings.public_url}/proof/{run_id}-{_signature(settings, run_id, repository_id, head_sha)}"


def _signature(settings: BotSettings, run_id: int, repository_id: int, head_sha: str) -> str:
    # Not the number alone: SQLite gives the number of an erased run to a later one, perhaps of another installation.
    return keyed(settings, "proof", f"{run_id}:{repository_id}:{head_sha}")


def proof_router(context: Context) -> APIRouter:
    """GET /proof/TOKEN: the bundle, or 404 for everything else, told apart by nothing."""
    router = APIRouter()

    @router.api_route("/proof/{token}", methods=["GET", "HEAD"])
    def proof(token: str) -> Response:
        found = bundle_file(context, token)
        if found is None:
            return PlainTextResponse("There is no such proof, or it is not kept any more.\n", 404, _HEADERS)
        return FileResponse(found, media_type="application/gzip", filename=f"ledex-proof-{found.name}", headers=_HEADERS)

    return router


def bundle_file(context: Context, token: str) -> Path | None:
    """The bundle that a token of ours names. The path comes from the table of fixes and must lie in the folder of bundles."""
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        return None
    run_id = int(parts.group(1))
    chosen = select(FixRow.repository_id, FixRow.head_sha, FixRow.proof_path).where(FixRow.run_id == run_id).order_by(FixRow.id.desc())
    with context.database.reading() as session:
        row = session.execute(chosen.limit(1)).one_or_none()
    if row is None or row.proof_path is None:
        return None
    if not hmac.compare_digest(_signature(context.settings, run_id, row.repository_id, row.head_sha), parts.group(2)):
        return None
    home = context.settings.data_dir.resolve()
    file = (home / row.proof_path).resolve()
    return file if file.parent == home / PROOFS and file.name.endswith(".tar.gz") and file.is_file() else None
