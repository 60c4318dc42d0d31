# What one can do here. Bare `make` prints the list.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -s -w -X main.version=$(VERSION)

# Packages in which goroutines meet: the race detector watches these.
RACE = ./internal/engine/... ./internal/kafka/... ./internal/memlog/... ./internal/broker/... ./internal/observe/... ./state/... ./cmd/...

.DEFAULT_GOAL := help
.PHONY: help build demo test test-fast test-race chaos soak bench lint lint-deploy fmt clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/streamctl, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/streamctl ./cmd/streamctl

demo: build ## run the main job on the embedded broker: what went in, what came out
	@bash examples/demo.sh bin/streamctl

# The fast packages come first. Those that kill, stop and delay whole processes have the
# machine to themselves, one after the other.
test: ## run every test, on the embedded broker and on real Kafka (needs Java and Maven for the latter)
	go test -timeout 20m $$(go list ./... | grep -v /testkit/)
	go test -timeout 30m -p 1 ./internal/testkit/...
	$(MAKE) test-race

test-fast: ## run the tests of one's own hands' work: no crash tests, no long ones
	go test -short $$(go list ./... | grep -v -e /crash -e /chaos)

test-race: ## run the packages with goroutines under the race detector
	go test -race -short -timeout 20m $(RACE)

SOAK ?= 10m

chaos: ## kill, stop, cut and delay processes, brokers and connections for SOAK=10m, at least 20 times per story; print what was checked
	@summary=$$(mktemp) && status=0; \
	STREAMCTL_SOAK=$(SOAK) STREAMCTL_CHAOS_SUMMARY=$$summary go test -count=1 -timeout 0 ./internal/testkit/chaos || status=$$?; \
	cat $$summary; rm -f $$summary; exit $$status

soak: ## the other long forms: kill for ten minutes, simulate 500 seeds, the join of 2 000 000 views
	STREAMCTL_SOAK=10m STREAMCTL_SEEDS=500 STREAMCTL_BIG=1 go test -count=1 -timeout 60m $$(go list ./internal/testkit/... | grep -v /chaos)

bench: ## measure against real Kafka and the embedded broker (see docs/performance.md)
	go run ./internal/bench

lint: ## format, vet, static analysis
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...

lint-deploy: ## check the systemd unit, the Kubernetes manifests and what the Helm chart renders
	@deploy/systemd/verify.sh
	cd deploy/check && go vet ./... && go test ./... && go run . ..

fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

clean: ## delete what was built and the embedded broker's data
	rm -rf bin .streamctl
