# make run | make test | make check        (python3 with venv is all that is needed)
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check format ci clean

run: .venv/run
	$(BIN)/python app.py

test: .venv/dev
	$(BIN)/python -m pytest

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each stamp is newer than the requirements it was installed from.
.venv/run: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) -r requirements.txt
	touch $@

.venv/dev: .venv/run requirements-dev.txt
	$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) -r requirements-dev.txt
	touch $@

clean:
	rm -rf .venv
