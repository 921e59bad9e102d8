# make demo: everything, from rendered videos to a registered model.  make test: all tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test lint lock

demo: $(VENV)/installed
	qvpipe demo-data
	dvc repro
	qvpipe results --next

test: $(VENV)/installed-dev lint
	pytest

lint: $(VENV)/installed-dev
	ruff check .
	ruff format --check .
	mypy

# Bytecode is compiled once here, since every stage is a process that imports torch.
$(VENV)/installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements-dev.txt
	touch $@

lock: $(VENV)/installed
	$(UV) pip compile --quiet --universal --python-version 3.11 --no-header pyproject.toml \
		--output-file requirements.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 --no-header pyproject.toml \
		--extra dev --constraint requirements.txt --output-file requirements-dev.txt
