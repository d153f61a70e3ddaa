# `make demo` and `make test` set everything up themselves.
.PHONY: setup demo quick test test-all check bench bench-full format lock clean

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

# On a machine that does nothing else; see benchmarks/README.md.
# CIFAR: a tar of CIFAR-10's training images; AGAINST: an older checkout; ONLY: questions.
BENCH_OPTIONS = $(if $(CIFAR),--cifar $(CIFAR)) $(if $(AGAINST),--against $(AGAINST)) \
	$(if $(ONLY),--only $(ONLY))

bench: setup
	$(BIN)/python -m benchmarks bench $(BENCH_OPTIONS)

bench-full: setup
	$(BIN)/python -m benchmarks full $(BENCH_OPTIONS)

# Renews the pins: UPGRADE=1 takes the newest versions the constraints allow.
lock:
	bash scripts/lock.sh $(if $(UPGRADE),--upgrade)

clean:
	rm -rf $(VENV) .tools build
