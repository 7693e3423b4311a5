# make run | make test | make check        (python3 with venv is all that is needed)
# make test-browser                        (the page in Chromium)
# make train-tools                         (what training needs on top: torch)
# make sanitize                            (x86-64 Linux, gcc)
PYTHON ?= python3
BIN := .venv/bin
TORCH := torch==2.13.0 # the tested release

.PHONY: run train-tools test test-browser check format sanitize clean

run: .venv/run
	$(BIN)/python app.py

train-tools: .venv/train

test: .venv/dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore=tests/e2e

test-browser: .venv/dev
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/e2e

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

sanitize: .venv/dev
	.ci/sanitize

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each stamp is newer than the requirements it was installed from.
.venv/run: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "UpFront needs Python 3.11 or newer: make PYTHON=python3.12, say")'
	$(PYTHON) -m venv .venv
	sed '/^# Training only/,$$d' requirements.txt > .venv/page.txt
	$(BIN)/python -m pip install --quiet -r .venv/page.txt
	touch $@

.venv/train: .venv/run
	@# pip's default torch for Linux brings gigabytes of CUDA: take the CPU build where it is to be had.
	-[ "$$(uname -s)" != Linux ] || $(BIN)/python -m pip install --quiet --no-deps --retries 0 --timeout 15 \
		$(TORCH) --index-url https://download.pytorch.org/whl/cpu
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

.venv/dev: .venv/train requirements-dev.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

clean:
	rm -rf .venv
