package identity_test

import (
	"fmt"
	"io"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/farewell-node/farewell/streams/identity"
)

// childKeyFile names the variable that turns this binary into a process that loads or creates a key and prints it;
// childLock one that locks the key file, says so, and ends with its stdin.
const (
	childKeyFile = "FAREWELL_TEST_KEY_FILE"
	childLock    = "FAREWELL_TEST_LOCK"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childKeyFile); path != "" {
		id, err := identity.LoadOrCreate(path)
		exitOn(err)
		fmt.Print(id.PublicKey())
		os.Exit(0)
	}
	if path := os.Getenv(childLock); path != "" {
		lock, err := identity.LockKeyFile(path)
		exitOn(err)
		fmt.Println("locked")
		_, _ = io.Copy(io.Discard, os.Stdin)
		lock.Release()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
