# `make help` lists the targets.
SHELL := /bin/bash -o pipefail
export CGO_ENABLED ?= 0

MODULES  := proto pkg services tests
SERVICES := smtp pop3 imap storage quota directory autoconfig yubin
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Without x/net/trace, which nobody asks, and whose templates keep every method of every type in the binaries. tests/harness and tools/kube build with them, too.
TAGS     := grpcnotrace
LDFLAGS  := -s -w -X github.com/yubin-mail/yubin/pkg/service.version=$(VERSION)
DATA     ?= ./data
PACKAGES := $(foreach m,$(MODULES),./$(m)/...)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: run
run: build ## Build and start the whole system on the embedded stores, with a demo account (DATA=./data)
	@exec bin/yubin serve --demo --data-dir $(DATA)

.PHONY: build
build: ## Build every binary into bin/
	@mkdir -p bin
	go build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o bin/ $(foreach s,$(SERVICES),./services/$(s))

.PHONY: images
REGISTRY  ?=
PLATFORMS ?= linux/amd64,linux/arm64
images: .cache/images ## Make the container images, no Docker needed (REGISTRY=registry.example.com/mail PUSH=1 PLATFORMS=linux/amd64)
	.cache/images -root . -out bin/images -registry '$(REGISTRY)' -platforms '$(PLATFORMS)' -version '$(VERSION)' -tags '$(TAGS)' -ldflags '$(LDFLAGS)' \
		-revision '$(shell git rev-parse HEAD)' -created '$(shell git log -1 --format=%ct)' $(if $(PUSH),-push) $(if $(INSECURE),-insecure)

