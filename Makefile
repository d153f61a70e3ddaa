# `make demo` and `make test` set everything up themselves.
.PHONY: setup demo quick test test-all check format lock clean

VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := requirements/dev.txt

setup: $(VENV)/.installed

$(VENV)/.installed: $(REQUIREMENTS) pyproject.toml scripts/setup.sh
	bash scripts/setup.sh $(VENV) $(REQUIREMENTS)

demo: setup
	$(BIN)/visionline demo

quick: setup
	$(BIN)/python -m pytest -n 2 -m quick

# Two processes: one runs pipelines, one at a time, the other the rest; see tests/support/costs.py.
test: setup
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: setup
	$(BIN)/python -m pytest -n 2

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Renews the pins: UPGRADE=1 takes the newest versions the constraints allow.
lock:
	bash scripts/lock.sh $(if $(UPGRADE),--upgrade)

clean:
	rm -rf $(VENV) .tools build
