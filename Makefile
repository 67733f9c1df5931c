# Two commands do everything: `make demo` and `make test`. Each sets up .venv with pinned versions itself.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test clean
demo: .venv/demo.stamp
	$(BIN)/simxrd demo --output simxrd_demo --overwrite

test: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[demo]'
	touch $@

.venv/test.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]'
	touch $@ .venv/demo.stamp

clean:
	rm -rf .venv simxrd_demo
