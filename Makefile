# The targets that people and CI use. Each is one idea.
GO        ?= go
FUZZTIME  ?= 10s
BENCHTIME ?= 1s
TESTFLAGS ?=
# The packages of all modules; ./... would be those of one alone.
PACKAGES  ?= work
# The modules, as go.work lists them.
MODULES   ?= $(shell sed -n 's/^\t\(\.[^ ]*\)$$/\1/p' go.work)

.PHONY: build servers test processes race whole raced lint format tidy vet static modules fuzz bench demo simulate sizes mutants mutation nemesis compat steady release ci

build:
	$(GO) build work

# What the tests need beyond Go: a real Alertmanager, and the backends' servers,
# as programs and, if a container engine answers, as images. Some tests run
# processes beside containers, even if the images were pulled.
servers:
	.ci/install
	conformance/images/build
	conformance/images/build --binaries

# How many packages, and tests of one, run side by side. Most of their time they wait for
# servers and periods, so twice as many as processors are no load.
WIDTH     ?= 4

# Everything, faults included. Vet is a part of lint. What takes longest begins first, so
# that it does not run alone in the end.
test: servers
	$(GO) test $(TESTFLAGS) -vet=off -p $(WIDTH) -parallel $(WIDTH) -timeout 30m ./backends/memberlist ./tests/... $(PACKAGES)

# What containers do not show: that the suite passes on local processes, and that it does
# on the oldest version of each client library that its driver allows, as go.work would
# not have it. Without the slow fault checks.
processes:
	conformance/images/build --binaries
	cd tests && GOWORK=off CLUSTERCHANNEL_SERVERS=process $(GO) test $(TESTFLAGS) -short -timeout 10m -run '^TestConformance$$' $(SUITES)

# Under the race detector, which needs a C compiler: the modules that get a version, without
# the slow fault checks, what is one goroutine, and the tests that run programs, which it does
# not see. A driver whose suite needs a server runs that once, with the basic checks; so does the
# memory backend, whose variants and mutants are of the suite and not of the library. What
# fails in the first does not hide the others.
SUITES  := ./redis ./etcd ./nats
SERIAL  := backend/internal/codec backend/internal/core backend/internal/core/sim backend/internal/reconcile internal/wire
SUITE   := clusterchannel/conformance
TAGGED  := $(shell sed -n '/^use/,/^$$/{s/^\t\(\.[^ ]*\)$$/\1/p;/^$$/q;}' go.work)
RACED    = $(filter-out $(addprefix %/,$(SERIAL) internal/house $(SUITE)),$(shell $(GO) list $(addsuffix /...,$(TAGGED))))
race:
	@failed=0; \
	$(GO) test $(TESTFLAGS) -race -short -vet=off -p $(WIDTH) -parallel $(WIDTH) -timeout 30m $(RACED) || failed=1; \
	$(GO) test $(TESTFLAGS) -race -short -vet=off -timeout 30m -run '^TestMemory$$' ./conformance || failed=1; \
	cd tests && $(GO) test $(TESTFLAGS) -race -short -vet=off -timeout 30m -run '^TestConformance$$' $(SUITES) || failed=1; \
	exit $$failed

# What race runs tests of, for who compiles them first.
raced:
	@echo $(RACED) ./conformance $(SUITES:./%=./tests/%)

# What each change runs a part of, all of it: each module in its own versions, with the race
# detector, and on processes.
# And gossip with states of 50 MiB and a hundred leaves of a real Alertmanager, and the
# image's program for each architecture.
whole: modules
	conformance/images/build --binaries
	$(GO) test $(TESTFLAGS) -race -vet=off -p 1 -timeout 90m $(PACKAGES)
	cd tests && CLUSTERCHANNEL_SERVERS=process $(GO) test $(TESTFLAGS) -timeout 60m $(SUITES)
	cd tests && $(GO) test $(TESTFLAGS) -timeout 30m -run 'TestManyJoinOneSeed|TestHealMovesStatesOnce|TestRealAlertmanagerLeaves|TestManyFormOnABusyMachine' ./memberlist -large -leaves 50
	$(GO) test $(TESTFLAGS) -timeout 30m -run '^TestStaticProgram$$' ./deploy -architectures

lint: format tidy vet static

format:
	@unformatted="$$(gofmt -l .)"; test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }

# Two side by side, since what reads a module is one thread.
EACH = printf '%s\n' $(MODULES) | GOWORK=off xargs -n 1 -P 2 sh -c
tidy:
	@$(EACH) 'echo "module $$0"; cd "$$0" && $(GO) mod tidy -diff'

vet:
	$(GO) vet $(PACKAGES)

# Each module by itself, in the versions that it requires, as its users see it.
modules:
	@$(EACH) 'echo "module $$0"; cd "$$0" && packages="$$($(GO) list ./...)" && if [ -n "$$packages" ]; then $(GO) vet ./...; fi'

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
# on. A failure is printed as a file for testdata/found. CI plays 14,000, which take a
# minute or two on two processors; others, and the other targets here, are run at night.
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
	$(GO) test -v -count=1 -timeout 0 -run '^TestMutants$$' $(SIMULATION)

# Each operator of the core's packages changed, one at a time: their tests, or the
# scenarios of the simulator, notice 90 % at least, and what they do not is listed. It takes
# ten minutes on two processors; FILES is a pattern of what is changed: a file and a
# function, such as '^stream.go claims'.
FILES ?= .
mutation:
	$(GO) test -v -count=1 -timeout 0 -run '^TestGenerated$$' $(SIMULATION) -generated '$(FILES)'

# Clusters of one backend broken at random on a real server, for so long, from SEED on.
# Each change is tried for some seconds by the tests.
NEMESIS ?= memory
NEMESIS_PACKAGE = $(if $(filter memory,$(NEMESIS)),./conformance/nemesis,$(if $(filter memberlist,$(NEMESIS)),./backends/memberlist,./tests/$(NEMESIS)))
nemesis:
	CLUSTERCHANNEL_NEMESIS_FOR=$(or $(FOR),10m) CLUSTERCHANNEL_NEMESIS_SEED=$(SEED) \
		$(GO) test -v -count=1 -timeout 0 -run '^TestNemesis' $(NEMESIS_PACKAGE)

demo:
	$(GO) run ./cmd/clusterchannel demo

# A cluster of nodes of this tree and of the commit BASE.
compat:
	.ci/compat "$(BASE)"

# The whole suite of one backend ROUNDS times, with LOOPS busy loops beside it: steady is
# what passes each time.
STEADY ?= memory
ROUNDS ?= 20
LOOPS  ?= 2
steady:
	.ci/steady $(STEADY) $(ROUNDS) $(LOOPS)

# The commit and the tags of VERSION; with DRY=1 they are shown and tried, and nothing
# is kept.
release:
	.ci/release "$(VERSION)" $(if $(DRY),--dry)

ci:
	.ci/run
