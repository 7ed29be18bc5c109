package node

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/farewell-node/farewell/streams/identity"
)

func TestTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	tokens := make([]string, 16)
	var race sync.WaitGroup
	for i := range tokens {
		race.Go(func() {
			var err error
			if tokens[i], err = loadOrCreateToken(path); err != nil {
				t.Error(err)
			}
		})
	}
	race.Wait()
	for _, token := range tokens {
		if again, err := LoadToken(path); err != nil || again != token || token == "" {
			t.Errorf("got %q, the file has %q, %v", token, again, err)
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := loadOrCreateToken(path); !errors.Is(err, identity.ErrTooOpen) {
		t.Error(err)
	}
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("guess me\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadOrCreateToken(short); err == nil {
		t.Error("a token of 8 characters was accepted")
	}
	if _, err := loadOrCreateToken(filepath.Join(t.TempDir(), "no", "token")); err == nil {
		t.Error("a file in no folder was made")
	}
	if token, err := loadOrCreateToken(""); token != "" || err != nil {
		t.Errorf("without a file: %q, %v", token, err)
	}
}