.cache/images: $(wildcard tools/kube/images/*.go) tools/kube/go.mod
	@mkdir -p .cache && cd tools/kube && GOWORK=off go build -o ../../.cache/images ./images

.cache/kube-score: tools/kubescore/go.mod
	@mkdir -p .cache && cd tools/kubescore && GOWORK=off go build -o ../../.cache/kube-score github.com/zegl/kube-score/cmd/kube-score

.cache/helm: tools/kube/go.mod
	@mkdir -p .cache && cd tools/kube && GOWORK=off go build -o ../../.cache/helm helm.sh/helm/v4/cmd/helm

.PHONY: test
test: test-unit test-e2e ## Run every test that needs no cluster

.PHONY: test-setup
test-setup: ## Install the mail clients and the compiler that the tests use (Debian, Ubuntu)
	@tests/setup/install

.PHONY: test-unit
test-unit: test-setup ## Run the tests of the packages, with the race detector
	CGO_ENABLED=1 go test -race -timeout 30m ./proto/... ./pkg/... ./services/...

.PHONY: test-e2e
test-e2e: test-setup ## Run the end-to-end tests with real clients
	@# Not from the cache: these tests build and run the binaries, which go test does not see.
	@# Tests that cut connections run without the race detector, which sees the servers no more than it does here: imapclient races when its connection breaks in a literal.
	CGO_ENABLED=1 go test -race -count=1 -timeout 40m $$(go list ./tests/... | grep -vE '/tests/(chaos|crash)$$')
	go test -count=1 -p 1 -timeout 20m ./tests/crash ./tests/chaos

.PHONY: test-stress
STRESS ?=
test-stress: ## Let 50 IMAP clients do everything at once for two minutes (STRESS='-stress.shape production -seed 7')
	go test -count=1 -v -timeout 30m -run '^TestManyClientsDoEverythingAtOnce$$' ./tests/imapmodel -stress.duration 2m $(STRESS)

.PHONY: lint
lint: lint-go lint-proto lint-mod lint-dashboards ## Check style, protos, module files, generated code and dashboards

.PHONY: lint-go
lint-go:
	@mkdir -p .cache && cd tools && GOWORK=off go build -o ../.cache/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	.cache/golangci-lint run $(PACKAGES)
	cd tools/dashboards && GOWORK=off ../../.cache/golangci-lint run ./...
	cd tools/kube && GOWORK=off ../../.cache/golangci-lint run ./...

.PHONY: lint-proto
lint-proto: .cache/buf
	cd proto && ../.cache/buf lint && ../.cache/buf format --diff --exit-code
	@# Breaking changes are measured against what is on main, once it has protos.
	@if git rev-parse -q --verify origin/main:proto/buf.yaml >/dev/null; then \
		.cache/buf breaking proto --against '.git#ref=origin/main,subdir=proto'; fi

.PHONY: lint-mod
lint-mod:
	@for m in $(MODULES) tools/dashboards tools/kube tools/kubescore; do (cd $$m && GOWORK=off go mod tidy -diff) || exit 1; done

.PHONY: lint-dashboards
lint-dashboards: ## Check the dashboards: what Grafana's linter asks for, and that every query can be parsed
	cd tools/dashboards && GOWORK=off go test ./...

.cache/buf: tools/go.mod
	@mkdir -p .cache && cd tools && GOWORK=off go build -o ../.cache/buf github.com/bufbuild/buf/cmd/buf

.PHONY: generate
generate: generate-chart .cache/buf ## Generate code from the protos, and the dashboards; the chart gets those and the rules of Prometheus
	@cd tools && GOWORK=off go build -o ../.cache/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	cd proto && PATH=$(CURDIR)/.cache:$$PATH ../.cache/buf generate
	cd tools/dashboards && GOWORK=off go run . -root ../..

.PHONY: lint-chart
# What kube-score wants and the chart leaves to the operator: by default an image is not asked for when a pod starts again, so that the
# registry may be away; policies and budgets can be switched off, as one of the sets of values does.
SCORED := image.pullPolicy=Always,networkPolicy.enabled=true,defaults.pdb.enabled=true
lint-chart: .cache/helm .cache/kube-score ## Check the chart with several sets of values: helm lint, the API's types, settings, kube-score; and compose.yaml
	cd tools/kube && GOWORK=off go run ./values -check -chart ../../charts/yubin
	@for values in charts/yubin/values.yaml charts/yubin/values-production.yaml charts/yubin/ci/*.yaml; do \
		.cache/helm lint --strict --quiet charts/yubin -f $$values || exit 1; \
		.cache/helm template mail charts/yubin --namespace post --kube-version 1.34.0 -f $$values --set '$(SCORED)' >.cache/scored.yaml || exit 1; \
		.cache/kube-score score .cache/scored.yaml --kubernetes-version v1.34 --output-format ci >.cache/score || { grep CRITICAL .cache/score; exit 1; }; \
	done
	cd tools/kube && HELM=$(CURDIR)/.cache/helm GOWORK=off go test -count=1 ./...

.PHONY: pictures
pictures: test-setup ## Draw the dashboards for the README, with the data of a run of their test
	go test -count=1 -timeout 20m -run '^TestEveryQueryHasAnAnswer$$' ./tests/observe -args -pictures $(CURDIR)/docs/images

.PHONY: generate-metrics
generate-metrics: ## Write docs/metrics.md from what a running system tells
	go test ./tests/metrics -run TestMetrics -update

.PHONY: generate-chart
generate-chart: ## Write the schema and the table of the chart's values
	cd tools/kube && GOWORK=off go run ./values -chart ../../charts/yubin

.PHONY: test-kube
KUBE ?=
test-kube: .cache/helm ## Install the chart on the cluster of KUBECONFIG and use it (REGISTRY=… with the images of VERSION=…; KUBE='-kube.production=false')
	HELM=$(CURDIR)/.cache/helm go test -tags kube -count=1 -v -timeout 60m ./tests/kube -args -kube.registry '$(REGISTRY)' -kube.tag '$(VERSION)' $(KUBE)

.PHONY: fuzz
FUZZTIME ?= 60s
fuzz: ## Run each fuzz target for FUZZTIME (60s)
	@tests/setup/fuzz $(FUZZTIME)

.PHONY: bench
BENCH ?=
bench: test-setup ## Compare with Postfix and Dovecot (BENCH='-rounds 5 -workloads imap' or BENCH='-duration 5m'), then the benchmarks
	@tests/setup/bench
	go test -count=1 -timeout 0 -v -run '^TestCompare$$' ./tests/bench -full $(BENCH)
	go test -run '^$$' -bench . -benchtime 3s ./tests/bench

.PHONY: tidy
tidy: ## Tidy every module and the workspace
	@for m in $(MODULES) tools tools/kube tools/kubescore tools/dashboards; do (cd $$m && GOWORK=off go mod tidy) || exit 1; done

.PHONY: clean
clean: ## Remove what was built (not the data)
	rm -rf bin .cache
