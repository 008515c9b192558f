# What can be done with a checkout. Go is all it takes; see README.md.

.DEFAULT_GOAL := build
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: help build test lint race cross bench compare soak fuzz demo interop

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## bin/pyvnode
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/pyvnode ./cmd/pyvnode

test: ## all tests, under five minutes on two cores
	$(GO) test -shuffle=on ./...

# Go 1.26 gives one race context to all timers of a synctest bubble. When two threads fire some of them at once, which they
# may, the detector itself crashes. Go 1.27 mended that (https://github.com/golang/go/issues/78156).
race: ## all tests under the race detector; fetches a newer Go for it
	GOTOOLCHAIN=go1.27.3+auto $(GO) test -race -shuffle=on ./...

lint: ## format, vet, staticcheck, known vulnerabilities
	scripts/lint

cross: ## build for the other systems we support
	scripts/cross

demo: build ## the main job on real records, each step checked
	scripts/demo bin/pyvnode

interop: build ## the original server's own programs against nodes; needs Python and, the first time, PyPI
	scripts/interop bin/pyvnode

bench: build ## the table of docs/benchmarks.md: about a quarter of an hour, 5 GB of disk
	bin/pyvnode bench --entries 1000000
	$(GO) test -run '^$$' -bench OpenFrozen -benchtime 3x ./ledger/store
	$(GO) test -run '^$$' -bench . -benchtime 1x ./p2p
	$(GO) test -run '^$$' -bench . -benchtime 3s ./legacy ./node
	if python3 -c 'import venv, ensurepip'; then scripts/compare bin/pyvnode; else echo "no comparison with the original server: it needs Python"; fi

compare: build ## a node and the original server, asked by the same Python client: three minutes; needs Python and, the first time, PyPI
	scripts/compare bin/pyvnode

soak: build ## kills by the hundred, flips by the thousand, networks, fuzzing: about three quarters of an hour
	scripts/soak

fuzz: ## every fuzz target for FUZZTIME (30s)
	scripts/fuzz
