# The targets that people and CI use. Each is one idea.
GO        ?= go
FUZZTIME  ?= 10s
BENCHTIME ?= 1s
TESTFLAGS ?=
PACKAGES  ?= ./...

# The consumer is a module of its own: it proves that the conformance suite can
# be used from outside.
CONSUMER := conformance/consumer

.PHONY: build servers test modules processes race lint fuzz bench demo ci

build:
	$(GO) build ./...

# What the tests need beyond Go: a real Alertmanager, and the backends' servers,
# as programs and, where a container engine answers, as images. Some tests run
# processes beside containers, also where the images were pulled.
servers:
	.ci/install
	conformance/images/build
	conformance/images/build --binaries

# Everything, faults included.
test: servers
	$(GO) test $(TESTFLAGS) -timeout 20m $(PACKAGES)
	$(MAKE) modules

# The modules of their own: one that uses the suite, and one that is a backend.
modules:
	@failed=; for module in $(CONSUMER) examples/postgres; do \
		(cd $$module && $(GO) test $(TESTFLAGS) -timeout 10m ./...) || failed=1; \
	done; test -z "$$failed"

# The suite once more on local processes in place of containers, without the slow
# fault checks; one package at a time, as servers of three are many on a small machine.
processes:
	conformance/images/build --binaries
	CLUSTERCHANNEL_SERVERS=process $(GO) test $(TESTFLAGS) -short -p 1 -timeout 10m -run Conformance \
		$$(grep -rl --include='*_test.go' conformance/servers tests | xargs -r -n 1 dirname | sort -u | sed 's,^,./,')

# Under the race detector, which needs a C compiler; without the slow fault checks.
race:
	$(GO) test $(TESTFLAGS) -race -short -timeout 30m $(PACKAGES)

lint:
	@unformatted="$$(gofmt -l .)"; test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) tool actionlint .github/workflows/*.yml examples/*/.github/workflows/*.yml
	cd $(CONSUMER) && $(GO) vet ./...
	cd examples/postgres && $(GO) vet ./...

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
