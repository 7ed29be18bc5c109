package main

import (
	"strings"
	"testing"

	"github.com/farewell-node/farewell/node/internal/cli/clitest"
)

//go:generate env MAN=1 go test -count=1 -run ^TestManPages$ .

// The man pages are those of the commands: if this fails, run go generate here, or make docs.
func TestManPages(t *testing.T) {
	clitest.ManPages(t, newRoot(), "../../../docs/man", func(page string) bool { return strings.HasPrefix(page, "farewell-fleet") })
}
