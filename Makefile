# The targets that people and CI use. Each is one idea.
GO        ?= go
FUZZTIME  ?= 10s
BENCHTIME ?= 1s
TESTFLAGS ?=
# The packages of all modules; ./... would be those of one alone.
PACKAGES  ?= work
# The modules, as go.work lists them.
MODULES   ?= $(shell sed -n 's/^\t\(\.[^ ]*\)$$/\1/p' go.work)

.PHONY: build servers test processes race lint format modules static fuzz bench demo simulate sizes mutants compat release ci

build:
	$(GO) build work

# What the tests need beyond Go: a real Alertmanager, and the backends' servers,
# as programs and, if a container engine answers, as images. Some tests run
# processes beside containers, even if the images were pulled.
servers:
	.ci/install
	conformance/images/build
	conformance/images/build --binaries

# Everything, faults included.
test: servers
	$(GO) test $(TESTFLAGS) -timeout 20m $(PACKAGES)

# The suite once more on local processes instead of containers, without the slow
# fault checks; one package at a time, since the servers of three are too many for a small machine.
# Without go.work each client library is of the oldest version that its driver allows.
processes:
	conformance/images/build --binaries
	cd tests && GOWORK=off CLUSTERCHANNEL_SERVERS=process $(GO) test $(TESTFLAGS) -short -p 1 -timeout 10m -run Conformance ./...

# Under the race detector, which needs a C compiler; without the slow fault checks.
race:
	$(GO) test $(TESTFLAGS) -race -short -timeout 30m $(PACKAGES)

lint: format modules static

format:
	@unformatted="$$(gofmt -l .)"; test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }

# Each module by itself, in the versions that it requires, as its users see it.
modules:
	@set -e; for module in $(MODULES); do \
		echo "module $$module"; \
		(cd $$module && export GOWORK=off && $(GO) mod tidy -diff && \
			packages="$$($(GO) list ./...)" && if [ -n "$$packages" ]; then $(GO) vet ./...; fi); \
	done

static:
	$(GO) tool staticcheck work
	cd tools && GOWORK=off $(GO) tool actionlint ../.github/workflows/*.yml ../examples/*/.github/workflows/*.yml

# Each fuzz test in turn, for FUZZTIME.
fuzz:
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do \
		sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$$file" | while read -r name; do \
			echo "$$(dirname "$$file") $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")"; \
		done; \
	done

bench:
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) work

# The protocol in virtual time: random schedules, so many or for so long, from SEED
# on. A failure is printed as a file for testdata/found. CI plays 10,000, which take a
# minute or two on two processors; others, and the last two targets, are run at night.
SIMULATION := ./backend/internal/core/sim
SEED       ?= 1
SCHEDULES  ?= 10000
FOR        ?=
simulate:
	$(GO) test -v -count=1 -timeout 0 -run '^TestSchedules$$' $(SIMULATION) -seed $(SEED) $(if $(FOR),-for $(FOR) -keepgoing,-schedules $(SCHEDULES))

sizes:
	$(GO) test -v -count=1 -timeout 0 -run '^TestSizes$$' $(SIMULATION) -large

# Faults put into the protocol, one at a time: each must be found.
mutants:
	$(GO) test -v -count=1 -timeout 0 -run '^TestMutants$$' $(SIMULATION) -mutants

demo:
	$(GO) run ./cmd/clusterchannel demo

# A cluster of nodes of this tree and of the commit BASE.
compat:
	.ci/compat "$(BASE)"

# The commit and the tags of VERSION; with DRY=1 they are shown and tried, and nothing
# is kept.
release:
	.ci/release "$(VERSION)" $(if $(DRY),--dry)

ci:
	.ci/run
