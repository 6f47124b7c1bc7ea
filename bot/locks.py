"""Locks as rows: held by a token until a moment, so that a holder who died does not hold for ever."""

from __future__ import annotations

from sqlalchemy import delete, or_, update
from sqlalchemy.orm import Session

from bot.database import insert_into
from bot.models import LockRow

TIMER = "timer"
"""The holder of turns; they are not given back, only over."""


def take(session: Session, name: str, holder: str, until: float, now: float) -> bool:
    """Take a lock, or keep it; False when another holder has it."""
    free = or_(LockRow.until < now, LockRow.holder == holder)
    return _claim(session, name, holder, until, free)


def take_turn(session: Session, name: str, seconds: float, now: float) -> bool:
    """Whether it is this process's turn to do what one process is to do every ``seconds``."""
    return _claim(session, name, TIMER, now + seconds, LockRow.until <= now)


def extend(session: Session, holder: str, until: float) -> None:
    session.execute(update(LockRow).where(LockRow.holder == holder).values(until=until))


def release(session: Session, holder: str) -> None:
    session.execute(delete(LockRow).where(LockRow.holder == holder))


def release_all(session: Session) -> None:
    session.execute(delete(LockRow).where(LockRow.holder != TIMER))


def forget(session: Session, before: float) -> None:
    """Delete the rows of locks that were over before this moment."""
    session.execute(delete(LockRow).where(LockRow.until < before))


def _claim(session: Session, name: str, holder: str, until: float, free: object) -> bool:
    statement = insert_into(session, LockRow).values(name=name, holder=holder, until=until)
    taken = statement.on_conflict_do_update(index_elements=["name"], set_={"holder": holder, "until": until}, where=free)
    return session.scalar(taken.returning(LockRow.name)) is not None
