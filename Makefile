# Two commands on a fresh machine: `make demo` and `make test`. Python >= 3.11 and make are enough.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test lint types layers check-text unit clean

install: .venv/installed

# One environment for everything; made anew when what the project needs changes.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: install
	$(BIN)/yolact demo

test: lint types layers check-text unit

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

layers: install
	$(BIN)/lint-imports

check-text: install
	$(BIN)/codespell src tests docs benchmarks examples README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md

# Two processes of one thread each; a file's tests stay together and share what they made. Browser tests
# run on their own: their driver's threads and pipes must not be copied into workers that others fork.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest --cov --maxfail 5 --numprocesses 2 --dist loadfile --no-loadscope-reorder
unit: install
	$(PYTEST) --cov-report= --ignore tests/browser
	$(PYTEST) --cov-append tests/browser

clean:
	rm -rf .venv build dist
