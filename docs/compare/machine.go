package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/farewell-node/farewell/docs/compare/peers"
)

// writeMachine says on what, and with which releases, it is measured. It names
// nobody's machine.
func writeMachine(w io.Writer) {
	version, _, _ := strings.Cut(runtime.Version(), " ")
	fmt.Fprintf(w, "Measured on %d cores, %s, %s; load average at the beginning: %s.\n", runtime.NumCPU(), runtime.GOOS, version, loadAverage())
	var all []string
	for _, peer := range peers.All {
		if v := peer.Version(); v != "" {
			all = append(all, peer.Name+" "+v)
		}
	}
	for _, module := range []string{
		"github.com/hashicorp/memberlist", "github.com/hashicorp/serf", "github.com/gorilla/websocket", "github.com/coder/websocket",
	} {
		all = append(all, strings.TrimPrefix(module, "github.com/")+" "+peers.Peer{Module: module}.Version())
	}
	fmt.Fprintf(w, "This project as it stands here; %s.\n\n", strings.Join(all, ", "))
}

var begun = time.Now()

// progress tells whoever waits what is being measured, and since when.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%4.0f s  "+format+"\n", append([]any{time.Since(begun).Seconds()}, args...)...)
}

// loadAverage is that of the last minute: 2.00 keeps two cores busy.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	first, _, found := strings.Cut(string(text), " ")
	if err != nil || !found {
		return "unknown"
	}
	return first
}

// The tables stand between these in the README.
const (
	measuredBegin = "<!-- measured: what `make compare` printed -->\n"
	measuredEnd   = "<!-- end of what was measured -->\n"
)

func updateReadme(file string, tables []byte) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	from, to := bytes.Index(text, []byte(measuredBegin))+len(measuredBegin), bytes.Index(text, []byte(measuredEnd))
	if from < len(measuredBegin) || to < from {
		return errors.New(file + " has no place for the tables")
	}
	return os.WriteFile(file, bytes.Join([][]byte{text[:from], tables, text[to:]}, nil), 0o644)
}
