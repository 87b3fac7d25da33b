"""``python -m flows.pictures``: make every made part of the documents anew, and the picture of the demo.

Run it where the documents are. ``--text`` leaves the picture, which takes most of a minute, as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flows.pictures.documents import documents, renewed
from flows.pictures.screenshot import take

PICTURE = Path("flows/pictures/demo.svg")


def main() -> None:
    """Write what has changed, and say what that was."""
    parser = argparse.ArgumentParser(prog="python -m flows.pictures", description=__doc__)
    parser.add_argument("--text", action="store_true", help="leave the picture of the demo as it is")
    only_text = parser.parse_args().text
    for document in documents(Path()):
        before = document.read_text(encoding="utf-8")
        after = renewed(before)
        if after != before:
            document.write_text(after, encoding="utf-8")
            sys.stdout.write(f"{document}\n")
    if not only_text:
        take(PICTURE)
        sys.stdout.write(f"{PICTURE}\n")


if __name__ == "__main__":
    main()
