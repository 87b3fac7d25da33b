"""Each venue answers as its own page says: acknowledgements, refusals, heartbeats, replays. Raw clients, no dialect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from connectors.simulator import Simulator
from connectors.simulator.market import SILENT_FROM, SILENT_TO
from schemas.clock import SECOND, system_clock
from tests.connectors.simulator.conversation import Client, open_socket, rest

Story = Callable[[Simulator], Awaitable[None]]


def play(story: Story, *, lead: float = 0.05, rhythm: float = 1.0, silent: str = "", speed: float = 20.0) -> None:
    """Run ``story`` against a short, fast run."""

    async def run() -> None:
        async with Simulator(5, 30.0, speed, lead=lead, rhythm=rhythm, silent=silent) as simulator:
            await story(simulator)

    asyncio.run(run())


async def is_dropped(client: Client) -> bool:
    """Whether the venue hangs up soon."""
    try:
        while True:
            await client.hear()
    except ConnectionClosed:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize(
    ("venue", "path"),
    [("binance_usdm", "/market/ws"), ("binance_coinm", "/ws"), ("aster", "/ws")],
)
def test_force_orders_come_one_object_per_frame_after_subscribing(venue: str, path: str) -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, venue, path) as socket:
            client = Client(socket)
            answer = await client.ask({"method": "SUBSCRIBE", "params": ["!forceOrder@arr"], "id": 7})
            assert answer == {"result": None, "id": 7}
            frame = await client.hear()
            assert frame["e"] == "forceOrder"
            assert isinstance(frame["o"], dict)
            assert frame["o"]["S"] in {"BUY", "SELL"}
            assert float(frame["o"]["l"]) < float(frame["o"]["z"])
            assert abs(float(frame["o"]["p"]) - float(frame["o"]["ap"])) > 0

    play(story)


def test_binance_envelopes_combined_streams_and_marks_are_an_array() -> None:
    async def story(simulator: Simulator) -> None:
        path = "/market/stream?streams=!forceOrder@arr/!markPrice@arr@1s"
        async with open_socket(simulator, "binance_usdm", path) as socket:
            client = Client(socket)
            marks = await client.until(lambda frame: frame["stream"] == "!markPrice@arr@1s")
            assert {row["s"] for row in marks["data"]} >= {"BTCUSDT", "1000PEPEUSDT"}
            forced = await client.until(lambda frame: frame["stream"] == "!forceOrder@arr")
            assert forced["data"]["o"]["ps"] == forced["data"]["o"]["s"]

    play(story)


@pytest.mark.parametrize("path", ["/ws", "/stream?streams=!forceOrder@arr", "/public/ws"])
def test_unrouted_binance_accepts_acknowledges_and_stays_silent(path: str) -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "binance_usdm", path) as socket:
            client = Client(socket)
            answer = await client.ask({"method": "SUBSCRIBE", "params": ["!forceOrder@arr", "!markPrice@arr"], "id": 1})
            assert answer == {"result": None, "id": 1}
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.4)

    play(story)


def test_bybit_refuses_unknown_topics_and_sends_changed_fields_only() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "bybit", "/v5/public/linear") as socket:
            client = Client(socket)
            assert (await client.ask({"op": "ping"}))["ret_msg"] == "pong"
            refused = await client.ask({"op": "subscribe", "args": ["liquidation.BTCUSDT"]})
            assert (refused["success"], refused["op"]) == (False, "subscribe")
            topics = ["allLiquidation.BTCUSDT", "tickers.BTCUSDT"]
            assert (await client.ask({"op": "subscribe", "args": topics}))["success"] is True
            snapshot = await client.hear()
            assert snapshot["type"] == "snapshot"
            row = snapshot["data"]
            assert float(row["openInterest"]) == pytest.approx(2 * float(row["singleOpenInterest"]), rel=1e-6)
            delta = await client.until(lambda frame: frame.get("type") == "delta")
            assert "fundingIntervalHour" not in delta["data"]
            forced = await client.until(lambda frame: frame["topic"] == "allLiquidation.BTCUSDT")
            assert forced["data"][0]["S"] in {"Buy", "Sell"}

    play(story)


def test_bybit_inverse_symbols_are_not_on_the_linear_socket() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "bybit", "/v5/public/linear") as socket:
            refused = await Client(socket).ask({"op": "subscribe", "args": ["allLiquidation.BTCUSD"]})
            assert refused["success"] is False

    play(story)


def test_okx_replays_recent_rows_in_the_first_frame_and_answers_text_pings() -> None:
    async def story(simulator: Simulator) -> None:
        await asyncio.sleep(0.6)
        async with open_socket(simulator, "okx", "/ws/v5/public") as socket:
            client = Client(socket)
            assert await client.ask("ping") == "pong"
            argument = {"channel": "liquidation-orders", "instType": "SWAP"}
            answer = await client.ask({"op": "subscribe", "args": [argument]})
            assert (answer["event"], answer["arg"]) == ("subscribe", argument)
            replay = await client.hear()
            details = [detail for row in replay["data"] for detail in row["details"]]
            assert 1 < len(details) <= 20
            assert all(isinstance(value, str) for value in details[0].values())
            wrong = await client.ask({"op": "subscribe", "args": [{"channel": "liquidations", "instId": "X"}]})
            while "event" not in wrong:
                wrong = await client.hear()
            assert (wrong["event"], wrong["code"]) == ("error", "60018")

    play(story)


def test_gate_sizes_are_signed_orders_and_strings_only_on_request() -> None:
    async def story(simulator: Simulator) -> None:
        message = {"time": 1, "channel": "futures.public_liquidates", "event": "subscribe", "payload": ["!all"]}
        for headers, kind in (({}, int), ({"X_Gate_Size_Decimal": "1"}, str)):
            async with open_socket(simulator, "gate", "/v4/ws/usdt", **headers) as socket:
                client = Client(socket)
                assert (await client.ask({"time": 1, "channel": "futures.ping"}))["channel"] == "futures.pong"
                assert (await client.ask(message))["result"] == {"status": "success"}
                rows = (await client.until(lambda frame: frame["event"] == "update"))["result"]
                assert {type(row["size"]) for row in rows} == {kind}
                assert len(rows) <= 20
                wrong = await client.ask({**message, "payload": ["NO_SUCH"]})
                while "error" not in wrong:
                    wrong = await client.hear()
                assert wrong["error"]["code"] == 2

    play(story)


def test_bitget_has_the_channel_on_v3_only() -> None:
    async def story(simulator: Simulator) -> None:
        argument = {"instType": "usdt-futures", "topic": "liquidation"}
        async with open_socket(simulator, "bitget", "/v2/ws/public") as socket:
            assert (await Client(socket).ask({"op": "subscribe", "args": [argument]}))["event"] == "error"
        async with open_socket(simulator, "bitget", "/v3/ws/public") as socket:
            client = Client(socket)
            assert await client.ask("ping") == "pong"
            assert await client.ask({"op": "subscribe", "args": [argument]}) == {"event": "subscribe", "arg": argument}
            frame = await client.hear()
            assert frame["arg"] == argument
            assert set(frame["data"][0]) == {"symbol", "side", "price", "amount", "ts"}

    play(story)


_HTX_ALL = {"op": "sub", "cid": "a", "topic": "public.*.liquidation_orders"}


def test_htx_speaks_gzip_refuses_repetition_and_names_the_contract() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "htx", "/linear-swap-notification") as socket:
            client = Client(socket)
            assert (await client.ask(_HTX_ALL))["err-code"] == 0
            again = await client.ask({**_HTX_ALL, "topic": "public.BTC-USDT.liquidation_orders"})
            while again["op"] != "sub":
                again = await client.hear()
            assert again["err-code"] == 2014
            frame = await client.until(lambda message: message["op"] == "notify")
            row = frame["data"][0]
            assert frame["topic"] == f"public.{row['contract_code']}.liquidation_orders"
            assert row["offset"] == "close"

    play(story)


def test_htx_keeps_who_echoes_pings_verbatim() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "htx", "/linear-swap-notification") as socket:
            client = Client(socket)
            kinds = set()
            for _ in range(10):
                ping = await client.until(lambda message: message["op"] == "ping")
                kinds.add(type(ping["ts"]))
                await client.say({"op": "pong", "ts": ping["ts"]})
            assert kinds == {str, int}

    play(story, rhythm=0.02)


def test_htx_drops_who_echoes_a_string_as_a_number_or_a_number_as_a_string() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "htx", "/linear-swap-notification") as socket:
            client = Client(socket)
            pings = 0
            while True:
                try:
                    ping = await client.until(lambda message: message["op"] == "ping")
                except ConnectionClosed:
                    break
                pings += 1
                await client.say(
                    {"op": "pong", "ts": int(ping["ts"]) if isinstance(ping["ts"], str) else str(ping["ts"])}
                )
            assert pings == 6

    play(story, rhythm=0.02)


def test_bitfinex_numbers_channels_beats_on_them_and_tells_a_position_twice() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "bitfinex", "/ws/2") as socket:
            client = Client(socket)
            assert (await client.hear())["event"] == "info"
            wanted = {"event": "subscribe", "channel": "status", "key": "liq:global"}
            answer = await client.ask(wanted)
            assert (answer["event"], answer["key"]) == ("subscribed", "liq:global")
            channel = answer["chanId"]
            twice = await client.ask(wanted)
            while not isinstance(twice, dict):
                twice = await client.hear()
            assert twice["code"] == 10301
            assert await client.until(lambda frame: frame == [channel, "hb"])
            trigger = (await client.until(lambda frame: frame[1] != "hb" and frame[1][0][8] == 0))[1][0]
            done = (await client.until(lambda frame: frame[1] != "hb"))[1][0]
            assert (trigger[0], trigger[1], trigger[11], trigger[8]) == ("pos", done[1], None, 0)
            assert done[8] == 1
            assert done[11] != done[6]

    play(story, rhythm=0.02)


def test_deribit_flags_trades_and_refuses_raw_channels() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "deribit", "/ws/api/v2") as socket:
            client = Client(socket)
            call = {"jsonrpc": "2.0", "id": 4, "method": "public/subscribe"}
            refused = await client.ask({**call, "params": {"channels": ["trades.BTC-PERPETUAL.raw"]}})
            assert refused["error"]["code"] == 13778
            channels = ["trades.future.any.100ms", "ticker.BTC-PERPETUAL.100ms"]
            assert (await client.ask({**call, "params": {"channels": channels}}))["result"] == channels
            frame = await client.until(lambda message: message["params"]["channel"] == channels[0])
            assert frame["params"]["data"][0]["liquidation"] in {"M", "T"}

    play(story)


@pytest.mark.parametrize("answers", [True, False])
def test_deribit_drops_who_does_not_answer_test_requests(answers: bool) -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "deribit", "/ws/api/v2") as socket:
            client = Client(socket)
            call = {"jsonrpc": "2.0", "id": 1, "method": "public/set_heartbeat", "params": {"interval": 10}}
            assert (await client.ask(call))["result"] == "ok"
            for _ in range(3):
                try:
                    beat = await client.until(lambda message: message.get("method") == "heartbeat")
                except ConnectionClosed:
                    assert not answers
                    return
                assert beat["params"] == {"type": "test_request"}
                if answers:
                    await client.say({"jsonrpc": "2.0", "id": 2, "method": "public/test", "params": {}})
            assert answers

    play(story, rhythm=0.02)


def test_bitmex_welcomes_subscribes_by_url_and_keeps_a_table() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "bitmex", "/realtime?subscribe=liquidation") as socket:
            client = Client(socket)
            assert (await client.hear())["version"] == "2.0.0"
            assert (await client.hear())["subscribe"] == "liquidation"
            partial = await client.hear()
            assert (partial["action"], partial["keys"], partial["data"]) == ("partial", ["orderID"], [])
            assert await client.ask("ping") == "pong"
            inserted = await client.until(lambda frame: frame["action"] == "insert")
            order = inserted["data"][0]["orderID"]
            gone = await client.until(
                lambda frame: frame["action"] == "delete" and frame["data"][0]["orderID"] == order
            )
            assert set(gone["data"][0]) == {"orderID", "symbol"}

    play(story)


def test_bitmex_refuses_unknown_tables() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "bitmex", "/realtime") as socket:
            client = Client(socket)
            await client.hear()
            assert (await client.ask({"op": "subscribe", "args": ["liquidations"]}))["status"] == 400

    play(story)


def test_kraken_replays_newest_first_and_tells_absolute_funding() -> None:
    async def story(simulator: Simulator) -> None:
        await asyncio.sleep(0.9)
        async with open_socket(simulator, "kraken_futures", "/ws/v1") as socket:
            client = Client(socket)
            assert (await client.hear())["event"] == "info"
            wanted = {"event": "subscribe", "feed": "trade", "product_ids": ["PF_ETHUSD"]}
            assert (await client.ask(wanted))["product_ids"] == ["PF_ETHUSD"]
            snapshot = await client.hear()
            assert snapshot["feed"] == "trade_snapshot"
            assert snapshot["trades"][-1]["type"] == "fill"
            await client.say({**wanted, "feed": "ticker", "product_ids": ["PI_XBTUSD"]})
            ticker = await client.until(lambda frame: frame.get("feed") == "ticker" and "index" in frame)
            assert ticker["relative_funding_rate"] / ticker["funding_rate"] == pytest.approx(ticker["index"])
            await client.say({**wanted, "product_ids": ["PF_NONE"]})
            assert (await client.until(lambda frame: frame.get("event") == "error"))["message"] == "Invalid product id"

    play(story)


def test_dydx_numbers_messages_and_replays_on_subscribe() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "dydx_v4", "/v4/ws") as socket:
            client = Client(socket)
            assert (await client.hear())["type"] == "connected"
            answer = await client.ask({"type": "subscribe", "channel": "v4_trades", "id": "BTC-USD"})
            assert (answer["type"], answer["message_id"]) == ("subscribed", 1)
            assert answer["contents"]["trades"][-1]["type"] == "LIMIT"
            wrong = await client.ask({"type": "subscribe", "channel": "v4_trades", "id": "NO-USD"})
            while wrong["type"] == "channel_data":
                wrong = await client.hear()
            assert wrong["type"] == "error"
            trades = (await client.until(lambda frame: frame["type"] == "channel_data"))["contents"]["trades"]
            assert trades[0]["type"] in {"LIQUIDATED", "DELEVERAGED"}
            assert int(trades[0]["id"][:8], 16) == int(trades[0]["createdAtHeight"])

    play(story)


def test_lighter_keeps_liquidations_apart_and_pings() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "lighter", "/stream") as socket:
            client = Client(socket)
            assert (await client.hear())["type"] == "connected"
            answer = await client.ask({"type": "subscribe", "channel": "trade/1"})
            assert (answer["type"], answer["channel"]) == ("subscribed/trade", "trade:1")
            wrong = await client.ask({"type": "subscribe", "channel": "trade/99"})
            while "error" not in wrong:
                wrong = await client.hear()
            assert wrong["error"]["code"] == 30005
            await client.until(lambda frame: frame == {"type": "ping"})
            await client.say({"type": "pong"})
            frame = await client.until(lambda message: message["type"] == "update/trade")
            assert {row["type"] for row in frame["liquidation_trades"]} <= {"liquidation", "deleverage"}
            assert {row["type"] for row in frame["trades"]} <= {"trade"}
            await client.say({"type": "subscribe", "channel": "market_stats/all"})
            stats = (await client.until(lambda message: "market_stats" in message))["market_stats"]["1"]
            details = await rest(simulator, "lighter", "/api/v1/orderBookDetails")
            base = next(row for row in details["order_book_details"] if row["market_id"] == 1)["open_interest"]
            assert float(stats["open_interest"]) == pytest.approx(base * float(stats["mark_price"]), rel=0.2)

    play(story, rhythm=0.01)


def test_extended_is_subscribed_by_url_and_begins_with_a_backfill() -> None:
    async def story(simulator: Simulator) -> None:
        stream = "/stream.extended.exchange/v1"
        async with open_socket(simulator, "extended", f"{stream}/publicTrades") as socket:
            client = Client(socket)
            first = await client.hear()
            assert first["seq"] == 1
            assert first["data"][0]["i"] > 2**53
            assert (await client.hear())["seq"] == 2
        async with open_socket(simulator, "extended", f"{stream}/publicTrades/BTC-USD") as socket:
            assert {row["m"] for row in (await Client(socket).hear())["data"]} == {"BTC-USD"}
        async with open_socket(simulator, "extended", f"{stream}/nothing") as socket:
            assert await is_dropped(Client(socket))

    play(story)


def test_hyperliquid_has_no_liquidations_and_zero_hashes_on_ordinary_trades() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "hyperliquid", "/ws") as socket:
            client = Client(socket)
            assert await client.ask({"method": "ping"}) == {"channel": "pong"}
            refused = await client.ask({"method": "subscribe", "subscription": {"type": "liquidations"}})
            assert refused["channel"] == "error"
            wanted = {"type": "trades", "coin": "BTC"}
            answer = await client.ask({"method": "subscribe", "subscription": wanted})
            assert answer["data"]["subscription"] == wanted
            zero = await client.until(
                lambda frame: frame["channel"] == "trades" and int(frame["data"][0]["hash"], 16) == 0
            )
            assert "liquidation" not in zero["data"][0]

    play(story)


def test_hyperliquid_hangs_up_on_the_quiet() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "hyperliquid", "/ws") as socket:
            assert await is_dropped(Client(socket))

    play(story, rhythm=0.005)


def test_kucoin_wants_a_token_and_has_no_liquidation_topic() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "kucoin", "/endpoint?token=wrong&connectId=1") as socket:
            client = Client(socket)
            assert (await client.hear())["code"] == 401
            assert await is_dropped(client)
        answer = await rest(simulator, "kucoin", "/api/v1/bullet-public", "")
        server = answer["data"]["instanceServers"][0]
        assert server["endpoint"] == simulator.endpoints("kucoin").websocket + "/endpoint"
        path = f"/endpoint?token={answer['data']['token']}&connectId=x1"
        async with open_socket(simulator, "kucoin", path) as socket:
            client = Client(socket)
            assert await client.hear() == {"id": "x1", "type": "welcome"}
            assert await client.ask({"id": "2", "type": "ping"}) == {"id": "2", "type": "pong"}
            subscribe = {"id": "3", "type": "subscribe", "response": True}
            refused = await client.ask({**subscribe, "topic": "/contractMarket/liquidation:XBTUSDTM"})
            assert (refused["type"], refused["code"]) == ("error", 404)
            assert (await client.ask({**subscribe, "topic": "/contract/instrument:XBTUSDTM"}))["type"] == "ack"
            mark = await client.until(lambda frame: frame.get("subject") == "mark.index.price")
            assert mark["data"]["granularity"] == 1000

    play(story)


def test_the_silent_venue_keeps_the_socket_and_sends_nothing() -> None:
    async def story(simulator: Simulator) -> None:
        async with open_socket(simulator, "gate", "/v4/ws/usdt") as socket:
            client = Client(socket)
            for channel in ("futures.public_liquidates", "futures.tickers"):
                await client.say({"time": 1, "channel": channel, "event": "subscribe", "payload": ["!all"]})
            silence = [simulator.began + part * 30.0 * SECOND / simulator.speed for part in (SILENT_FROM, SILENT_TO)]
            heard: list[tuple[int, str]] = []
            while system_clock() < silence[1] + 0.3 * SECOND:
                if system_clock() > silence[0] + 0.1 * SECOND and not any("futures.pong" in m for _, m in heard):
                    await client.say({"time": 1, "channel": "futures.ping"})
                with suppress(TimeoutError):
                    message = await asyncio.wait_for(socket.recv(), 0.05)
                    heard.append((system_clock(), str(message)))
            data = [at for at, message in heard if '"update"' in message]
            assert [at for at in data if at < silence[0]]
            assert [at for at in data if at > silence[1]]
            assert not [at for at in data if silence[0] + 0.03 * SECOND < at < silence[1]]
            assert [at for at, message in heard if "futures.pong" in message and at < silence[1]]

    play(story, silent="gate", speed=20.0)


def test_what_is_nowhere_answers_404_and_nonsense_ends_the_conversation() -> None:
    async def story(simulator: Simulator) -> None:
        assert await rest(simulator, "okx", "/api/v5/nothing") == 404
        assert await rest(simulator, "nobody", "/") == 404
        async with open_socket(simulator, "okx", "/ws/v5/public") as socket:
            client = Client(socket)
            await client.say({"op": "subscribe", "args": ["not an object"]})
            assert await is_dropped(client)

    async def nobody(simulator: Simulator) -> None:
        with pytest.raises(KeyError):
            simulator.world("nobody")
        await story(simulator)

    play(nobody)


def test_gate_rest_names_the_position_where_the_socket_names_the_order() -> None:
    async def story(simulator: Simulator) -> None:
        await asyncio.sleep(0.8)
        rows: list[dict[str, Any]] = await rest(simulator, "gate", "/api/v4/futures/usdt/liq_orders")
        told = {close.listing.symbol: close for close in simulator.world("gate").recent(1)}
        row = next(row for row in rows if row["contract"] in told)
        assert (int(row["size"]) > 0) == (told[row["contract"]].position == "long")
        assert int(row["order_size"]) == -int(row["size"])

    play(story)
