"""An event loop in a thread of its own: the search is not asynchronous, the conversation is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
#: Seconds between the starts of parallel requests, so that a server meets them in slot order.
STAGGER = 0.05


class Background:
    """Runs coroutines while the calling thread waits."""

    def __init__(self) -> None:
        """Starts with the first call, and cannot be used again once it is closed."""
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def gather(self, starts: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """Runs coroutines side by side, begun in order.

        When the caller is interrupted all are cancelled. When one fails the others finish first:
        what they bring is kept on disk.

        Args:
            starts: Make one coroutine each.

        Returns:
            Their results, in order.
        """

        async def one(place: int) -> T:
            await asyncio.sleep(place * STAGGER)
            return await starts[place]()

        async def every() -> list[T | BaseException]:
            tasks = [asyncio.ensure_future(one(place)) for place in range(len(starts))]
            try:
                return await asyncio.gather(*tasks, return_exceptions=True)
            except asyncio.CancelledError:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                raise

        found = self._run(every())
        results: list[T] = []
        for result in found:
            if isinstance(result, BaseException):
                raise result
            results.append(result)
        return results

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._running())
        except ConnectionAbortedError:
            coroutine.close()
            raise
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                # A thread that still works on something must not ask on after an interruption.
                raise ConnectionAbortedError("the conversation was ended")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="gsim-chat", daemon=True
                )
                self._thread.start()
            return self._loop

    def close(self, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Cancels what is under way, runs `last`, and ends the thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
            self._closed = True
        if loop is None or thread is None:
            return

        async def end() -> None:
            own = asyncio.current_task()
            tasks = [task for task in asyncio.all_tasks() if task is not own]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if last is not None:
                await last()

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
