"""The compiled code belongs to the sources it was made from."""

from __future__ import annotations

from pathlib import Path

from schemas.compiled import cache_folder


def test_a_change_in_any_module_of_the_domain_makes_a_new_cache(tmp_path: Path) -> None:
    """numba alone would keep a function compiled with the old version of what it calls."""
    (tmp_path / "rings.py").write_text("x = 1\n")
    (tmp_path / "kernel.py").write_text("from rings import x\n")
    before = cache_folder([tmp_path])
    (tmp_path / "rings.py").write_text("x = 2\n")
    assert cache_folder([tmp_path]) != before
    (tmp_path / "rings.py").write_text("x = 1\n")
    assert cache_folder([tmp_path]) == before
