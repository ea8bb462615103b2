# Everything here needs only Python 3.11 or newer and make. `make` alone lists the targets.
#
#   make up ARGS='--port 9000'       any arguments of `steeple up`
#   make test ARGS='-k cancel'       any arguments of pytest
#   make setup PYTHON=python3.13     this Python, not the first that is new enough
#   make setup VENV=.venv-3.13       a virtual environment of another name

PYTHON ?=
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench
# Each has a PostgreSQL and a Valkey of its own. One more than two cores take: tests of real processes wait a lot.
PROCESSES ?= 3
SOAK_MINUTES ?= 10
SOAK_SEED ?=
PYTHONS ?= python3.11 python3.12 python3.13
.DEFAULT_GOAL := help

# Costs a tenth of a second when there is nothing to do.
set-up = @for each in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	"$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		&& exec "$$each" scripts/set-up $(if $(PYTHON),--this-python) $(or $(2),$(VENV)) $(1); \
	done; echo 'Steeple needs Python 3.11 or newer: name one, such as `make $@ PYTHON=python3.13`' >&2; exit 1

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: setup
setup: ## Make .venv with the `steeple` command and the servers of `steeple up`
	$(call set-up,runtime)

.PHONY: up
up: setup ## Set up, then run everything on this machine until Ctrl-C
	@exec $(BIN)/steeple up $(ARGS)

.PHONY: develop
develop: ## Make .venv with all that the checks and tests need
	$(call set-up,development)

.PHONY: lint
lint: develop ## Style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: format
format: develop ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: hooks
hooks: develop ## Check style, types and imports before each commit
	$(BIN)/pre-commit install

.PHONY: migration
migration: develop ## Write the next migration: make migration MESSAGE='Add a column for the weather'
	$(BIN)/python scripts/new-migration "$(MESSAGE)"

.PHONY: test
test: lint ## Every check and test, what CI runs
	$(BIN)/pytest --numprocesses=$(PROCESSES) --dist=worksteal $(ARGS)

.PHONY: soak
soak: develop ## Break everything, in simulation and for real, for long: make soak SOAK_MINUTES=60 (SOAK_SEED=… plays it again)
	SOAK_MINUTES="$(SOAK_MINUTES)" SOAK_SEED="$(SOAK_SEED)" $(BIN)/pytest --capture=no --timeout=0 -m '' \
		tests/simulation tests/simulation/soak.py tests/faults tests/security tests/machines tests/pgbouncer \
		tests/api/test_api_stateful.py $(ARGS)

.PHONY: mutations
mutations: develop ## List deliberate faults in the product, and what in the tests gives each away
	$(BIN)/pytest --capture=no --timeout=0 -m '' tests/mutations/test_mutations.py tests/mutations/hunt.py $(ARGS)

.PHONY: bench
bench: ## Measure Steeple beside its peers, for hours: make bench ARGS='--rows noop --only steeple,celery_plain'
	$(call set-up,bench,$(BENCH_VENV))
	@$(BENCH_VENV)/bin/python -m bench $(ARGS)

.PHONY: bench-quick
bench-quick: ## Measure the most telling part of it, in two minutes, and compare with the last results
	$(call set-up,bench,$(BENCH_VENV))
	@$(BENCH_VENV)/bin/python -m bench --quick $(ARGS)

.PHONY: test-all-pythons
test-all-pythons: ## The same under each Python that Steeple supports
	@for each in $(PYTHONS); do \
		version=$$("$$each" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || exit; \
		$(MAKE) test PYTHON="$$each" VENV=".venv-$$version" || exit; \
	done

.PHONY: lock
lock: develop ## Choose the newest allowed versions and write them to requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-annotate --no-emit-index-url \
		--all-extras --group dev --group set-up --custom-compile-command 'make lock' \
		--output-file requirements.lock pyproject.toml

.PHONY: audit
audit: develop ## Look for known vulnerabilities among the versions in requirements.lock
	$(BIN)/uv tool run pip-audit --strict --requirement requirements.lock --no-deps --disable-pip

.PHONY: clean
clean: ## Remove what was made here; the data of `make up`, in .steeple, stays
	rm -rf .venv .venv-* dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
