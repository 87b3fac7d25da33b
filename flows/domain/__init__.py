"""The thinking: windows, context, score, cascades. Pure, driven by a plain loop, no engine, no I/O."""
