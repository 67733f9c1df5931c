# `make demo`, `make test`, `make docs`, `make fault`: each sets up .venv with pinned versions itself.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test docs fault clean
demo: .venv/demo.stamp
	$(BIN)/simxrd demo --output simxrd_demo --overwrite

test: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

# The campaign of faults: damaged and hostile files, flipped bits, kills, a Hub that fails; writes docs/reliability.md.
fault: .venv/test.stamp
	$(BIN)/python benchmarks/fault.py --json benchmarks/results/fault.json --markdown docs/reliability.md

docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[demo]'
	touch $@

.venv/test.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]'
	touch $@ .venv/demo.stamp .venv/docs.stamp

.venv/docs.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf .venv simxrd_demo site
