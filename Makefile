# make demo: everything, from rendered videos to a registered model.  make test: all tests.
# make check: ruff, mypy and the faster tests.  make hooks: checks before each commit and push.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --no-header pyproject.toml
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test check lint hooks lock

demo: $(VENV)/installed
	qvpipe demo-data
	dvc repro
	qvpipe results --next

test: $(VENV)/installed-dev lint
	pytest

# The fast tests are those of no whole command and of no server, one on each core.
check: lint
	OMP_NUM_THREADS=1 pytest --numprocesses auto --dist loadfile -m "not slow" --ignore tests/end_to_end --ignore tests/inference --ignore tests/test_lock.py

hooks: $(VENV)/installed-dev
	pre-commit install

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

# All extras are resolved at once, so that one environment can hold them.
lock: $(VENV)/installed
	$(COMPILE) --extra dev --output-file requirements-dev.txt
	$(COMPILE) --constraint requirements-dev.txt --output-file requirements.txt
	for extra in app clips ray search team; do \
		$(COMPILE) --extra $$extra --constraint requirements-dev.txt \
			--output-file requirements-$$extra.txt || exit 1; \
	done
