# Two commands matter: make run, make test. Developers' tools run by
# "go run pkg@version", so that they stay out of go.mod.
GOFUMPT     = go run mvdan.cc/gofumpt@v0.12.0
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
BENCHSTAT   = go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
CYCLONEDX   = go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
KUBEVALID   = go run sigs.k8s.io/kubectl-validate@v0.0.4
FUZZTIME    = 20s
RELEASES    = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
MACHINES    = amd64 arm64

# MODULES are the nested ones: what they need is no business of the root's users.
MODULES = fsm/fsmotel fsm/remote node/cmd/farewell-fleet docs/kubernetes docs/compare docs/recipes

# PROGRAMS are what is built and released, each in the folder of its name under node/cmd.
PROGRAMS = farewell farewell-fleet

.PHONY: help run fleet build cross test soak lint fuzz docs bench compare release release-check compiler

help: ## explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## start five real nodes here, shut one down over its UI, show what its neighbors saw
	@bin/farewell network

fleet: build ## twelve real services over NATS: restarted three at a time under load, then taken down as one graph
	@bin/farewell fleet demo

build: ## build the commands, bin/farewell and bin/farewell-fleet
	@for program in $(PROGRAMS); do go -C node/cmd/$$program build -o "$(CURDIR)/bin/$$program" . || exit 1; done

cross: ## build the commands for Linux, macOS and Windows, and throw them away
	@for system in linux darwin windows; do for machine in $(MACHINES); do \
		echo "$$system/$$machine"; \
		for program in $(PROGRAMS); do \
			CGO_ENABLED=0 GOOS=$$system GOARCH=$$machine go -C node/cmd/$$program build -o /dev/null . || exit 1; \
		done; \
	done; done

test: compiler ## every test, with the race detector; the simulated networks again without it, ten times as many
	go test -race -timeout 20m ./...
	go test -timeout 10m ./neighborhood/sim
	@for module in $(MODULES); do (set -x; go -C $$module test -race -timeout 10m ./...) || exit 1; done
	@command -v chromium >/dev/null 2>&1 || echo "The page was NOT tested in a browser: there is no chromium here."
	@test -x /lib/systemd/systemd -a "$$(id -u)" = 0 || echo "The unit file was NOT run under systemd: that needs systemd, and root."
	@command -v nginx >/dev/null 2>&1 || echo "The UI was NOT tested behind a proxy: there is no nginx here."
	@command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
		echo "The recipes were NOT tested with a database: there is no PostgreSQL here."

# The thousands of simulated instances in a nested module are too many for the race detector; make test has fewer, with it.
soak: compiler ## what takes minutes of real time, on real processes; ends by itself within 10 minutes
	@race=-race; for module in . $(MODULES); do \
		dirs="$$(go -C $$module list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./... | while read -r dir; do \
			if grep -q '^func TestSoak' "$$dir"/*_test.go; then echo "$$dir"; fi; done)" || exit 1; \
		test -z "$$dirs" || (set -x; FAREWELL_SOAK=1 go -C $$module test $$race -count 1 -p 16 -timeout 9m -v -run '^TestSoak' $$dirs) || exit 1; \
		race=; \
	done

lint: ## formatting, go vet (the command for Windows, everything for macOS), staticcheck, and the manifests' schemas
	@out="$$($(GOFUMPT) -l .)" && test -z "$$out" || { echo "gofumpt would change:" $$out; exit 1; }
	go vet ./...
	GOOS=windows go vet ./fsm/...
	GOOS=windows go build ./...
	GOOS=darwin go vet ./...
	GOOS=windows go -C node/cmd/farewell-fleet build -o /dev/null ./...
	GOOS=darwin go -C node/cmd/farewell-fleet vet ./...
	$(STATICCHECK) ./...
	@for module in $(MODULES); do (set -x; cd $$module && go vet ./... && $(STATICCHECK) ./...) || exit 1; done
	$(KUBEVALID) docs/kubernetes/service.yaml docs/kubernetes/node.yaml

fuzz: ## fuzz every decoder, FUZZTIME (default 20s) each
	@for module in . $(MODULES); do go -C $$module list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./... || exit 1; done | while read -r dir; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$dir"/*_test.go); do \
			echo "$$target"; (cd "$$dir" && go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) .) || exit 1; \
		done; \
	done

docs: ## draw the diagrams, write the man pages and take the page's pictures (needs Graphviz, Chromium, npm; installs them)
	@$(call need,dot,graphviz) && $(call need,chromium,chromium) && $(call need,npm,npm)
	go generate ./fsm ./ui ./node/cmd/farewell
	go -C node/cmd/farewell-fleet generate . ./internal/page

bench: ## every benchmark, six times, with medians and ratios by benchstat
	go test -run '^$$' -bench . -benchmem -count 6 ./... | tee bench.out
	$(BENCHSTAT) bench.out

release: ## static, trimmed commands for RELEASES in bin/release, with checksums and an SBOM each
	@rm -rf bin/release && mkdir -p bin/release
	@version="$$(git describe --tags --always --dirty)" && for platform in $(RELEASES); do for program in $(PROGRAMS); do \
		export CGO_ENABLED=0 GOOS="$${platform%/*}" GOARCH="$${platform#*/}" && \
		name="$${program}_$${version}_$${GOOS}_$${GOARCH}" && \
		GOCACHE="$${RELEASE_CACHE:-$$(go env GOCACHE)}" go -C "node/cmd/$$program" build -trimpath -buildvcs=true -ldflags='-s -w -buildid=' \
			-o "$(CURDIR)/bin/release/$$name" . && \
		(unset GOOS GOARCH && $(CYCLONEDX) bin -json -std -noserial -notimestamp \
			-output "bin/release/$$name.cdx.json" "bin/release/$$name") || exit 1; \
	done; done
	@cd bin/release && sha256sum farewell* >SHA256SUMS && cat SHA256SUMS

# Two clones in two folders, the second with nothing cached, must come to the same bytes.
release-check: ## build a release twice, from two clones, and compare
	@set -e; dir="$$(mktemp -d)"; trap 'rm -rf "$$dir"' EXIT; \
	git clone -q . "$$dir/a" && git clone -q . "$$dir/b/deeper"; \
	$(MAKE) -s -C "$$dir/a" release RELEASES=linux/amd64; \
	RELEASE_CACHE="$$dir/cache" $(MAKE) -s -C "$$dir/b/deeper" release RELEASES=linux/amd64; \
	cmp "$$dir/a/bin/release/SHA256SUMS" "$$dir/b/deeper/bin/release/SHA256SUMS" && \
	echo "two builds of this commit are the same, byte for byte"

compare: ## measure this project beside its peers, and print the tables of docs/compare (5 minutes; of a calm machine)
	@go -C docs/compare run .

# need installs a Debian package if its command is missing.
need = { command -v $(1) >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq $(2); }; }

# The race detector needs cgo and a C compiler.
compiler:
	@command -v "$${CC:-cc}" >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || { \
		echo "installing a C compiler for the race detector"; \
		apt-get update -qq && apt-get install -y -qq gcc libc6-dev; }
