"""The outcome of a repair, kept from its end until its job has ended: when only the telling failed, the next attempt tells it.

One file for a job, below ``outcomes/INSTALLATION``. It holds code and what the tests wrote, and is swept away a minute after the job's end.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import select

from bot.context import Context
from bot.models import JobRow
from bot.private_file import write_private
from bot.sandbox_service import MAX_ANSWER, Answered, Asked, told
from bot.store import Claim
from inference.outcome import Outcome, ledexbot_version
from inference.repair import RepairRequest

log = logging.getLogger(__name__)
FOLDER = "outcomes"
SWEEP_SECONDS = 60.0
_YOUNG_SECONDS = 600.0
"""A file that is still being written has no job's name yet."""


class _Kept(Answered):
    """``request`` and ``version``: what was asked of whom. Another answers to another commit, policy or release is no answer."""

    request: str
    version: str


def outcomes_folder(data_dir: Path, installation_id: int | None) -> Path:
    """One folder for each installation, so that they are forgotten together."""
    return data_dir / FOLDER / str(installation_id)


def repair_once(context: Context, claim: Claim, request: RepairRequest, repair: Callable[[RepairRequest], Outcome]) -> Outcome:
    """What ``repair`` comes to, or what it came to in an earlier attempt of the same job at the same request."""
    file = outcomes_folder(context.settings.data_dir, claim.installation_id) / f"{claim.id}.json"
    asked = _fingerprint(request)
    known = _read(file, asked)
    if known is not None:
        log.info("job %d, attempt %d: the repair of an earlier attempt is told", claim.id, claim.attempt)
        return known
    outcome = repair(request)
    if context.is_current(claim):  # of a job that was superseded or forgotten nothing is kept
        _write(file, _Kept(outcome=told(outcome), request=asked, version=ledexbot_version()))
    return outcome


def sweep_outcomes(context: Context) -> None:
    """Remove the outcomes of jobs that have ended or are gone. Run by the timer: a job's end and this are not one moment, so that no crash
    between the two makes a job repeat its repair."""
    files = list((context.settings.data_dir / FOLDER).glob("*/*"))
    numbers = [int(f.stem) for f in files if f.stem.isdigit()]
    if not files:
        return
    with context.database.reading() as session:
        unfinished = set(session.scalars(select(JobRow.id).where(JobRow.id.in_(numbers), JobRow.state.in_(("queued", "running")))))
    for file in files:
        with contextlib.suppress(OSError):
            named = file.stem.isdigit()
            if int(file.stem) not in unfinished if named else file.stat().st_mtime < time.time() - _YOUNG_SECONDS:
                file.unlink()


def _fingerprint(request: RepairRequest) -> str:
    return hashlib.sha256(Asked(request=replace(request, path=Path())).model_dump_json().encode()).hexdigest()


def _read(file: Path, asked: str) -> Outcome | None:
    try:
        with file.open("rb") as source:
            kept = _Kept.model_validate_json(source.read(MAX_ANSWER + 1))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning("%s cannot be read (%s): the repair is made again", file, type(error).__name__)
        return None
    return kept.outcome if (kept.request, kept.version) == (asked, ledexbot_version()) else None


def _write(file: Path, kept: _Kept) -> None:
    """A disk that is full costs the next attempt a repair, not this one its telling."""
    try:
        data = kept.model_dump_json().encode()
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(file, data)
    except (OSError, ValueError) as error:
        log.warning("the outcome of job %s is not kept: %s", file.stem, type(error).__name__)
