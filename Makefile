# Everything goes through .venv, made from the lock files on first use; no target needs more than Python 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test agents lint check format lock bench docs clean

run: .venv/run.stamp  ## the server on http://127.0.0.1:8000
	$(BIN)/python -m app

test: .venv/dev.stamp  ## the tests, in two halves at a time; together they have to reach every branch
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q tests/*/ & first=$$!; \
	$(BIN)/coverage run -m pytest -q tests/test_*.py; second=$$?; \
	wait $$first && exit $$second
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

agents: .venv/dev.stamp tests/agents/node_modules/stamp  ## Claude Code, Codex and opencode at work; needs npm
	AGENTS=1 $(BIN)/pytest -q tests/agents

tests/agents/node_modules/stamp: tests/agents/package-lock.json
	cd tests/agents && npm install --no-save --no-audit --no-fund
	@touch $@

lint: .venv/dev.stamp  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test  ## what the automated build runs

format: .venv/dev.stamp  ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/run.stamp  ## what the server costs, beside nginx; `make bench ARGS=--quick` for a look
	$(BIN)/python -m bench.yardstick $(ARGS)

docs: .venv/dev.stamp  ## write the tables that are generated from the code
	$(BIN)/python -m docs.generate

lock: .venv/dev.stamp  ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile pyproject.toml -o requirements.lock $(LOCK)
	$(BIN)/uv pip compile pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock $(LOCK)
LOCK := -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/agents/node_modules

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Flarelay needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv

.venv/run.stamp: .venv/bin/python requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
