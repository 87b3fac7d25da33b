"""Topics: what the brokers are told, and what a subscriber may rely on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.cascades import CascadeUpdate
from schemas.codec import encode
from schemas.records import Control, FeedStatus, Liquidation, OpenInterest
from schemas.tables import DATASETS
from schemas.topics import (
    CASCADES,
    FEEDS,
    IDENTITY,
    LIQUIDATIONS,
    RAW,
    TOPIC_OF,
    TOPICS,
    Topic,
    json_schema,
    meanings,
    schema_name,
    topic,
)
from tests.schemas.test_tables import any_record

OF_RECORDS = [t for t in TOPICS.values() if t.records]


def test_every_stored_record_has_a_topic_and_controls_have_none() -> None:
    assert {d.record for d in DATASETS.values()} <= set(TOPIC_OF)
    assert Control not in TOPIC_OF


@pytest.mark.parametrize("record", TOPIC_OF, ids=lambda r: r.__name__)
def test_keys_and_identities_are_fields(record: Any) -> None:
    assert set(TOPIC_OF[record].key) <= set(record.__struct_fields__)
    assert set(IDENTITY.get(record, ())) <= set(record.__struct_fields__)


def test_names_end_in_the_version_and_carry_no_other() -> None:
    for name, told in TOPICS.items():
        assert name == told.name
        assert name.count(".") == 1
        assert told.version == "v1"


def test_the_brokers_are_told_how_long_to_keep() -> None:
    assert LIQUIDATIONS.config["cleanup.policy"] == "delete"
    assert LIQUIDATIONS.config["retention.ms"] == str(7 * 86_400_000)
    assert CASCADES.config["cleanup.policy"] == "compact,delete"
    assert Topic("x.v1", "", (), ("a",), -1, compacted=True).config == {
        "cleanup.policy": "compact", "retention.ms": "-1", "compression.type": "producer"
    }  # fmt: skip


def test_compaction_keeps_each_connection_apart() -> None:
    told = [FeedStatus("okx", feed, "connected", "", 1) for feed in ("liquidations", "funding")]
    assert len({encode(status).key for status in told}) == 2
    assert TOPIC_OF[FeedStatus] is FEEDS


def test_a_topic_is_found_by_any_of_its_names() -> None:
    assert topic("liquidations.v1") is LIQUIDATIONS
    assert topic("liquidations") is LIQUIDATIONS
    assert topic("desk.liquidations.v1", "desk") is LIQUIDATIONS
    assert topic("liquidations.v2") is None
    assert topic("desk.liquidations.v1") is None


def test_a_schema_name_says_kind_and_version() -> None:
    assert schema_name(OpenInterest) == "open_interest.v1"
    assert schema_name(CascadeUpdate) == "cascade.v1"


@pytest.mark.parametrize("of", OF_RECORDS, ids=lambda t: t.name)
@settings(max_examples=15)
@given(data=st.data())
def test_what_is_sent_is_as_its_schema_says(of: Topic, data: st.DataObject) -> None:
    schema = Draft202012Validator(json_schema(of))
    record = data.draw(any_record(data.draw(st.sampled_from(of.records))))
    sent = msgspec.json.decode(encode(record).value)
    schema.validate(sent)
    del sent[next(name for name in sent if name != "kind")]
    assert not schema.is_valid(sent), "a field may not be missing"


def test_a_schema_says_what_fields_mean_and_which_may_be_unknown() -> None:
    schema = json_schema(LIQUIDATIONS)
    Draft202012Validator.check_schema(schema)
    fields = schema["$defs"]["Liquidation"]["properties"]
    assert fields["position"]["description"] == "Whose position was closed. Never the order side."
    assert {"type": "null"} in fields["price"]["anyOf"]
    assert fields["notional_usd"]["type"] == "number"
    assert meanings(Liquidation)["receive_time"] == "Our socket's clock."


def test_a_native_frame_has_a_schema_that_promises_nothing() -> None:
    assert "type" not in json_schema(RAW)
    assert json_schema(RAW)["$id"] == "breakwater.raw.v1"
