"""Nobody trades by default, and secrets neither lie open nor show."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from connectors.exchange import Endpoints
from connectors.venues import signing
from connectors.venues.access import LivePermission, ReadPermission, admitted, reads, secret, secret_file, secret_origin
from connectors.venues.aster import AsterPort
from connectors.venues.signing import EthKey, StarkKey
from schemas.clock import system_clock
from schemas.errors import ExtraMissing, SettingsError, UsageError
from schemas.instruments import Instrument

REAL = Endpoints("wss://fstream.asterdex.com", "https://fapi.asterdex.com")
KEY = SecretStr("0x" + "17" * 32)


def test_orders_leave_this_machine_only_with_a_permission_for_the_venue() -> None:
    here = Endpoints("ws://127.0.0.1:9", "http://127.0.0.1:9")
    assert admitted("aster", here, None) is here
    assert admitted("aster", REAL, LivePermission("aster")) is REAL
    for permission in (None, LivePermission("lighter")):
        with pytest.raises(UsageError, match=r"need a live permission for aster"):
            admitted("aster", REAL, permission)
    for sly in ("http://127.0.0.1.example.com", "http://localhost.example.com", "http://1.2.3.4"):
        with pytest.raises(UsageError):
            admitted("aster", Endpoints("ws://127.0.0.1:9", sly), None)
    with pytest.raises(UsageError, match="live permission"):
        AsterPort(REAL, "0xaa", KEY, [], system_clock)


@pytest.mark.parametrize(
    ("request_line", "question"),
    [
        ("GET /fapi/v3/positionRisk?a=b", True),
        ("POST /info", True),
        ("PUT /fapi/v1/listenKey", True),
        ("POST /v2/auth/r/positions", True),
        ("POST /v2/auth/w/order/submit", False),
        ("POST /exchange", False),
        ("POST /info/../exchange", False),
        ("POST /fapi/v3/order", False),
        ("DELETE /fapi/v3/order", False),
        ("POST /fapi/v3/noop", False),
        ("POST /fapi/v3/countdownCancelAll", False),
        ("POST /api/v1/sendTx", False),
        ("POST /api/v1/user/deadmanswitch", False),
        ("POST /something/new", False),
    ],
)
def test_what_is_not_known_to_be_a_question_is_none(request_line: str, question: bool) -> None:
    method, _, path = request_line.partition(" ")
    assert reads(method, path) is question


def test_who_may_look_may_look_elsewhere_and_only_at_that_venue() -> None:
    assert admitted("aster", REAL, ReadPermission("aster")) is REAL
    with pytest.raises(UsageError):
        admitted("aster", REAL, ReadPermission("lighter"))


def test_a_secret_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "ASTER_KEY"
    path.write_text("hush\n")
    for mode in (0o644, 0o640, 0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(SettingsError, match=r"may be read by others: chmod 600"):
            secret("ASTER_KEY", {}, tmp_path)
    path.chmod(0o600)
    assert secret("ASTER_KEY", {}, tmp_path).get_secret_value() == "hush"
    path.write_text("\n")
    with pytest.raises(SettingsError, match="is empty"):
        secret_file(path)


def test_the_environment_comes_before_the_file_and_nothing_is_an_error(tmp_path: Path) -> None:
    assert secret("K", {"K": "told"}, tmp_path).get_secret_value() == "told"
    with pytest.raises(SettingsError, match="no secret K"):
        secret("K", {}, tmp_path)


def test_where_a_secret_comes_from_is_told_and_not_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "K"
    path.write_text("hush")
    path.chmod(0o600)
    assert secret_origin("K", {"K": "hush"}, tmp_path) == "env"
    assert secret_origin("K", {}, tmp_path) == str(path)
    path.chmod(0o644)
    assert secret_origin("K", {}, tmp_path) == f"missing: {path} may be read by others: chmod 600 {path}"
    assert secret_origin("K", {}, None).startswith("missing: no secret K: set the environment variable K")


@pytest.mark.parametrize("wrong", ["two words", "line\nbreak", "schlüssel"])
def test_what_no_key_looks_like_is_refused_without_being_told(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"^K is no key") as error:
        secret("K", {"K": wrong})
    assert wrong not in str(error.value)


@pytest.mark.parametrize("kind", [EthKey, StarkKey])
def test_a_wrong_private_key_is_not_told(kind: type[EthKey] | type[StarkKey]) -> None:
    key = SecretStr("-".join(["hush"] * 3))
    with pytest.raises(SettingsError, match="is no private") as error:
        kind(key)
    assert key.get_secret_value() not in "".join(traceback.format_exception(error.value))


def test_a_key_shows_its_address_only() -> None:
    key = EthKey(KEY)
    assert repr(key) == f"EthKey({key.address})"
    assert "17" * 8 not in repr(key)


def test_without_the_extra_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "HAVE_ETH", False)
    with pytest.raises(ExtraMissing, match=r"pip install 'breakwater\[live\]'"):
        EthKey(KEY)


def test_a_contract_of_thousands_of_coins_is_not_traded() -> None:
    here = Endpoints("ws://127.0.0.1:9", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="does not count single coins"):
        AsterPort(here, "0xaa", KEY, [Instrument("aster", "1000PEPEUSDT", "1000PEPE", 1.0, "base")], system_clock)
