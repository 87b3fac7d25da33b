"""The bus as the settings describe it."""

from __future__ import annotations

from flows.settings import KafkaSettings
from schemas.bus import Bus, Option
from schemas.errors import SettingsError


def bus_of(settings: KafkaSettings) -> Bus:
    """Where it is and how to speak to it.

    :raises SettingsError: a secret option is no ``name=value``; it is not shown.
    """
    options: dict[str, Option] = {}
    if settings.security != "plaintext":
        options["security.protocol"] = settings.security
    if settings.security.startswith("sasl"):
        options |= {"sasl.mechanism": settings.mechanism, "sasl.username": settings.username}
        options["sasl.password"] = settings.password.get_secret_value() if settings.password else ""
    for text in (*settings.options, *(secret.get_secret_value() for secret in settings.secret_options)):
        name, is_one, value = text.partition("=")
        if not is_one:
            raise SettingsError("kafka.secret_options: one of them is no name=value")
        options[name] = value
    return Bus(settings.bootstrap, settings.prefix, options)
