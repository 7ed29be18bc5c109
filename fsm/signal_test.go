package fsm

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestSignalsThroughTheChannel(t *testing.T) {
	request := func(o *Orchestrator) { o.Request(Command{}) }
	term, interrupt := syscall.SIGTERM, syscall.SIGINT
	for name, test := range map[string]struct {
		first func(o *Orchestrator)
		gap   time.Duration
		send  []os.Signal
		code  int
	}{
		"one":                           {nil, sameSignal, []os.Signal{term}, ExitImpolite},
		"two":                           {nil, sameSignal, []os.Signal{term, interrupt}, 130},
		"a wrapper passes on the first": {nil, sameSignal - ms, []os.Signal{interrupt, interrupt}, ExitImpolite},
		"two passed on, and a second":   {nil, sameSignal / 2, []os.Signal{interrupt, interrupt, interrupt}, 130},
		"one after another's request":   {request, sameSignal, []os.Signal{term}, ExitImpolite},
		"two after another's request":   {request, sameSignal, []os.Signal{term, term}, 143},
		"two that are not of a syscall": {nil, sameSignal, []os.Signal{foreign{}, foreign{}}, ExitAlarm},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, _ := orchestrator(t, Config{})
				register(t, o, "slow", takes(time.Hour))
				if test.first != nil {
					test.first(o)
				}
				received := make(chan os.Signal, 8)
				go o.obey(received, nil)
				for _, s := range test.send {
					received <- s
					time.Sleep(test.gap)
				}
				r, _ := o.Wait(t.Context())
				if r.ExitCode() != test.code {
					t.Errorf("exit code %d, want %d\n%s", r.ExitCode(), test.code, r)
				}
				if test.first == nil && (r.Command.By != "signal" || r.Command.Reason != "signal "+test.send[0].String()) {
					t.Errorf("command %+v", r.Command)
				}
			})
		})
	}
}

type foreign struct{}

func (foreign) String() string { return "foreign" }
func (foreign) Signal()        {}

func TestStopGivesTheSignalsBack(t *testing.T) {
	o, _ := orchestrator(t, Config{})
	stop := o.HandleSignals()
	stop()
	stop()
	if o.State() != Running {
		t.Errorf("state %s", o.State())
	}
}
