"""The terminal view of ``schemas.view.PipelineView``: live, as a summary, and as a picture.

``render`` is pure. ``Dashboard`` draws in a process of its own, so that drawing costs the pipeline no more than
encoding one view. Nothing is told by colour alone, and a figure that is a floor is written with ``≥``.
"""

from __future__ import annotations

from sinks.dashboard.screen import render
from sinks.dashboard.summary import TRY_NEXT, screenshot, summary
from sinks.dashboard.terminal import Dashboard

__all__ = ["TRY_NEXT", "Dashboard", "render", "screenshot", "summary"]
