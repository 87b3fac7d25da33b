"""Whether a failure is worth repeating, and when."""

from __future__ import annotations

import random
import socket
import ssl

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidMessage,
    InvalidStatus,
    InvalidUpgrade,
    InvalidURI,
    PayloadTooBig,
    ProxyError,
)
from websockets.frames import Close
from websockets.http11 import Response

from connectors.backoff import Backoff, BackoffRule, Fatal, Retry, verdict
from schemas.errors import ConnectionLost, FrameTooLarge, Refused


def handshake(code: int, **headers: str) -> InvalidStatus:
    return InvalidStatus(Response(code, "", Headers({k.replace("_", "-"): v for k, v in headers.items()})))


def answered(code: int) -> httpx2.HTTPStatusError:
    request = httpx2.Request("GET", "http://127.0.0.1/")
    return httpx2.HTTPStatusError("", request=request, response=httpx2.Response(code, request=request))


def closed(code: int, words: str = "") -> ConnectionClosedError:
    return ConnectionClosedError(Close(code, words), None)


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def unverified() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


RETRIED = [
    (socket.gaierror(-2, "Name or service not known"), "the host name does not resolve"),
    (ConnectionRefusedError(111, "Connect call failed"), "Connect call failed"),
    (ConnectionResetError(104, "reset by peer"), "reset by peer"),
    (TimeoutError("timed out during opening handshake"), "timed out during opening handshake"),
    (TimeoutError(), "timed out"),
    (ssl.SSLError(1, "wrong version number"), "TLS failed"),
    (handshake(500), "HTTP 500"),
    (handshake(503), "HTTP 503"),
    (handshake(408), "HTTP 408"),
    (answered(502), "HTTP 502"),
    (caused(InvalidMessage("no"), EOFError()), "broke off during the handshake"),
    (ProxyError("no route"), "the proxy failed"),
    (ConnectionClosedOK(Close(1000, ""), Close(1000, ""), True), "closed with 1000"),
    (closed(1001, "going away"), "closed with 1001: going away"),
    (closed(1008, "no pong"), "closed with 1008: no pong"),
    (closed(1012), "closed with 1012"),
    (closed(4401, "slow down"), "closed with 4401: slow down"),
    (ConnectionClosedError(None, Close(1011, "keepalive ping timeout")), "keepalive ping timeout"),
    (ConnectionClosedError(None, None), "the connection broke"),
    (PayloadTooBig(50_000_000, 16_777_216), "50000000 bytes"),
    (FrameTooLarge("okx", 50_000_000, 16_777_216), "50000000 bytes"),
    (ConnectionLost("no frame, pings included, for 60 s"), "no frame"),
    (httpx2.ReadTimeout("slow"), "timed out (ReadTimeout)"),
    (caused(httpx2.ConnectError("x"), socket.gaierror(-3, "temporary")), "does not resolve"),
    (httpx2.RemoteProtocolError("peer closed"), "peer closed"),
]
FATAL = [
    (Refused("bybit", "handler not found"), "handler not found"),
    (unverified(), "the certificate does not verify: self-signed certificate"),
    (caused(httpx2.ConnectError("x"), unverified()), "the certificate does not verify"),
    (handshake(404), "HTTP 404"),
    (handshake(451), "HTTP 451: the venue does not serve"),
    (answered(403), "HTTP 403: the venue does not serve"),
    (answered(301), "HTTP 301"),
    (InvalidUpgrade("Upgrade", "h2c"), "no websocket answers there"),
    (closed(1002), "closed with 1002"),
    (closed(1007, "bad text"), "closed with 1007: bad text"),
    (closed(1009), "closed with 1009"),
    (closed(3000), "closed with 3000"),
    (httpx2.UnsupportedProtocol("x"), "no valid URL"),
    (KeyError("feed"), "unforeseen KeyError: 'feed'"),
]


@pytest.mark.parametrize(("error", "words"), RETRIED, ids=[f"{type(e).__name__}-{w[:24]}" for e, w in RETRIED])
def test_what_may_pass_is_retried_and_says_why(error: Exception, words: str) -> None:
    judged = verdict(error)
    assert isinstance(judged, Retry)
    assert words in judged.reason


@pytest.mark.parametrize(("error", "words"), FATAL, ids=[f"{type(e).__name__}-{w[:24]}" for e, w in FATAL])
def test_what_must_change_first_is_fatal_and_says_why(error: Exception, words: str) -> None:
    judged = verdict(error)
    assert isinstance(judged, Fatal)
    assert words in judged.reason


@pytest.mark.parametrize("code", [418, 429])
def test_a_throttled_client_is_told_so_with_the_venue_s_own_wait(code: int) -> None:
    assert verdict(handshake(code, Retry_After="17")) == Retry(f"HTTP {code}: too many requests", "17", throttled=True)


def test_an_address_with_a_token_is_not_quoted() -> None:
    assert "s3cret" not in verdict(InvalidURI("nope://x?token=s3cret", "scheme")).reason


@given(st.integers(0, 2**32), st.floats(0.01, 10), st.floats(10, 600))
def test_waits_are_spread_over_everything_below_a_doubling_ceiling_with_a_cap(
    seed: int, base: float, cap: float
) -> None:
    backoff = Backoff(BackoffRule(base, cap), random.Random(seed).uniform)
    for failure in range(1, 2000, 97):
        backoff.failures = failure - 1
        assert 0 <= backoff.failed() <= min(cap, base * 2.0 ** min(failure - 1, 900))


def test_jitter_is_full_and_a_healthy_period_starts_over() -> None:
    ceilings: list[tuple[float, float]] = []

    def highest(low: float, high: float) -> float:
        ceilings.append((low, high))
        return high

    backoff = Backoff(BackoffRule(0.5, 60, healthy_after=60), highest)
    assert [backoff.failed() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.failed(healthy=59) == 60
    assert backoff.failed(healthy=60) == 0.5
    assert {low for low, _ in ceilings} == {0.0}
