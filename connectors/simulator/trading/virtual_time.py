"""An asyncio event loop whose time jumps to whatever comes next: a minute of a venue's life takes a millisecond.

::

    with VirtualTime() as loop:
        venue = SimulatedVenue(PROFILES["lighter"], loop.agenda, seed=7)
        ...
        loop.run(scenario(SimulatedPort(venue, "desk")))

No socket, no thread: what a coroutine hands to an executor runs at once, in line, so that a run is the same each time.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, Protocol, TypeVar, TypeVarTuple

from connectors.simulator.trading.agenda import Agenda
from schemas.clock import HOUR, SECOND, Clock

START = 1_760_000_000 * SECOND
"""9 October 2025, 08:53:20 UTC: where virtual time begins unless told otherwise."""

_RESOLUTION = 1e-9
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class StuckError(RuntimeError):
    """Everybody waits and nothing will ever happen, or the run went past its horizon."""


class _Handle:
    """A call to come: ``asyncio.TimerHandle`` without what only other loops need."""

    __slots__ = ("_args", "_callback", "_cancelled", "_context", "_when")

    def __init__(self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self._when, self._callback, self._args, self._context = when, callback, args, context
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when

    def _run(self) -> None:
        self._context.run(self._callback, *self._args)


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop itself; see the module. Its step is that of asyncio but for sockets, and much cheaper."""

    _stopping: bool

    def __init__(self, agenda: Agenda, horizon: int) -> None:
        super().__init__()
        self.agenda = agenda
        self._origin, self._horizon = agenda.now, horizon
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._count = 0
        self.faults: list[dict[str, Any]] = []
        """Exceptions nobody awaited; ``run`` raises the first."""
        self.set_exception_handler(lambda _, context: self.faults.append(context))

    def time(self) -> float:
        """Seconds since the run began."""
        return (self.agenda.now - self._origin) / SECOND

    def call_soon(  # type: ignore[override] # what it gives does all that is asked of a handle
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> _Handle:
        """In the next step."""
        handle = _Handle(0.0, callback, args, context or copy_context())
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override] # likewise
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> _Handle:
        """Calls of one moment are made in the order they were asked for."""
        handle = _Handle(when, callback, args, context or copy_context())
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def call_later(  # type: ignore[override] # likewise
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> _Handle:
        """See ``call_at``."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """Move the time to whatever comes next, unless something is ready, and run what is ready now."""
        ready, timers, agenda = self._ready, self._timers, self.agenda
        while timers and timers[0][2]._cancelled:  # noqa: SLF001 - a handle is a part of its loop
            heapq.heappop(timers)
        agenda.run_until(agenda.now if ready or self._stopping else self._next(timers))
        now = self.time() + _RESOLUTION
        while timers and timers[0][0] < now:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:  # noqa: SLF001 - likewise
                try:
                    handle._run()  # noqa: SLF001 - likewise
                except Exception as error:  # noqa: BLE001 - as asyncio does
                    self.call_exception_handler({"message": "a callback raised", "exception": error})

    def _next(self, timers: list[tuple[float, int, _Handle]]) -> int:
        """When something happens again."""
        times = [] if (following := self.agenda.next_time) is None else [following]
        if timers:
            # Rounded up: a timer that is due in 0.3 ns must find its time come.
            times.append(max(self.agenda.now, self._origin - int(-timers[0][0] * SECOND // 1)))
        if not times:
            raise StuckError("every task waits and nothing is on the agenda")
        if (until := min(times)) > self._horizon:
            raise StuckError(f"virtual time passed its horizon, {self._horizon} ns")
        return until

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002 - the loop's contract
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Call it now."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits, as an executor does
            future.set_exception(error)
        return future

    def _write_to_self(self) -> None:
        """Nobody sleeps."""


class VirtualTime:
    """A virtual-time loop with the agenda of the venues that live on it.

    :arg start: nanoseconds UTC.
    :arg horizon: nanoseconds after ``start`` at which the run is called stuck.
    """

    def __init__(self, start: int = START, horizon: int = 48 * HOUR) -> None:
        self.agenda = Agenda(start)
        self._loop = VirtualLoop(self.agenda, start + horizon)

    @property
    def clock(self) -> Clock:
        """Virtual nanoseconds UTC, for whatever takes a clock."""
        return self.agenda.clock

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end, jumping over every wait.

        :raises StuckError: it waits for what never comes.
        """
        found = self._loop.run_until_complete(work)
        gc.collect(0)  # from Python 3.12 on a task that failed refers to itself and is not given up before
        if self._loop.faults:
            context = self._loop.faults[0]
            raise context.get("exception") or RuntimeError(context["message"])
        return found

    def __enter__(self) -> VirtualTime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = self._loop
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


class _Timers(Protocol):
    def call_later(self, delay: float, callback: Callable[[], object]) -> asyncio.TimerHandle: ...


class Pacemaker:
    """Keeps an agenda in step with a real clock on the running loop: the same venue, in real time."""

    def __init__(self, agenda: Agenda, clock: Clock, loop: _Timers) -> None:
        self._agenda = agenda
        self._clock = clock
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        agenda.earlier = self._wake
        self.catch_up()

    def catch_up(self) -> None:
        """Do what is due by the clock, and arm the timer for what comes next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        earlier, self._agenda.earlier = self._agenda.earlier, None
        self._agenda.run_until(self._clock())
        self._agenda.earlier = earlier
        following = self._agenda.next_time
        if following is not None:
            self._wake(following)

    def _wake(self, time: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(max(0, time - self._clock()) / SECOND, self.catch_up)

    def stop(self) -> None:
        """Let time stand still."""
        self._agenda.earlier = None
        if self._timer is not None:
            self._timer.cancel()
