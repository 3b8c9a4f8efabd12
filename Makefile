# Every target needs only Go, gcc, make and git, but for two: vectors needs the conformance data,
# and cut root and /dev/net/tun.
.DEFAULT_GOAL := help

GO ?= go
export CGO_ENABLED ?= 0
SOURCES := $(shell git ls-files '*.go' go.mod go.sum 2>/dev/null)

.PHONY: help build run test race lint vectors bench limits fuzz fuzz-consensus sim sim-severe sim-night twins adversaries sim-twice kill cut lag bugs clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

build: bin/tutti ## build bin/tutti

bin/tutti: $(SOURCES)
	$(GO) build -trimpath -o $@ ./cmd/tutti

run: build ## run a devnet with load and a live display; Ctrl-C stops it
	bin/tutti devnet --reset --load 200

test: ## run all tests
	$(GO) test -timeout 10m ./...
	$(GO) test -tags planted -run '^(TestFaultyBank|TestPlanted)$$' ./cmd/tutti ./sim

race: ## run the tests of what is concurrent under the race detector
	CGO_ENABLED=1 $(GO) test -race -short -timeout 15m ./live/... ./rpc/... ./bank/... ./cmd/...

lint: ## vet, gofumpt, staticcheck, go mod verify
	$(GO) vet ./...
	@out=$$($(GO) tool gofumpt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofumpt: $$out"; exit 1; }
	$(GO) tool staticcheck ./...
	$(GO) mod verify

vectors: ## check the conformance data in $TUTTI_VECTORS
	@test -n "$$TUTTI_VECTORS" || { echo "TUTTI_VECTORS is not set: it names the folder with the conformance data (docs/vectors.md)"; exit 1; }
	@test -d "$$TUTTI_VECTORS" || { echo "TUTTI_VECTORS is $$TUTTI_VECTORS, which is no folder"; exit 1; }
	@mkdir -p bin; $(GO) test -count=1 -timeout 15m -run '^TestVectors' -v ./... > bin/vectors.log 2>&1; status=$$?; \
	grep -E '^vectors: |^\s*--- (FAIL|SKIP)|^FAIL|panic:' bin/vectors.log; \
	if grep -q -- '--- SKIP' bin/vectors.log; then echo "vectors: skipped tests"; exit 1; fi; exit $$status

bench: ## run the benchmarks; writes benchstat text to bin/bench.txt
	@mkdir -p bin
	$(GO) test -run '^$$' -bench . -benchmem -count 5 ./... | tee bin/bench.txt

LIMITED = 'ParseTransfer|MessageHash|VerifyBatch|Advance|VerifySlot|^BenchmarkShred$$|Check|Proofs|LtHashUpdate|Sequence|Save'
limits: ## print what each stage costs beside what it must cost at least
	@mkdir -p bin
	$(GO) test -run '^$$' -bench $(LIMITED) -benchtime 0.3s -count 3 ./ledger/... ./poh ./shred ./bank ./live/store > bin/limits.txt
	@$(GO) run ./internal/limits < bin/limits.txt

FUZZTIME ?= 10s
fuzz: ## run every fuzz target for $FUZZTIME
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

# An input of FUZZ_DECODERS is read 16 times, changed a little: their body is Decode of
# internal/testkit. One of FUZZ_BLOCKS is a block, one of FUZZ_ASSEMBLY a script of many steps.
FUZZ_EXECS ?= 10000000
FUZZ_DECODERS = ledger:FuzzTransaction ledger:FuzzVote ledger:FuzzEntries ledger:FuzzBatch ledger:FuzzMarkerPayloads ledger:FuzzTransactionError ledger:FuzzReport \
	shred:FuzzParse consensus:FuzzTower consensus:FuzzBallots node:FuzzMessage node:FuzzRootState node:FuzzHalt repair:FuzzRequest repair:FuzzResponse \
	cluster:FuzzParseGossip cluster:FuzzContact cluster:FuzzParseRestart live/store:FuzzParse
FUZZ_BLOCKS = validator:FuzzUserBlock validator:FuzzProgress
FUZZ_ASSEMBLY = shred:FuzzAssemble turbine:FuzzCollectorModel
define FUZZ
mkdir -p bin; fuzz() { \
  $(GO) test -run '^$$' -fuzz "^$${1#*:}\$$" -fuzztime "$$2"x -fuzzminimizetime 10x -parallel 2 "./$${1%:*}" > bin/fuzz.log 2>&1 || { cat bin/fuzz.log; exit 1; }; \
  echo "$$1: no crasher; inputs: $$(grep -o 'execs: [0-9]*' bin/fuzz.log | tail -1 | cut -c8-)$$3"; }
endef
fuzz-consensus: ## run each decoder of consensus $FUZZ_EXECS times under the fuzzing engine, and the assembly of sets
	@$(FUZZ); for t in $(FUZZ_DECODERS); do fuzz $$t $$(($(FUZZ_EXECS) / 16)) ", each read 16 times"; done; \
	for t in $(FUZZ_BLOCKS); do fuzz $$t $(FUZZ_EXECS); done; \
	for t in $(FUZZ_ASSEMBLY); do fuzz $$t $$(($(FUZZ_EXECS) / 100)); done

sim: build ## run 100 seeds of 10 validators and 200 slots with faults
	bin/tutti sim --seeds 0..99 --faults --validators 10 --slots 200 --jobs 2

sim-severe: build ## the same with clocks seconds off, a loss of 30 %, partitions of up to a minute: only safety is judged
	bin/tutti sim --seeds 0..19 --faults --severe --validators 10 --slots 200 --jobs 2

SEEDS ?= 1000..1999
sim-night: build ## the same with the seeds $SEEDS, A..B
	bin/tutti sim --seeds $(SEEDS) --faults --validators 10 --slots 200 --jobs 2

# Of 5000 scenarios one in 16 has roots; each has four or five blocks that are signed twice.
twins: build ## run 5000 twins scenarios; they must have roots and proofs enough to mean something
	@mkdir -p bin
	GOGC=400 bin/tutti sim --scenario twins --seeds 0..4999 --jobs 2 > bin/twins.txt; status=$$?; \
	  grep -v '^seed [0-9]* Pass' bin/twins.txt; exit $$status
	@awk '/^roots in / { roots = $$3; parted = $$8 } /^[0-9]+ blocks signed twice/ { proven = $$7 } \
	  END { if (roots < 200 || parted < 100 || proven < 10000) { print "twins: too few roots or proofs"; exit 1 } }' bin/twins.txt

adversaries: build ## show what dishonest nodes cost: each kind, 1000 slots of one, 10 000 forged sets, 50 seeds
	bin/tutti sim forgeries
	bin/tutti sim adversaries
	bin/tutti sim feed-leader
	bin/tutti sim --seeds 0..49 --adversaries --faults --validators 10 --slots 200 --jobs 2

sim-twice: build ## run 50 validators for 500 slots twice and compare the traces
	@mkdir -p bin
	bin/tutti sim --validators 50 --slots 500 --seed 7 > bin/sim-1.txt || { cat bin/sim-1.txt; exit 1; }
	bin/tutti sim --validators 50 --slots 500 --seed 7 > bin/sim-2.txt || { cat bin/sim-2.txt; exit 1; }
	@cat bin/sim-1.txt; grep -q '^trace [0-9a-f]' bin/sim-1.txt
	@test "$$(grep ^trace bin/sim-1.txt)" = "$$(grep ^trace bin/sim-2.txt)" || { echo "the traces differ"; exit 1; }

KILLS ?= 50
FAULTS = bin/tutti devnet faults --reset --ledger devnet-ledger $(if $(SEED),--seed $(SEED))
# Of ten: three turns in a row of the one that is down take 4.8 s, which is rarer among many.
kill: build ## kill validators of a devnet $KILLS times and check all that they say; SEED=n again
	$(FAULTS) --validators 10 --load 100 --kill $(KILLS) --pause 3 --kill-two 2 --kill-all 2
	$(FAULTS) --kill 2 --control

CUT ?= 60s
cut: build ## cut 3 validators of 10 off for $CUT and see them come back; needs root, else it is skipped
	@$(FAULTS) --validators 10 --load 20 --cut 3 --for $(CUT); status=$$?; \
	if [ $$status = 4 ]; then echo "cut: skipped"; status=0; fi; exit $$status

bugs: ## plant bugs, each in a run of its own, and see which test and which promise find each
	$(GO) run ./internal/planted/hunt

SLOW ?= 5m
lag: ## slow all executors of a devnet down for $SLOW and measure what that does to votes, confirmations and memory
	$(GO) build -trimpath -tags planted -o bin/tutti-planted ./cmd/tutti
	bin/tutti-planted devnet faults --reset --ledger devnet-ledger --load 400 --max-cost-per-slot 300000 --slow-executors 10 --for $(SLOW)

clean: ## remove what was built, and the devnet's ledgers
	rm -rf bin devnet-ledger
