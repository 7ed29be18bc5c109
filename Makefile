# Two commands matter: make run, make test. Developers' tools run by
# "go run pkg@version", so that they stay out of go.mod.
GOFUMPT     = go run mvdan.cc/gofumpt@v0.12.0
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
BENCHSTAT   = go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
FUZZTIME    = 20s

# MODULES are the nested ones: what they need is no business of the root's users.
MODULES = fsm/remote

.PHONY: help run build test soak lint fuzz docs bench compiler

help: ## explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## start five real nodes here, shut one down over its UI, show what its neighbors saw
	@bin/farewell network

build: ## build the command, bin/farewell
	@go build -o bin/farewell ./node/cmd/farewell

test: compiler ## every test, with the race detector; the simulated networks again without it, ten times as many
	go test -race -timeout 20m ./...
	go test -timeout 10m ./neighborhood/sim
	@for module in $(MODULES); do (set -x; go -C $$module test -race -timeout 10m ./...) || exit 1; done
	@command -v chromium >/dev/null 2>&1 || echo "The page was NOT tested in a browser: there is no chromium here."

soak: compiler ## what takes minutes of real time, on real processes; ends by itself within 10 minutes
	FAREWELL_SOAK=1 go test -race -count 1 -p 16 -timeout 9m -v -run '^TestSoak' \
		$$(grep -rl --include='*_test.go' '^func TestSoak' . | xargs -n 1 dirname | sort -u)

lint: ## formatting, go vet (fsm for Windows, everything for macOS) and staticcheck
	@out="$$($(GOFUMPT) -l .)" && test -z "$$out" || { echo "gofumpt would change:" $$out; exit 1; }
	go vet ./...
	GOOS=windows go vet ./fsm/...
	GOOS=darwin go vet ./...
	$(STATICCHECK) ./...
	@for module in $(MODULES); do (set -x; cd $$module && go vet ./... && $(STATICCHECK) ./...) || exit 1; done

fuzz: ## fuzz every decoder, FUZZTIME (default 20s) each
	@for module in . $(MODULES); do go -C $$module list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./... || exit 1; done | while read -r dir; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$dir"/*_test.go); do \
			echo "$$target"; (cd "$$dir" && go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) .) || exit 1; \
		done; \
	done

docs: ## draw the diagrams from the table and take the page's pictures (needs Graphviz, Chromium, npm; installs them)
	@$(call need,dot,graphviz) && $(call need,chromium,chromium) && $(call need,npm,npm)
	go generate ./fsm ./ui

bench: ## every benchmark, six times, with medians and ratios by benchstat
	go test -run '^$$' -bench . -benchmem -count 6 ./... | tee bench.out
	$(BENCHSTAT) bench.out

# need installs a Debian package if its command is missing.
need = { command -v $(1) >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq $(2); }; }

# The race detector needs cgo and a C compiler.
compiler:
	@command -v "$${CC:-cc}" >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || { \
		echo "installing a C compiler for the race detector"; \
		apt-get update -qq && apt-get install -y -qq gcc libc6-dev; }
