package identity_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/farewell-node/farewell/streams/identity"
)

// childKeyFile names the variable that turns this binary into a process that loads or creates a key and prints it.
const childKeyFile = "FAREWELL_TEST_KEY_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childKeyFile); path != "" {
		id, err := identity.LoadOrCreate(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Print(id.PublicKey())
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
