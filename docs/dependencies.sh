#!/bin/bash
# What it costs a program to import packages of this project: the figures of
# dependencies.md. Usage: docs/dependencies.sh [checkout]   (default: this one)
set -euo pipefail
checkout=$(cd "${1:-$(dirname "$0")/..}" && pwd)
module=github.com/farewell-node/farewell
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export CGO_ENABLED=0 GOFLAGS=-mod=mod GOWORK=off

# consumer NAME PACKAGE... makes a module whose program imports the packages.
consumer() {
	local name=$1
	shift
	mkdir "$dir/$name" && cd "$dir/$name"
	go mod init "example.com/$name" 2>/dev/null
	go mod edit -go=1.26.0
	{
		echo 'package main'
		printf 'import _ "%s"\n' "$@"
		echo 'func main() {}'
	} >main.go
}

# with_farewell PACKAGE NAME... adds the checkout and a use of these names, so that they are linked.
with_farewell() {
	local package=$1
	shift
	go mod edit -require=$module@v0.0.0 -replace=$module="$checkout"
	[ ! -f "$checkout/$package/go.mod" ] ||
		go mod edit -require="$module/$package@v0.0.0" -replace="$module/$package=$checkout/$package"
	{
		printf 'package main\nimport (\n"fmt"\n"os"\n"%s"\n)\n' "$module/$package"
		echo 'func init() { if len(os.Args) > 9 {'
		printf 'fmt.Printf("%%p", %s)\n' "${@/#/${package##*/}.}"
		echo '} }'
	} >farewell.go
	tidy
}

tidy() { go mod tidy 2>tidy.log || { cat tidy.log >&2; exit 1; }; }

requires() { go mod edit -json | grep -c '"Version": ' || true; }

row() { # name
	tidy && go build -trimpath -ldflags='-s -w' -o program .
	printf '%-28s %8d %8d %10d\n' "$1" "$(requires)" "$(wc -l <go.sum)" "$(stat -c %s program)"
}

touch "$dir/go.sum"
printf '%-28s %8s %8s %10s\n' 'a fresh program imports' go.mod go.sum bytes
consumer nothing fmt && touch go.sum && row nothing
# use PACKAGE NAME...
use() {
	[ -d "$checkout/$1" ] || return 0
	consumer "fresh-${1//\//-}" fmt
	with_farewell "$@"
	row "$1"
}
use fsm New
use fsm/fsmhttp Serve Readiness Drain
use fsm/systemd New Alarm
use fsm/fsmotel Register
use fsm/remote Join
use node Start

old=(
	github.com/coreos/go-systemd/v22@v22.3.2 github.com/godbus/dbus/v5@v5.0.6
	go.opentelemetry.io/otel@v1.30.0 go.opentelemetry.io/otel/trace@v1.30.0
	github.com/prometheus/client_golang@v1.19.0
	golang.org/x/sys@v0.20.0 golang.org/x/sync@v0.7.0 golang.org/x/time@v0.5.0
)
echo
echo 'an old program, before and after it imports fsm:'
consumer old github.com/coreos/go-systemd/v22/daemon github.com/godbus/dbus/v5 go.opentelemetry.io/otel \
	go.opentelemetry.io/otel/trace github.com/prometheus/client_golang/prometheus \
	golang.org/x/sys/execabs golang.org/x/sync/errgroup golang.org/x/time/rate
go mod edit "${old[@]/#/-require=}"
tidy
row 'before'
go list -m -f '{{.Path}} {{.Version}}' all >before
with_farewell fsm New
row 'after'
go list -m -f '{{.Path}} {{.Version}}' all >after
echo 'versions that it is made to take:'
join <(sort before) <(sort after) | awk '$2 != $3 { print "  " $1, $2, "->", $3 }'
