"""The bus from the command line, against a real broker: topics, schemas, what stands in them, dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from flows.bus import bus_of
from flows.cli import app
from flows.settings import KafkaSettings
from schemas.bus import Bus
from schemas.clock import SECOND, system_clock
from schemas.codec import decode_frame, encode, encode_frame, letter
from schemas.errors import SettingsError
from schemas.records import DeadLetter, FeedStatus, Liquidation
from schemas.topics import LIQUIDATIONS, RAW, TOPICS
from sinks.kafka import Outbox
from tests.broker import Broker
from tests.schemas.test_codec import a_close
from tests.sinks.test_kafka import contents

Say = Callable[..., Result]


@pytest.fixture
def say(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """``say("topics", "list")`` in an empty directory, on topics of its own."""
    monkeypatch.chdir(tmp_path)
    bus = broker.bus()
    monkeypatch.setenv("BREAKWATER_KAFKA__BOOTSTRAP", bus.bootstrap)
    monkeypatch.setenv("BREAKWATER_KAFKA__PREFIX", bus.prefix)

    def run(*words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == code, done.output + repr(done.exception)
        return done

    run.bus = bus  # type: ignore[attr-defined]  # for those who send something
    return run


def sent(say: Say, *messages: Any) -> Bus:
    bus: Bus = say.bus  # type: ignore[attr-defined]  # set above
    outbox = Outbox(bus, 20)
    outbox.send(messages)
    outbox.settle()
    return bus


def recent(number: int, **changed: Any) -> Liquidation:
    now = system_clock() - 30 * SECOND + number * 1_000_000
    return a_close(number, event_time=now, receive_time=now, **changed)


def test_topics_are_made_once_and_told(say: Say) -> None:
    assert "missing" in say("topics", "list", code=1).output
    assert say("topics", "create").output.count("  made") == len(TOPICS)
    assert say("topics", "create").output.count("was there") == len(TOPICS)
    rows = json.loads(say("topics", "list", "--json").stdout)
    assert [row["topic"].split(".", 1)[1] for row in rows] == list(TOPICS)
    assert all(row["exists"] and row["differs"] == [] for row in rows)
    told = json.loads(say("topics", "describe", "cascades", "--json").stdout)
    assert told["config"]["cleanup.policy"] in {"compact,delete", "delete,compact"}
    assert told["records"]["cascade"]["floor"][0] == "boolean"
    text = say("topics", "describe", "liquidations.v1").output
    assert "Whose position was closed. Never the order side." in text
    assert "did you mean 'liquidations.v1'" in say("topics", "describe", "liquidation.v1", code=2).output


def test_schemas_are_written_and_hold_for_what_is_sent(say: Say, tmp_path: Path) -> None:
    files = say("schemas", "export", "out").stdout.split()
    assert len(files) == len(TOPICS)
    file = next(file for file in files if "liquidations" in file)
    Draft202012Validator(json.loads((tmp_path / file).read_text())).validate(
        msgspec.json.decode(encode(recent(1)).value)
    )


def test_schemas_are_registered(say: Say) -> None:
    asked: dict[str, Any] = {}

    class Registry(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked[self.path] = body
            answer = b'{"id": %d}' % len(asked)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        told = say("schemas", "export", "--registry", url).stdout
        server.shutdown()
        thread.join()
    prefix = say.bus.prefix  # type: ignore[attr-defined]  # set above
    assert f"{prefix}.signals.v1-value  " in told
    body = asked[f"/subjects/{prefix}.signals.v1-value/versions"]
    assert body["schemaType"] == "JSON"
    assert json.loads(body["schema"])["title"] == "signals.v1"
    assert "raw.v1" not in told, "a native frame has no schema of ours"
    assert "no answer from the schema registry" in say("schemas", "export", "--registry", url, code=4).output


def test_tail_tells_what_is_asked_for_in_the_order_of_time(say: Say) -> None:
    say("topics", "create")
    told = [recent(number, asset=f"A{number % 5}") for number in range(40)]
    sent(say, *map(encode, told))
    lines = [json.loads(line) for line in say("tail", "liquidations", "--json").stdout.splitlines()]
    assert [line["value"]["event_id"] for line in lines] == [one.event_id for one in told]
    assert lines[0]["headers"]["schema"] == "liquidation.v1"
    chosen = say("tail", "liquidations.v1", "--filter", "asset=A3", "--filter", "venue=okx").stdout.splitlines()
    assert len(chosen) == 8
    assert all("  A3  {" in line for line in chosen)
    assert say("tail", "liquidations", "--filter", "asset=A9").stdout == ""
    assert say("tail", "liquidations", "--from", "end").stdout == ""
    assert "no filter" in say("tail", "liquidations", "--filter", "BTC", code=2).output
    assert "is no time" in say("tail", "liquidations", "--from", "yesterday", code=2).output


def test_tail_shows_native_frames_and_what_is_no_json(say: Say) -> None:
    say("topics", "create")
    now = system_clock()
    sent(
        say,
        encode_frame("okx", "liquidations", b'{"a":1}', now),
        encode_frame("okx", "liquidations", b"\xff", now + SECOND),
    )
    first, second = say("tail", "raw").stdout.splitlines()
    assert first.endswith('  okx liquidations  {"a":1}')
    assert second.endswith("  \ufffd")


def test_letters_are_listed_shown_and_sent_again(say: Say) -> None:
    say("topics", "create")
    now = system_clock()
    good = recent(7)
    bus = sent(say, encode_frame("okx", "liquidations", b"{}", now), encode(recent(1)))
    name = bus.name(LIQUIDATIONS)
    sent(
        say,
        encode(DeadLetter("bybit", "liquidations", "unreadable frame", b'{"x":1}', now)),
        encode(letter(name, 3, 17, encode(good).value, "schema of then", now)),
        encode(letter(name, 3, 18, b"\xff", "no record", now)),
        encode(DeadLetter("gate", "liquidations", "cut", b"x" * 64 * 1024, now)),
    )
    rows = [json.loads(line) for line in say("dlq", "list", "--json").stdout.splitlines()]
    assert sorted(row["reason"] for row in rows) == ["cut", "no record", "schema of then", "unreadable frame"]
    places = {row["reason"]: row["place"] for row in rows}
    assert "4 dead letters" in say("dlq", "list").output
    assert "1 dead letters" in say("dlq", "list", "--venue", "bybit").output
    shown = json.loads(say("dlq", "show", places["unreadable frame"]).stdout)
    assert shown["raw"] == {"text": '{"x":1}'}
    assert "no dead letter at 9/99" in say("dlq", "show", "9/99", code=2).output
    before = len(contents(bus, RAW.name)), len(contents(bus, LIQUIDATIONS.name))
    say("dlq", "redrive", "--all", "--dry-run", code=1)
    assert (len(contents(bus, RAW.name)), len(contents(bus, LIQUIDATIONS.name))) == before
    told = say("dlq", "redrive", "--all", code=1).stdout
    assert f"{places['cut']}  kept  the frame was cut" in told
    assert f"{places['no record']}  kept  no record of liquidations.v1" in told
    frames = [decode_frame(bytes(m.value() or b""), m.headers()) for m in contents(bus, RAW.name)]  # type: ignore[arg-type]  # bytes
    assert ("bybit", "liquidations", b'{"x":1}', now, "frame") in frames
    assert encode(good).value in {m.value() for m in contents(bus, LIQUIDATIONS.name)}
    assert len(frames) == 2
    assert "say which" in say("dlq", "redrive", code=2).output


def test_a_raw_message_goes_back_with_the_headers_it_had(say: Say) -> None:
    say("topics", "create")
    now = system_clock()
    bus = sent(say, encode_frame("okx", "liquidations", b'{"y":2}', now))
    (message,) = contents(bus, RAW.name)
    where = letter(bus.name(RAW), message.partition() or 0, message.offset() or 0, b'{"y":2}', "of then", now)
    sent(say, encode(where))
    assert "sent" in say("dlq", "redrive", "--all", "--venue", "bus").stdout
    frames = [decode_frame(bytes(m.value() or b""), m.headers()) for m in contents(bus, RAW.name)]  # type: ignore[arg-type]  # bytes
    assert frames == [("okx", "liquidations", b'{"y":2}', now, "frame")] * 2


def test_no_broker_is_an_exit_code_and_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("connectors.kafka.metadata.PATIENCE", 0.2)
    monkeypatch.setattr("connectors.kafka.topics.ASKED", 0.2)
    monkeypatch.setenv("BREAKWATER_KAFKA__BOOTSTRAP", "127.0.0.1:9")
    done = CliRunner().invoke(app, ["topics", "list"])
    assert done.exit_code == 4
    assert "no answer from the bus" in done.output
    assert "make kafka" in done.output


def test_settings_say_how_to_speak_to_the_brokers_and_never_show_secrets() -> None:
    settings = KafkaSettings.model_validate(
        {
            "bootstrap": "a:1,b:2", "prefix": "desk", "security": "sasl_ssl", "username": "me", "password": "hush",
            "options": ["ssl.ca.location=/x.pem"], "secret_options": ["ssl.key.password=hushed"],
        }
    )  # fmt: skip
    bus = bus_of(settings)
    assert bus.client({"acks": "all"}) == {
        "client.id": "breakwater", "acks": "all", "security.protocol": "sasl_ssl", "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me", "sasl.password": "hush", "ssl.ca.location": "/x.pem", "ssl.key.password": "hushed",
        "bootstrap.servers": "a:1,b:2",
    }  # fmt: skip
    assert "hush" not in repr(bus) + repr(settings) + settings.model_dump_json()
    with pytest.raises(SettingsError) as raised:
        bus_of(KafkaSettings.model_validate({"secret_options": ["hushed"]}))
    assert "hushed" not in str(raised.value)


@pytest.mark.parametrize("wrong", [{"bootstrap": "kafka"}, {"prefix": "a b"}, {"options": ["x"]}, {"replication": 0}])
def test_what_cannot_be_set_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        KafkaSettings.model_validate(wrong)


def test_a_status_keeps_its_key_in_front_of_the_text(say: Say) -> None:
    say("topics", "create")
    sent(say, encode(FeedStatus("okx", "liquidations", "connected", "", system_clock())))
    assert "  okx/liquidations  {" in say("tail", "feeds").stdout
