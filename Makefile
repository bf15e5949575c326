PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check format bench proto clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("xbcompute needs Python 3.11 or newer; name one with make PYTHON=…") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)  ## one joint survival analysis over four hospitals, one process each
	$(BIN)/xbcompute demo biomed

test: $(STAMP)  ## the default test run (under five minutes on two cores)
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(STAMP)  ## format, lint, types, imports, sizes, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python tools/check_sizes.py
	$(BIN)/python tools/check_docs.py

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)  ## against peers in the same run; prints ratios
	$(BIN)/python -m benchmarks

proto: $(STAMP)  ## regenerate xbcompute/wire/v1 from protocols/wire
	$(BIN)/python tools/generate_wire.py

clean:
	rm -rf $(VENV) build dist *.egg-info
