package fsm

import (
	"context"
	"fmt"
	"testing"
)

// A start-up that passes on that Register refused it has come too late, and has not failed.
func TestStartUpThatComesTooLateToRegister(t *testing.T) {
	o, _ := orchestrator(t, Config{})
	begun := make(chan struct{})
	o.startUp(func(context.Context, *Orchestrator) error {
		<-begun
		if err := o.Register("db", returns(nil)); err != nil {
			return fmt.Errorf("start: %w", err)
		}
		return nil
	})
	o.Request(Command{Reason: "test"})
	close(begun)
	r, err := o.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Errorf("the report says: %v", err)
	}
}
