//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"
)

// become replaces this process by another program: signals, terminal and exit code
// are its own. It returns only if that fails.
func become(_ *cobra.Command, path string, args []string) error {
	err := syscall.Exec(path, append([]string{fleetProgram}, args...), os.Environ())
	return fmt.Errorf("cannot run %s: %w", path, err)
}
