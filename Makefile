# make run — the gateway with an invented region; make test — the tests. Everything lives in .venv.

PYTHON ?= python3.11 python3.12 python3.13 python3
USABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
BIN := .venv/bin
ARGS ?=

.PHONY: setup run test trials bench check

setup: .venv/stamp

# made anew only when the dependencies change; the first interpreter that works is taken
.venv/stamp: pyproject.toml
	@test -x $(BIN)/python || for python in $(PYTHON); do \
		if $$python -c '$(USABLE)' >/dev/null 2>&1; then $$python -m venv .venv && break; fi; \
	done
	@test -x $(BIN)/python || { echo "Нужен Python 3.11, 3.12 или 3.13 с модулем venv; укажите его: make PYTHON=…" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: setup
	@exec $(BIN)/dn-gateway demo $(ARGS)

test: setup
	$(BIN)/pytest -m "not trial" $(ARGS)

trials: setup
	$(BIN)/pytest -m trial --timeout 1500 $(ARGS)

bench: setup
	$(BIN)/python -m bench $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dn-gateway wsdl check
