"""How records go out: Parquet, DuckDB views, the terminal view."""
