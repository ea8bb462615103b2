# Everything here needs only Python 3.11 or newer and make. `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/.runtime: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Steeple needs Python 3.11 or newer: make PYTHON=python3.13")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock pip
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[up]'
	@touch $@

.venv/.development: .venv/.runtime
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[up,examples]' --group dev
	@touch $@

.PHONY: setup
setup: .venv/.runtime ## Make .venv with the `steeple` command and the servers of `steeple up`

.PHONY: up
up: setup ## Set up, then run everything on this machine
	@exec $(BIN)/steeple up

.PHONY: lint
lint: .venv/.development ## Style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: test
test: lint ## Every check and test, what CI runs
	$(BIN)/pytest

.PHONY: lock
lock: .venv/.development ## Choose the newest allowed versions and write them to requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-annotate --no-emit-index-url \
		--all-extras --group dev --custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml
