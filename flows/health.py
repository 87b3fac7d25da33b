"""The page of a worker: is it alive, is it ready, and its metrics. In a thread of its own; the flow only notes a time.

``/healthz`` is 200 while the flow turns, 503 where it has not for ``STUCK`` seconds: a supervisor restarts it.
``/readyz`` is 200 once the worker does its work, 503 with the reason while it starts, warms up, or stops.
``/metrics`` is for Prometheus. Anything else is 404, and any method but GET and HEAD 405.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from hmac import compare_digest
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import make_wsgi_app

from flows import metrics
from flows.settings import HealthSettings, is_loopback
from schemas.errors import SettingsError

log = structlog.get_logger(__name__)

STUCK = 30.0
"""Seconds without a turn after which a flow counts as hung. A full disk or an absent broker is no reason to hang."""
_PATIENCE = 5.0
"""Seconds a reader may take to ask."""
_PLAIN = ("Content-Type", "text/plain; charset=utf-8")
Start = Callable[[str, list[tuple[str, str]]], Any]


class Health:
    """What one worker says of itself. Any thread may ask; only the flow's thread tells."""

    def __init__(self, worker: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.worker = worker
        self._clock = clock
        self._turned = clock()
        self._waits_for = "starting"
        metrics.worker_up.labels(worker).set(0)

    def turned(self) -> None:
        """The flow went round once."""
        self._turned = self._clock()

    def ready(self) -> None:
        """The worker does its work from now on."""
        if self._waits_for:
            self._waits_for = ""
            metrics.worker_up.labels(self.worker).set(1)

    def unready(self, reason: str) -> None:
        """It does not, because of this."""
        self._waits_for = reason
        metrics.worker_up.labels(self.worker).set(0)

    @property
    def hangs(self) -> str:
        """Why it counts as hung; empty where it does not."""
        still = self._clock() - self._turned
        return f"the flow has not turned for {still:.0f} s" if still > STUCK else ""

    @property
    def waits_for(self) -> str:
        """Why it does not do its work yet, or no more; empty where it does."""
        return self._waits_for or self.hangs


class _Server(ThreadingMixIn, WSGIServer):
    """A slow reader holds up nobody else, and none holds up the end of the process."""

    daemon_threads = True
    allow_reuse_address = True


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE

    def log_message(self, *_: Any) -> None:
        """Being asked is nothing to tell."""

    def address_string(self) -> str:
        """Without asking a name server."""
        return str(self.client_address[0])


class HealthPage:
    """Serves a ``Health`` until closed.

    :raises SettingsError: the address cannot be bound.
    """

    def __init__(self, health: Health, settings: HealthSettings) -> None:
        token = settings.token.get_secret_value() if settings.token else None
        try:
            self._server = make_server(
                settings.host, settings.port, page(health, token), server_class=_Server, handler_class=_Handler
            )
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise SettingsError(
                f"the health page cannot be bound to {where}: {error.strerror}; choose another health.port, or 0"
            ) from error
        self.address = f"http://{settings.host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", args=(0.2,), daemon=True)
        self._thread.start()
        log.info("health page", worker=health.worker, address=self.address)

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def page(health: Health, token: str | None) -> Callable[[dict[str, Any], Start], Iterable[bytes]]:
    """The WSGI application.

    :arg token: what readers must send. Without one, only who names this machine as loopback is answered, so that a
        page in a browser cannot read it under a name of its own.
    """
    told: Callable[[dict[str, Any], Start], Iterable[bytes]] = make_wsgi_app(metrics.REGISTRY)

    def answer(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if not _may_read(environ, token):
            return _say(start, "401 Unauthorized", "a token is needed: Authorization: Bearer ...")
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _say(start, "405 Method Not Allowed", "GET or HEAD")
        match environ["PATH_INFO"]:
            case "/metrics":
                return told(environ, start)
            case "/healthz":
                return _judge(start, health.hangs)
            case "/readyz":
                return _judge(start, health.waits_for)
        return _say(start, "404 Not Found", "there are /healthz, /readyz and /metrics")

    return answer


def _may_read(environ: dict[str, Any], token: str | None) -> bool:
    if token is None:
        return is_loopback(urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname or "")
    return compare_digest(str(environ.get("HTTP_AUTHORIZATION", "")).encode(), f"Bearer {token}".encode())


def _judge(start: Start, wrong: str) -> Iterable[bytes]:
    return _say(start, "503 Service Unavailable", wrong) if wrong else _say(start, "200 OK", "ok")


def _say(start: Start, status: str, text: str) -> Iterable[bytes]:
    start(status, [_PLAIN])
    return [f"{text}\n".encode()]
