# Breakwater. `make demo` shows it at work, `make test` proves it; both set everything up first.
.DEFAULT_GOAL := help
PY := .venv/bin/python
STAMP := .venv/.installed

help:           ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

venv: $(STAMP)  ## set up .venv from the lock file

$(STAMP): requirements.lock pyproject.toml .ci/venv
	@sh .ci/venv
	@touch $(STAMP)

demo: venv      ## the whole pipeline on simulated venues, in this terminal
	@.venv/bin/breakwater demo $(ARGS)

test: venv      ## every test
	@$(PY) -c "from flows.live import warm_up; warm_up()"
	@.venv/bin/pytest -n 2 --dist worksteal $(ARGS) || { echo "what failed beside others gets one run alone"; .venv/bin/pytest --last-failed $(ARGS); }

lint: venv      ## format, lint, types, import contracts
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: venv     ## measured speed, as ratios in one run
	@$(PY) -m tests.benchmarks $(ARGS)

kafka:          ## a real Kafka broker on loopback, without Docker; prints its address (PORT=9092)
	@docker/kafka/broker start $(or $(PORT),9092)

kafka-stop:     ## stop it; what it holds is kept in .kafka
	@docker/kafka/broker stop $(or $(PORT),9092)

scoreboard: venv ## how good the probability is, on the recordings in BREAKWATER_SHARED
	@$(PY) -m flows.study.scoreboard $(ARGS)

lock:           ## resolve the dependencies anew (needs uv)
	@uv pip compile --universal --generate-hashes --no-header --group dev --extra live pyproject.toml -o requirements.lock -q

clean:          ## remove the environment and every generated file
	rm -rf .venv .kafka .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help venv demo test lint bench kafka kafka-stop scoreboard lock clean
