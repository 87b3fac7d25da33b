"""Recordings: what was written is read back, also after the writer was killed; raw frame files are read as well."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from connectors.exchange import Frame
from connectors.recording import FrameWriter, read_frames, venue_of
from connectors.zstd_tail import tail_of
from schemas.clock import SECOND
from schemas.errors import RecordingError
from schemas.records import VENUES

FRAMES = st.lists(
    st.builds(
        Frame,
        st.sampled_from(VENUES),
        st.text(min_size=1, max_size=12),
        st.binary(max_size=60) | st.text(max_size=60).map(str.encode),
        st.integers(0, 2**62),
    ),
    max_size=12,
)


class Ticking:
    """A clock that goes on by ``step`` nanoseconds at each reading."""

    def __init__(self, step: int = 0) -> None:
        self.now, self.step = 10 * SECOND, step

    def __call__(self) -> int:
        self.now += self.step
        return self.now


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(FRAMES, max_size=4))
def test_any_frames_written_in_any_number_of_sittings_are_read_back(
    tmp_path: Path, sittings: list[list[Frame]]
) -> None:
    path = tmp_path / "law.zst"
    path.unlink(missing_ok=True)
    for frames in [[], *sittings]:
        writer = FrameWriter(path, Ticking(SECOND // 3))
        for frame in frames:
            writer.write([frame])
        writer.close()
    everything = [frame for frames in sittings for frame in frames]
    assert list(read_frames(path)) == everything
    assert list(read_frames(path, "okx")) == [f for f in everything if f.venue == "okx"]


def test_a_recording_says_what_it_is_in_lines_a_person_can_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "today.zst"
    writer = FrameWriter(path, Ticking())
    writer.write([Frame("htx", "metadata", b'{"a":"\xc3\xa9"}', 5), Frame("htx", "l", b"\xff", 6)])
    writer.close()
    with path.open("rb") as file:
        text = zstandard.ZstdDecompressor().stream_reader(file).read().decode()
    assert text.splitlines()[0].startswith('{"breakwater_recording":1,"what":"raw frames of public market data feeds')
    assert text.splitlines()[1:] == [
        '{"venue":"htx","feed":"metadata","receive_time":5,"frame":"{\\"a\\":\\"é\\"}"}',
        '{"venue":"htx","feed":"l","receive_time":6,"frame":{"base64":"/w=="}}',
    ]


def numbered(count: int, start: int = 0) -> list[Frame]:
    return [Frame("okx", "liquidations", b'{"n":%d}' % n, n) for n in range(start, start + count)]


def test_what_is_written_reaches_the_file_within_a_second_also_when_nothing_more_comes(tmp_path: Path) -> None:
    path, clock = tmp_path / "r.zst", Ticking()
    writer = FrameWriter(path, clock)
    writer.write(numbered(3))
    assert list(read_frames(path)) == []
    clock.now += SECOND
    writer.write([])
    with capture_logs() as logs:
        assert list(read_frames(path)) == numbered(3)
    assert [entry["event"] for entry in logs] == ["recording was not finished, what is whole was read"]
    writer.close()
    with capture_logs() as logs:
        assert list(read_frames(path)) == numbered(3)
    assert logs == []


def killed(path: Path, frames: int = 40) -> tuple[bytes, FrameWriter]:
    """The bytes of a recording whose writer is not done, a flush after each frame."""
    writer = FrameWriter(path, Ticking(2 * SECOND))
    for frame in numbered(frames):
        writer.write([frame])
    return path.read_bytes(), writer


def test_cut_off_anywhere_what_is_whole_is_read_and_new_frames_can_follow(tmp_path: Path) -> None:
    """Every length a file can be left with by a killed writer or a full disk."""
    whole, writer = killed(tmp_path / "whole.zst")
    writer.close()
    path = tmp_path / "torn.zst"
    fewest = 40
    for length in range(len(whole) - 1, 40, -7):
        path.write_bytes(whole[:length])
        with capture_logs():
            left = list(read_frames(path))
        assert left == numbered(len(left))
        assert len(left) <= fewest
        fewest = len(left)
        again = FrameWriter(path, Ticking())
        again.write([Frame("gate", "after", b"new", 1)])
        again.close()
        assert tail_of(path).finished
        with capture_logs():
            assert list(read_frames(path)) == [*left, Frame("gate", "after", b"new", 1)]
    assert fewest == 0


def test_a_line_torn_in_the_middle_is_said_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    lines = [b'{"breakwater_recording":1,"what":""}', b'{"venue":"okx","feed":"a","receive_time":1,"frame":"x"}']
    torn = b'{"venue":"okx","fee'

    def written(*parts: bytes) -> Path:
        path = tmp_path / "r.zst"
        path.write_bytes(zstandard.compress(b"\n".join(parts)))
        return path

    with capture_logs() as logs:
        assert len(list(read_frames(written(*lines, torn)))) == 1
        assert len(list(read_frames(written(*lines, torn, *lines)))) == 2
    assert [(e["event"], e["line"]) for e in logs] == [
        ("recording ends within a line, which is lost", 3),
        ("recording was interrupted, one line is lost", 3),
    ]
    with pytest.raises(RecordingError, match=r"r\.zst, line 3"):
        list(read_frames(written(*lines, torn, lines[1])))
    with pytest.raises(RecordingError, match="format 2; this version reads format 1"):
        list(read_frames(written(b'{"breakwater_recording":2,"what":""}')))


def gz(data: bytes) -> bytes:
    return gzip.compress(data)


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.jsonl", bytes), ("a.txt", bytes), ("a.json", bytes), ("a.jsonl.zst", zstandard.compress), ("a.txt.gz", gz)],
)
def test_files_of_raw_frames_are_read_line_by_line(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "x10" / name
    path.parent.mkdir()
    path.write_bytes(pack(b'{"n":1}\r\n\n{"n":2}\n{"n":3}'))
    assert list(read_frames(path)) == [Frame("extended", "a", b'{"n":%d}' % n, 0) for n in (1, 2, 3)]
    assert {f.venue for f in read_frames(path, "okx")} == {"okx"}


def test_a_document_spread_over_lines_is_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    path.write_text('{\n  "symbols": [\n    1\n  ]\n}\n')
    (frame,) = read_frames(path, "aster")
    assert frame.payload == b'{\n  "symbols": [\n    1\n  ]\n}'


def test_a_cut_off_gzip_yields_what_is_whole_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "okx.jsonl.gz"
    path.write_bytes(gz(b'{"n":1}\n' * 9)[:-4])
    with capture_logs() as logs:
        assert [f.payload for f in read_frames(path)] == [b'{"n":1}'] * 9
    assert [e["event"] for e in logs] == ["the compressed file is cut off, what is whole was read"]


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    raw = tmp_path / "frames.jsonl"
    raw.write_text("{}\n")
    with pytest.raises(RecordingError, match="nothing tells of which venue"):
        list(read_frames(raw))
    with pytest.raises(RecordingError, match="is no file"):
        list(read_frames(tmp_path / "absent.zst"))
    bad = tmp_path / "okx.jsonl.zst"
    bad.write_bytes(zstandard.compress(b'{"n":1}\n') + zstandard.FRAME_HEADER + b"\xff" * 30)
    with pytest.raises(RecordingError, match="cannot be read"):
        list(read_frames(bad))


@pytest.mark.parametrize(
    ("path", "venue"),
    [
        ("binance/force_order.jsonl", "binance_usdm"),
        ("binance/force_order_coinm.doc.jsonl", "binance_coinm"),
        ("binance/rest_dapi_exchange_info_2021.jsonl", "binance_coinm"),
        ("x10/public_trades.jsonl", "extended"),
        ("kraken_futures/trade.doc.jsonl", "kraken_futures"),
        ("somewhere/bybit.jsonl.zst", "bybit"),
        ("somewhere/frames.jsonl", None),
    ],
)
def test_the_folder_or_the_file_tells_the_venue(path: str, venue: str | None) -> None:
    assert venue_of(Path("/data") / path) == venue


def test_every_recorded_file_tells_its_venue_and_yields_its_lines(shared: Callable[[str], Path]) -> None:
    files = sorted(shared("captures").glob("*/*.jsonl"))
    assert len(files) > 50
    for path in files:
        expected = [line for line in path.read_bytes().splitlines() if line.strip()]
        assert [frame.payload for frame in read_frames(path)] == expected
