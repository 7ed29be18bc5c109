package main

import (
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/docs/recipes/internal/recipetest"
	"github.com/farewell-node/farewell/docs/recipes/internal/shoptest"
)

func TestMain(m *testing.M) { recipetest.Main(m, main) }

func TestSteps(t *testing.T) { shoptest.ExpectEveryStepLosesNothing(t) }

// What the first step is for: without it a database that hangs keeps the process for ever.
func TestHungDatabase(t *testing.T) {
	const alarm, slack = 2 * time.Second, 2 * time.Second
	for step, culprit := range map[string]string{"0": "", "1": "service", "2": "servers"} {
		t.Run(step, func(t *testing.T) {
			s := shoptest.Start(t, "-step", step, "-alarm", alarm.String(), "-drain", "0s")
			s.Load(t).AwaitOrders(t, 5)
			shoptest.Freeze(t, s.Database)
			s.Signal(t, syscall.SIGTERM)
			if culprit == "" {
				select {
				case <-s.Exited():
					t.Error("it has ended")
				case <-time.After(alarm + slack):
				}
				return
			}
			if took := s.ExpectExit(t, 3); took > alarm+slack {
				t.Errorf("it took %v", took)
			}
			s.Expect(t, `hung: .*`+culprit+`; exit code 3`)
		})
	}
}
