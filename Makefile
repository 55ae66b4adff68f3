# The targets that people and CI use. Each is one idea.
GO        ?= go
FUZZTIME  ?= 10s
BENCHTIME ?= 1s

# The consumer is a module of its own: it proves that the conformance suite can
# be used from outside.
CONSUMER := conformance/consumer

.PHONY: build servers test race lint fuzz bench demo ci

build:
	$(GO) build ./...

# What the tests need beyond Go: a real Alertmanager.
servers:
	.ci/install

# Everything, faults included.
test: servers
	$(GO) test -timeout 20m ./...
	cd $(CONSUMER) && $(GO) test -timeout 10m ./...

# Under the race detector, which needs a C compiler; without the slow fault checks.
race:
	$(GO) test -race -short -timeout 30m ./...

lint:
	@unformatted="$$(gofmt -l .)"; test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	cd $(CONSUMER) && $(GO) vet ./...

# Each fuzz test in turn, for FUZZTIME.
fuzz:
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do \
		sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$$file" | while read -r name; do \
			echo "$$(dirname "$$file") $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")"; \
		done; \
	done

bench:
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

demo:
	$(GO) run ./cmd/clusterchannel demo

ci:
	.ci/run
