"""The commands, a file per kind of work; each imports what it needs when it runs, so that ``--help`` is quick."""
