"""Group commit: deliveries that arrive together are written in one transaction, so that one flush to the disk serves them all."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from sqlalchemy.exc import OperationalError

from bot import store
from bot.database import Database
from bot.store import Delivery

log = logging.getLogger(__name__)
MOST_AT_ONCE = 200
_Waiting = tuple[Delivery, "Future[bool]"]


class Recorder:
    """One thread that writes. ``send`` gets the ids of new jobs once they are committed; it must not block."""

    def __init__(self, database: Database, send: Callable[[Sequence[int]], None], clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._send = send
        self._clock = clock
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        self._waiting.put(None)
        self._thread.join()

    async def record(self, delivery: Delivery) -> bool:
        """Wait until the delivery is on the disk. False if it was there before. Raises what the database raised."""
        future: Future[bool] = Future()
        self._waiting.put((delivery, future))
        return await asyncio.wrap_future(future)

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch: list[_Waiting] = []
            taken = self._waiting.get()
            while taken is not None:
                batch.append(taken)
                if len(batch) == MOST_AT_ONCE:
                    break
                try:
                    taken = self._waiting.get_nowait()
                except queue.Empty:
                    break
            going_on = taken is not None
            if batch:
                self._write(batch)

    def _write(self, batch: Sequence[_Waiting]) -> None:
        try:
            self._commit(batch)
        except Exception as error:
            if len(batch) == 1 or isinstance(error, OperationalError):  # locked or gone: one by one it would only take longer to say so
                for _, future in batch:
                    future.set_exception(error)
                return
            log.warning("a batch of %d deliveries could not be written together (%s); one by one", len(batch), type(error).__name__)
            for waiting in batch:  # one that the database cannot take must not cost the others
                self._write([waiting])

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        with self._database.writing() as session:
            jobs, new = store.record_deliveries(session, [delivery for delivery, _ in batch], self._clock())
        seen: set[str] = set()
        for delivery, future in batch:
            future.set_result(delivery.guid in new and delivery.guid not in seen)
            seen.add(delivery.guid)
        if jobs:
            self._send(jobs)
