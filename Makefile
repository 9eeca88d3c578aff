# `make demo` and `make test` need python3 (>= 3.11), git, make and a C compiler; they set up the rest, once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEMO := A cat looks around, the camera holds still. At 2 seconds the light turns golden. At 7 seconds night falls. \
	At 12 seconds day breaks.

.PHONY: help demo test check fix screenshots soak
help:          ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Longtake needs Python 3.11 or newer.")'
	@echo "Setting up .venv (once, a few minutes) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -qq --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(READY) ## film examples/ with the model that ships with Longtake
	@echo '$$ longtake make "$(DEMO)" --image examples/cat.jpg --seconds 15'
	@LONGTAKE_DATA_DIR=build/demo $(BIN)/longtake make "$(DEMO)" --image examples/cat.jpg --seconds 15 --seed 1 \
		--out build/demo.mp4

test: $(READY) ## run the tests
	@$(BIN)/pytest -n auto

check: $(READY) ## format, lint, types, imports, and the tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

soak: $(READY) ## 200 requests while bot and workers are killed (-9) every second, for half an hour at most; SEED=2 for others
	@$(BIN)/python tests/soak.py --seed $(or $(SEED),1) --limit-seconds 1800

fix: $(READY)  ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

screenshots: $(READY)  ## photograph the bot's cards into docs/screenshots; needs Debian's chromium-headless-shell
	@PYTHONPATH=tests $(BIN)/python tests/screenshots.py
