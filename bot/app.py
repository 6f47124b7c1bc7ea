"""The web application: the webhook, proof bundles and a health check."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from bot import store
from bot.context import Context
from bot.proof_link import proof_router
from bot.recorder import Recorder
from bot.webhook import webhook_router


def create_app(context: Context, send: Callable[[Sequence[int]], None]) -> FastAPI:
    """``send`` hands the ids of committed jobs to the queue; it must not block. The database must have been migrated."""
    recorder = Recorder(context.database, send, context.clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        recorder.start()
        yield
        await anyio.to_thread.run_sync(recorder.stop)

    app = FastAPI(title="ledex", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(webhook_router(context.settings.webhook_secrets, lambda: context.filters, recorder))
    app.include_router(proof_router(context))

    @app.get("/healthz")
    def healthz() -> JSONResponse:
        return JSONResponse(*_health(context))

    return app


def _health(context: Context) -> tuple[dict[str, Any], int]:
    """503 when the database cannot be reached, since deliveries cannot be recorded then."""
    settings = context.settings
    health: dict[str, Any] = {
        "status": "ok",
        "database": "ok",
        "github": "configured" if settings.is_configured else "not configured",
        "webhook_secret": "set" if settings.webhook_secrets else "not set",
        "queue": "embedded" if settings.is_embedded else "broker",
    }
    try:
        with context.database.reading() as session:
            health["jobs"] = store.count_jobs(session)
    except SQLAlchemyError:
        return health | {"status": "failing", "database": "not reachable"}, 503
    return health, 200
