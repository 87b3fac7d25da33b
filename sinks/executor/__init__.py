"""The executor: a write-ahead journal and the state machine over it. See ``README.md`` beside."""
