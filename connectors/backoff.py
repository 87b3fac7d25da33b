"""Whether to try again after a failure, and when. Pure: randomness is an argument."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import httpx2
from websockets.exceptions import (
    ConnectionClosed,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    PayloadTooBig,
    ProxyError,
    WebSocketException,
)

from schemas.errors import ConnectionLost, Refused


@dataclass(frozen=True, slots=True)
class BackoffRule:
    """Exponential back-off with full jitter."""

    base: float = 0.5
    """Seconds: the most the first wait can be."""
    cap: float = 60.0
    """Seconds: the most any wait can be."""
    healthy_after: float = 60.0
    """Seconds a connection must have worked for the count of failures to start over."""


class Backoff:
    """Counts consecutive failures and draws the waits between them."""

    def __init__(self, rule: BackoffRule, uniform: Callable[[float, float], float]) -> None:
        self._rule = rule
        self._uniform = uniform
        self.failures = 0

    def failed(self, healthy: float = 0.0) -> float:
        """Seconds to wait after a failure that ended ``healthy`` seconds of work.

        Full jitter (uniform between nothing and the ceiling) spreads a thousand clients cut at the same instant.
        """
        if healthy >= self._rule.healthy_after:
            self.failures = 0
        self.failures += 1
        ceiling = self._rule.base * 2.0 ** min(self.failures - 1, 60)
        return self._uniform(0.0, min(self._rule.cap, ceiling))


@dataclass(frozen=True, slots=True)
class Retry:
    """The same attempt may succeed soon."""

    reason: str
    after: str | None = None
    """The venue's ``Retry-After`` header, as it wrote it."""
    throttled: bool = False
    """The venue asks everyone at this address to slow down."""


@dataclass(frozen=True, slots=True)
class Fatal:
    """The same attempt will most likely fail the same way: something must change first. Tried again only rarely."""

    reason: str


Verdict = Retry | Fatal


def verdict(error: BaseException) -> Verdict:
    """Whether the failure of a socket, a handshake, a poll or a subscription is worth repeating.

    ==============================================================  =======
    the host name does not resolve (the machine may be offline)     Retry
    refused, reset, unreachable, timed out                          Retry
    certificate does not verify                                     Fatal
    any other TLS failure                                           Retry
    HTTP 408, 425, 5xx                                              Retry
    HTTP 418, 429 (``Retry-After`` is handed on)                    Retry
    HTTP 403, 451: the venue does not serve this address            Fatal
    any other HTTP status, redirects included                       Fatal
    the handshake broke off                                         Retry
    the handshake is no websocket, the URL or proxy is no URL       Fatal
    the proxy failed                                                Retry
    closed with 1000, 1001, 1005, 1006, 1011-1014 or not at all     Retry
    closed with 1008: venues say it of missed pongs and rates       Retry
    closed with 1002, 1003, 1007, 1009, 1010: they refuse our words Fatal
    closed with 3000, 3003: unauthorised, forbidden                 Fatal
    closed with any other code (4000-4999 are the venue's own)      Retry
    their frame or body was too large for us                        Retry
    a body that is not what its header says                         Retry
    the venue answered no to the subscription                       Fatal
    anything else is unforeseen                                     Fatal
    ==============================================================  =======
    """
    match error:
        case Refused():
            return Fatal(error.reason)
        case ConnectionLost() | PayloadTooBig():
            return Retry(str(error))
        case WebSocketException():
            return _socket(error)
        case httpx2.HTTPError() | httpx2.InvalidURL():
            return _http(error)
        case OSError():
            return _network(error)
    return Fatal(f"unforeseen {type(error).__name__}: {error}")


def _socket(error: WebSocketException) -> Verdict:
    match error:
        case ConnectionClosed():
            return _closed(error)
        case InvalidStatus():
            return _status(error.response.status_code, error.response.headers.get("Retry-After"))
        case InvalidURI() | InvalidProxy():
            return Fatal(_NO_URL)
        case ProxyError():
            return Retry(f"the proxy failed: {_words(error)}")
        case InvalidMessage() if isinstance(error.__cause__, EOFError):
            return Retry("the connection broke off during the handshake")
    return Fatal(f"no websocket answers there: {_words(error)}")


def _http(error: httpx2.HTTPError | httpx2.InvalidURL) -> Verdict:
    match error:
        case httpx2.HTTPStatusError():
            return _status(error.response.status_code, error.response.headers.get("Retry-After"))
        case httpx2.InvalidURL() | httpx2.UnsupportedProtocol():
            return Fatal(_NO_URL)
        case httpx2.ProxyError():
            return Retry(f"the proxy failed: {_words(error)}")
        case httpx2.LocalProtocolError():
            return Fatal(_words(error))
        case httpx2.TimeoutException():
            return Retry(f"timed out ({type(error).__name__})")
    return _network(_root(error))


_NO_URL = "the address or the proxy is no valid URL"
"""Not the library's words: they quote the address, which may carry a token or a password."""


def _network(error: BaseException) -> Verdict:
    match error:
        case socket.gaierror():
            return Retry(f"the host name does not resolve: {_words(error)}")
        case ssl.SSLCertVerificationError():
            return Fatal(f"the certificate does not verify: {error.verify_message}")
        case ssl.SSLError():
            return Retry(f"TLS failed: {_words(error)}")
        case TimeoutError():
            return Retry(f"timed out: {error}" if str(error) else "timed out")
    return Retry(_words(error))


def _root(error: BaseException) -> BaseException:
    """The operating system's error below the HTTP library's, where there is one."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError):
            return below
        below = below.__cause__ or below.__context__
    return error


def _status(code: int, after: str | None) -> Verdict:
    if code in {418, 429}:
        return Retry(f"HTTP {code}: too many requests", after, throttled=True)
    if code in {408, 425} or 500 <= code < 600:
        return Retry(f"HTTP {code}", after)
    if code in {403, 451}:
        return Fatal(f"HTTP {code}: the venue does not serve this address or place")
    return Fatal(f"HTTP {code}")


_REFUSING = {1002, 1003, 1007, 1009, 1010, 3000, 3003}


def _closed(error: ConnectionClosed) -> Verdict:
    below = error.__cause__
    if error.rcvd is not None:
        said = f"the venue closed with {error.rcvd.code}" + (f": {error.rcvd.reason}" if error.rcvd.reason else "")
        return Fatal(said) if error.rcvd.code in _REFUSING else Retry(said)
    if error.sent is not None and error.sent.reason:
        return Retry(f"gave up: {error.sent.reason}")
    return Retry(f"the connection broke: {below}" if below and str(below) else "the connection broke")


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
