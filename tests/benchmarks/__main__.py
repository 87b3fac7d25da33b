"""``python -m tests.benchmarks [names…] [--json] [--quick]``: measure, print the figures beside their targets.

Each benchmark runs in a process of its own, so that none inherits another's memory; every ratio is between figures of
that one process. A target that is not met is said, and is no failure: the exit code tells whether it could be measured.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import msgspec

from tests.benchmarks import BENCHMARKS, ON_REQUEST, run
from tests.benchmarks.figures import Row, show


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="name",
        help=f"of {', '.join(BENCHMARKS)}; all where none is named; or of {', '.join(ON_REQUEST)}",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, not how fast")
    asked = parser.parse_args()
    if unknown := set(asked.names) - {*BENCHMARKS, *ON_REQUEST}:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; choose from {', '.join(BENCHMARKS)}")
    found: dict[str, list[Row]] = {}
    for name in asked.names or BENCHMARKS:
        began = time.perf_counter()
        sys.stderr.write(f"{name} …")
        sys.stderr.flush()
        try:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                found[name] = alone.submit(run, name, quick=asked.quick).result()
        except Exception:  # noqa: BLE001 - whatever broke one benchmark, the figures of the others stand
            sys.stderr.write(f"\n{traceback.format_exc()}")
            continue
        sys.stderr.write(f" {time.perf_counter() - began:.0f} s\n")
    if asked.json:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    else:
        show(found)
    sys.exit(len(found) < len(asked.names or BENCHMARKS))


if __name__ == "__main__":
    main()
