# The verbs of this checkout. `make up` and `make test` are the two anyone needs.
export PATH := $(CURDIR)/.tools/bin:$(CURDIR)/.tools/cargo/bin:$(PATH):$(HOME)/.cargo/bin
.DEFAULT_GOAL := help
.PHONY: help up build test chaos lint bench fmt tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: tools ## build and run everything here, in the foreground (ARGS="--port 0 …")
	@cargo build --locked --release -p hookmill -p supervisor
	@exec target/release/hookmill up $(ARGS)

build: ## build every program in release mode
	cargo build --locked --release --workspace --bins

test: tools ## unit, service and whole-system tests on throw-away data
	@deploy/tools/fetch test
	cargo build --locked --workspace --bins
	cargo build --locked -p worker --features planted-bugs --bin worker-with-bugs
	cargo test --locked --workspace --no-fail-fast

chaos: tools ## faults under load by a seed, and a ledger that is checked (SECONDS=600 SEED=7 ARGS="…")
	cargo build --locked --workspace --bins
	target/debug/chaos --seconds $(or $(SECONDS),120) $(addprefix --seed ,$(SEED)) $(ARGS)

lint: ## formatting, clippy, dependencies, file sizes
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@deploy/tools/fetch lint
	cargo deny --locked check bans licenses sources
	deploy/tools/lines

bench: tools ## measure the webhooks beside the floor of the same run (ARGS="…")
	cargo build --locked --release --workspace --bins
	target/release/bench $(ARGS)

fmt: ## format every crate
	cargo fmt --all

tools:
	@deploy/tools/fetch
