PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/bash

.PHONY: setup demo test test-float32 test-all pages notebooks fmt check bench docs dist installed

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv && $(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]' && touch $@

setup: .venv/ready

demo: setup
	$(BIN)/graft demo --out runs/demo

test: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-float32: setup
	GRAFT_PRECISION=float32 $(BIN)/python -m pytest -q

test-all: setup
	$(BIN)/python -m pytest -q -m ''

# The steps of graft app in a real browser; step Images is part of `make test`.
pages: setup
	$(BIN)/python -m pytest -q -m slow -n 2 --dist loadfile tests/app -k 'browser or on_the_page or keys_decide'

notebooks: setup
	$(BIN)/python -m pytest -q -s -m '' tests/lessons/test_notebooks.py

fmt: setup
	$(BIN)/ruff check --fix -q . && $(BIN)/ruff format -q .

check: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

.venv/docs-ready: .venv/ready
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]' && touch $@

docs: .venv/docs-ready
	$(BIN)/python -c 'from graft.cli.settings_page import write; write("docs/settings.md")'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: setup
	$(BIN)/python -m benchmarks $(BENCH)

dist: setup
	$(BIN)/python -m build

installed:
	$(PYTHON) .ci/installed.py
