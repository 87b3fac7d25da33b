"""Brokers that want TLS and a password: what the settings say arrives, and what is refused says so without secrets."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.kafka import Reading, partition_names
from connectors.kafka.topics import create
from flows.bus import bus_of
from flows.settings import KafkaSettings
from schemas.bus import Bus
from schemas.errors import BreakwaterError
from schemas.topics import SIGNALS
from tests.broker import Broker, free_ports, needed
from tests.connectors.kafka.streams import numbered, read, send

_LOGIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    'username="broker" password="own" user_broker="own" user_desk="hush-hush";'
)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A key of the broker's own, and the certificate clients trust it by."""
    store, told = folder / "broker.p12", folder / "broker.pem"
    of = ["keytool", "-keystore", str(store), "-storetype", "PKCS12", "-storepass", "changeit", "-alias", "broker"]
    named = ["-dname", "CN=localhost", "-ext", "SAN=IP:127.0.0.1", "-keyalg", "EC", "-validity", "2"]
    for what in (["-genkeypair", *named], ["-exportcert", "-rfc", "-file", str(told)]):
        subprocess.run([*of, *what], check=True, capture_output=True, timeout=60)  # noqa: S603 - our own words
    return store, told


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Path]]:
    """A broker that speaks only TLS with passwords, and the certificate to trust."""
    needed()
    if shutil.which("keytool") is None:
        pytest.skip("no keytool: it comes with Java")
    folder = tmp_path_factory.mktemp("guarded")
    store, certificate = _certificate(folder)
    port, controller = free_ports(2)
    broker = Broker(
        port, controller, folder / "kafka", (
            f"listeners=SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners=SASL_SSL://127.0.0.1:{port}",
            "listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name=SASL_SSL", "sasl.mechanism.inter.broker.protocol=PLAIN",
            "sasl.enabled.mechanisms=PLAIN",
            f"listener.name.sasl_ssl.plain.sasl.jaas.config={_LOGIN}",
            f"ssl.keystore.location={store}", "ssl.keystore.type=PKCS12", "ssl.keystore.password=changeit",
            f"ssl.truststore.location={certificate}", "ssl.truststore.type=PEM",
        ),
    ).start()  # fmt: skip
    yield broker, certificate
    broker.stop()


def _bus(broker: Broker, certificate: Path | None, password: str = "hush-hush") -> Bus:  # noqa: S107 - a test's
    trusted = [f"ssl.ca.location={certificate}"] if certificate else []
    return bus_of(
        KafkaSettings.model_validate(
            {
                "bootstrap": broker.bootstrap, "prefix": "guarded", "security": "sasl_ssl", "mechanism": "PLAIN",
                "username": "desk", "password": password, "options": trusted,
            }
        )
    )  # fmt: skip


def test_topics_are_made_written_and_read_over_tls_with_a_password(guarded: tuple[Broker, Path]) -> None:
    bus = _bus(*guarded)
    create(bus, [SIGNALS])
    send(bus, numbered(range(50)))
    assert sorted(read(bus, Reading((SIGNALS,), bounded=True)).numbers) == list(range(50))


@pytest.mark.parametrize(
    ("trusts", "password", "why"),
    [(True, "wrong-one", "Authentication failed"), (False, "hush-hush", "certificate verify failed")],
)
def test_who_is_refused_is_told_why_and_no_secret(
    guarded: tuple[Broker, Path], trusts: bool, password: str, why: str
) -> None:
    broker, certificate = guarded
    bus = _bus(broker, certificate if trusts else None, password)
    with pytest.raises(BreakwaterError) as raised:
        partition_names(bus, (SIGNALS,))
    assert "the brokers do not let us in" in str(raised.value)
    assert why in str(raised.value)
    assert password not in str(raised.value)
