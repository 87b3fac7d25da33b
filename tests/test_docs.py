"""The documents say what is so: made parts, commands, SQL and links are current."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from connectors.exchanges import exchanges
from connectors.simulator import simulate, tell
from flows.cli import app
from flows.pictures.documents import PARTS, documents, names, renewed
from flows.pictures.venues import observed, venue_table
from schemas.cascades import LEVELS
from sinks.parquet import lay_out
from sinks.query import query
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = documents(ROOT)
BLOCK = re.compile(r"^ *```(?P<language>[a-z]*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)(?P<target>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")
UsageError = typer.BadParameter.__mro__[1]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    return [block["text"] for block in BLOCK.finditer(text) if block["language"] == language]


def shown(text: str) -> Iterator[str]:
    """Every ``breakwater`` command line of a console block, without what a shell does around it."""
    for line in (line.strip() for block in blocks(text, "console") for line in block.splitlines()):
        command = re.sub(r"^\$ (?:[A-Z_]+=\S+ )*", "", re.split(r" [|>] ", line)[0])
        if line.startswith("$ ") and command.startswith("breakwater "):
            yield command


def mentioned(text: str) -> list[str]:
    """Every command named in a sentence; what it needs may be left out there."""
    return re.findall(r"`(breakwater [^`]+)`", BLOCK.sub("", text))


def complaint(command: str, *, whole: bool = True) -> str:
    """What the command line would say to it before doing anything; nothing where it would begin."""
    words = shlex.split(command)[1:]
    context = typer.Context(get_command(app), info_name="breakwater")
    while (commands := getattr(context.command, "commands", None)) and words and not words[0].startswith("-"):
        if words[0] not in commands:
            return f"No such command {words[0]}"
        context = typer.Context(commands[words[0]], info_name=words.pop(0), parent=context)
    if not whole:
        known = {option for parameter in context.command.params for option in parameter.opts}
        return " ".join(word for word in words if word.startswith("--") and word not in known)
    # Files that a reader would have are stood in for by one that is here.
    words = ["README.md" if re.search(r"\.(zst|jsonl)$|^data/history(/|$)", word) else word for word in words]
    try:
        context.command.make_context(context.info_name, words, parent=context.parent)
    except UsageError as error:
        return error.format_message()
    return ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_a_made_part_is_what_would_be_made_now(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert renewed(text) == text, "run: python -m flows.pictures --text"


def test_every_part_that_can_be_made_is_in_a_document() -> None:
    assert {name for document in DOCUMENTS for name in names(document.read_text(encoding="utf-8"))} == set(PARTS)


def test_a_part_that_has_gone_stale_is_noticed() -> None:
    stale = README.replace("live.detect", "live.defect", 1)
    assert stale != README
    assert renewed(stale) == README


def test_the_table_of_venues_has_a_row_for_each_dialect_and_says_what_it_read() -> None:
    truth = tell(simulate(1, 8.0, ""))
    rows = {row.split("`")[1]: row for row in venue_table().splitlines()[2:]}
    assert list(rows) == list(exchanges())
    for venue, exchange in exchanges().items():
        prices = {close.price_kind for close in observed(exchange, truth)}
        assert bool(prices) == (venue not in {"hyperliquid", "kucoin"}), venue
        assert all(f"`{price}`" in rows[venue] for price in prices)
    assert "| `sampled` | `fill` | not told |" in rows["binance_usdm"]
    assert "| `complete` | `bankruptcy` | not told |" in rows["bybit"]
    assert "| `complete` | `fill` | told |" in rows["dydx_v4"]


def test_the_picture_of_the_demo_says_that_its_data_are_simulated() -> None:
    picture = (ROOT / "flows/pictures/demo.svg").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", " ", picture).replace("&#160;", " ")
    assert "SIMULATED DATA" in text
    assert any(f"{level} " in text for level in LEVELS[2:]), "a cascade is in the picture"


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_a_printed_command_is_one_the_command_line_accepts(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = document.read_text(encoding="utf-8")
    found = {command: complaint(command) for command in shown(text)}
    found |= {command: complaint(command, whole=False) for command in mentioned(text) if "VENUE" not in command}
    assert not any(found.values()), found


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("breakwater dance", "No such command"),
        ("breakwater config chek", "No such command"),
        ("breakwater demo --sed 7", "No such option"),
        ("breakwater run --venue bibyt", "no venue 'bibyt'"),
        ("breakwater replay", "Missing argument"),
    ],
)
def test_a_command_that_is_none_is_noticed(command: str, told: str) -> None:
    assert told in complaint(command)


def test_the_readme_shows_every_command() -> None:
    commands = {tuple(command.split()[1:3]) for command in [*shown(README), *mentioned(README)]}
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]  # a group of commands
        for path in [(name, sub) for sub in getattr(command, "commands", {})] or [(name,)]:
            assert any(seen[: len(path)] == path for seen in commands), path


def test_every_make_target_printed_exists_and_all_are_printed() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    said = set(re.findall(r"^(?:\| `)?make ([a-z]+)", README, re.MULTILINE))
    assert said == targets - {"help"}


def test_the_sql_of_the_readme_is_understood_by_the_history(tmp_path: Path) -> None:
    lay_out(tmp_path)
    questions = blocks(README, "sql")
    assert len(questions) >= 10
    for question in questions:
        out = io.BytesIO()
        query(tmp_path, question, "csv", out)
        assert "," in out.getvalue().decode().splitlines()[0]


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_a_relative_link_leads_to_a_file_and_an_anchor_to_a_heading(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for link in LINK.finditer(BLOCK.sub("", text)):
        target = (document.parent / link["target"]).resolve() if link["target"] else document
        assert target.exists(), link[0]
        if link["anchor"]:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert link["anchor"][1:] in anchors, link[0]
