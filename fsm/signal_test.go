package fsm

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
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

const signalChildEnv = "FSM_TEST_SIGNAL_CHILD"

// signalChild is a process with a component that hangs.
func signalChild() {
	o, err := New(Config{Alarm: time.Hour})
	if err != nil {
		panic(err)
	}
	_ = o.Register("hung", Func(func(context.Context) error { fmt.Println("stopping"); select {} }))
	o.HandleSignals()
	fmt.Println("up")
	<-o.Done()
	os.Exit(o.Report().ExitCode())
}

func TestRealSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent signals")
	}
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), signalChildEnv+"=1")
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for _, want := range []string{"up", "stopping"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the child says %q, want %q", lines.Text(), want)
		}
		if err := child.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for again := time.NewTicker(sameSignal); ; { // until one is no longer the same request
		select {
		case err := <-ended:
			if child.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
				t.Errorf("the child ended with %v, want exit status 143", err)
			}
			return
		case <-again.C:
			_ = child.Process.Signal(syscall.SIGTERM)
		}
	}
}
