"""Aster: its codes, its signed form, its listen key."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

import pytest

from connectors.venues.aster_wire import forced_by, outcome
from connectors.venues.signing import EthKey, aster_message, signer_of
from connectors.venues.transport import Answer, Lost
from schemas.clock import SECOND, system_clock
from schemas.orders import Outcome
from tests.connectors.venues.benches import KEY, USER, bench
from tests.connectors.venues.test_contract import listening, until


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (Answer(400, {"code": -4116, "msg": "id duplicated"}), "duplicate", "-4116 id duplicated"),
        (Answer(400, {"code": -4225, "msg": "Nonce Expired"}), "duplicate", "-4225 Nonce Expired"),
        (Answer(400, {"code": -2022, "msg": "rejected"}), "refused", "-2022 rejected"),
        (Answer(400, {"code": -5022, "msg": ""}), "refused", "-5022"),
        (Answer(400, {"code": -2019, "msg": ""}), "refused", "-2019"),
        (Answer(400, {"code": -1007, "msg": "Timeout"}), "unknown", "-1007 Timeout"),
        (Answer(200, {"code": -1006, "msg": ""}), "unknown", "-1006"),
        (Answer(400, {"code": -1015, "msg": "Too many new orders"}), "throttled", "-1015 Too many new orders"),
        (Answer(503, None), "unknown", "HTTP 503"),
        (Answer(503, {"code": -1003, "msg": "x"}), "unknown", "HTTP 503"),
        (Answer(200, None), "unknown", "HTTP 200, no JSON"),
        (Answer(403, None), "refused", "HTTP 403, no JSON"),
        (Answer(302, {"code": 200}), "unknown", "HTTP 302"),
        (Answer(200, {}), "unknown", "no order in the answer"),
        (Answer(200, [1]), "unknown", "no order in the answer"),
        (Lost("ReadTimeout"), "unknown", "ReadTimeout"),
    ],
)  # fmt: skip
def test_outcomes_are_read_from_codes(answer: Answer | Lost, kind: str, code: str) -> None:
    found = outcome(answer)
    assert (found.kind, found.code) == (kind, code)


def test_an_answer_with_an_order_is_done() -> None:
    row = {
        "clientOrderId": "a", "orderId": 7, "symbol": "ETHUSDT", "side": "SELL", "status": "EXPIRED", "origQty": "2",
        "executedQty": "1.5", "avgPrice": "2999.1", "reduceOnly": True, "updateTime": 1_790_000_000_123,
    }  # fmt: skip
    found = outcome(Answer(200, row))
    assert found.kind == "done"
    assert (found.order_id, found.state, str(found.filled), str(found.average_price)) == (
        "7",
        "expired",
        "1.5",
        "2999.1",
    )


def test_throttling_keeps_the_time_to_wait() -> None:
    told = outcome(Answer(429, {"code": -1003}, 7 * SECOND))
    assert told == Outcome(kind="throttled", code="HTTP 429", retry_after=7 * SECOND)


@pytest.mark.parametrize(
    ("client_id", "kind", "cause"),
    [
        ("autoclose-17", "LIQUIDATION", "liquidation"),
        ("adl_autoclose", "LIMIT", "adl"),
        ("settlement_autoclose-9", "LIMIT", "settlement"),
        ("bw1", "LIMIT", "order"),
        ("x", "LIQUIDATION", "liquidation"),
    ],
)
def test_who_sent_an_order_is_in_its_id(client_id: str, kind: str, cause: str) -> None:
    assert forced_by(client_id, kind) == cause


def test_what_is_signed_is_what_is_sent() -> None:
    async def story() -> None:
        async with bench("aster") as b:
            now = system_clock()
            request = b.port.prepare(b.order("sell", "0.250", "2999.10", "post_only", reduce_only=True), now=now)
            text, _, signature = request.body.decode().rpartition("&signature=")
            fields = dict(parse_qsl(text))
            assert fields == {
                "symbol": "ETHUSDT", "side": "SELL", "type": "LIMIT", "quantity": "0.25", "newClientOrderId": "bw1",
                "reduceOnly": "true", "newOrderRespType": "RESULT", "price": "2999.1", "timeInForce": "GTX",
                "nonce": str(now // 1000), "user": USER, "signer": EthKey(KEY).address,
            }  # fmt: skip
            signer = signer_of(aster_message(text), signature[:66], signature[66:130], int(signature[130:], 16))
            assert signer == EthKey(KEY).address
            assert (request.nonce, request.valid_until) == (now // 1000, now + 10 * SECOND)
            again = b.port.prepare(b.order("sell", "0.25", "2999.1"), now=now)
            assert again.nonce == now // 1000 + 1

    asyncio.run(story())


def test_an_undocumented_field_or_a_forged_body_is_refused() -> None:
    async def story() -> None:
        async with bench("aster") as b:
            fields = {"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
            paid = b.port._request(
                "POST", "/fapi/v3/order", {**fields, "builder": "0xbb"}, "ETHUSDT", "a", system_clock()
            )
            assert (await b.port.send(paid)).code.startswith("-1104 unknown ['builder']")
            good = b.port.prepare(b.order("buy", "1", "3010"), now=system_clock())
            forged = type(good)(
                **{
                    **{name: getattr(good, name) for name in good.__struct_fields__},
                    "body": good.body.replace(b"quantity=1", b"quantity=9"),
                }
            )
            assert (await b.port.send(forged)).code.startswith("-1022")
            assert b.venue.ledger.wallets["desk"].quantity("ETHUSDT") == 0
            assert len(b.face.refused) == 2

    asyncio.run(story())


def test_the_listen_key_is_prolonged_while_the_stream_is_read() -> None:
    async def story() -> None:
        async with bench("aster") as b, listening(b):
            await until(lambda: len(b.face.refreshed) >= 2)
            assert b.face.refreshed[1] - b.face.refreshed[0] >= 0.19 * SECOND

    asyncio.run(story())
