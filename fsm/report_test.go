package fsm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// eventful is a shutdown in which everything happens. Its stacks are replaced,
// because they hold line numbers.
func eventful(t *testing.T) *Report {
	o, _ := orchestrator(t, Config{Alarm: time.Second})
	register(t, o, "neighborhood", takes(40*ms), Withdraws())
	register(t, o, "db", ignores(t))
	register(t, o, "cache", Func(func(context.Context) error {
		time.Sleep(3 * ms)
		return errBroken
	}))
	register(t, o, "pool", quiescing{takes(10 * ms), takes(time.Hour)}, Before("db"))
	register(t, o, "http", takes(300*ms), Grace(200*ms), Before("pool", "cache"))
	register(t, o, "tail", takes(5*ms), After("db"))
	r := *shutdown(t, o)
	r.Components = append([]ComponentReport(nil), r.Components...)
	for i := range r.Components {
		if r.Components[i].Stack != "" {
			r.Components[i].Stack = "goroutines with this stack: 1\n  main.f /src/main.go:1\n"
		}
	}
	return &r
}

func TestReportGolden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := eventful(t)
		golden(t, "report.txt", r.Summary()+"\n\n"+r.String())
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "report.json", string(text)+"\n")
	})
}

func TestReportJSONAndBack(t *testing.T) {
	text, err := os.ReadFile("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	again, err := json.MarshalIndent(&r, "", "  ")
	if err != nil || !bytes.Equal(append(again, '\n'), text) {
		t.Errorf("%v: came back as\n%s", err, again)
	}
	if r.ExitCode() != ExitAlarm || r.Edge != (Transition{AwaitingAcks, Timeout, Terminated}) || r.Took != time.Second {
		t.Errorf("%s", &r)
	}
	for _, bad := range []string{`[]`, `{"tookMs":"x"}`, `{"components":[{"outcome":"x"}]}`, `{"edge":{"on":"x"}}`} {
		if err := json.Unmarshal([]byte(bad), &Report{}); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestReportOfTheUnfinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "a", takes(time.Second))
		register(t, o, "b", takes(time.Second), After("a"))
		r := o.Report()
		expect(t, r, ComponentReport{ID: "b", Outcome: OutcomeWaiting})
		if r.State != Running || !r.Began.IsZero() || r.Took != 0 {
			t.Errorf("in Running: %s", r)
		}
		o.Request(Command{})
		time.Sleep(300 * time.Millisecond)
		r = o.Report()
		expect(t, r, ComponentReport{ID: "a", Outcome: OutcomeStopping, Ran: 300 * time.Millisecond})
		expect(t, r, ComponentReport{ID: "b", Outcome: OutcomeWaiting, Waited: 300 * time.Millisecond, WaitedOn: []ID{"a"}})
		text, err := json.Marshal(r)
		if err != nil || strings.Contains(string(text), "exitCode") || strings.Contains(string(text), "edge") {
			t.Errorf("%s, %v", text, err)
		}
		var back Report
		if err := json.Unmarshal(text, &back); err != nil || back.State != AwaitingAcks || back.Edge != (Transition{}) {
			t.Errorf("%+v, %v", back, err)
		}
		if !strings.Contains(r.String(), "AwaitingAcks for 300ms") {
			t.Errorf("%s", r)
		}
		<-o.Done()
	})
}

func TestExitCodesAndErr(t *testing.T) {
	alarm := Transition{AwaitingAcks, Timeout, Terminated}
	normal := Transition{AwaitingAcks, AllAcked, Terminated}
	polite := ComponentReport{ID: "polite", Outcome: OutcomeAcked, QuiesceErr: ErrQuiesceLate}
	failed := ComponentReport{ID: "failed", Outcome: OutcomeFailed, Err: errBroken}
	panicked := ComponentReport{ID: "panicked", Outcome: OutcomePanicked, QuiesceErr: &PanicError{Value: errBroken}}
	insisted := ComponentReport{ID: "insisted", Outcome: OutcomeAcked, Insisted: true}
	hung := ComponentReport{ID: "hung", Outcome: OutcomeHung, Insisted: true}
	failure := Command{Err: errBroken}
	signalled := &Command{Signal: syscall.SIGTERM}
	none := []ComponentReport(nil)
	both := []ComponentReport{polite, failed}
	type errs = []error
	for name, test := range map[string]struct {
		edge       Transition
		command    Command
		forced     *Command
		components []ComponentReport
		code       int
		is, isNot  errs
	}{
		"fine":            {normal, Command{}, nil, none, ExitOK, nil, nil},
		"polite":          {normal, Command{}, nil, []ComponentReport{polite}, ExitOK, nil, nil},
		"failure":         {normal, failure, nil, none, ExitFailure, errs{errBroken}, errs{ErrAlarm}},
		"failed":          {normal, Command{}, nil, both, ExitImpolite, errs{errBroken}, errs{ErrQuiesceLate}},
		"failed beats it": {normal, failure, nil, []ComponentReport{failed}, ExitImpolite, errs{errBroken}, nil},
		"panicked":        {normal, Command{}, nil, []ComponentReport{panicked}, ExitImpolite, errs{errBroken}, nil},
		"insisted":        {normal, Command{}, nil, []ComponentReport{insisted}, ExitImpolite, errs{ErrInsist}, nil},
		"alarm":           {alarm, failure, nil, none, ExitAlarm, errs{ErrAlarm, errBroken}, errs{ErrForced}},
		"alarm, hung":     {alarm, Command{}, nil, []ComponentReport{hung}, ExitAlarm, errs{ErrAlarm, ErrInsist}, nil},
		"alarm, all fine": {alarm, Command{}, nil, none, ExitAlarm, errs{ErrAlarm}, nil},
		"forced":          {alarm, Command{}, &Command{}, none, ExitAlarm, errs{ErrForced}, errs{ErrAlarm}},
		"by a signal":     {alarm, Command{}, signalled, []ComponentReport{hung}, 143, errs{ErrForced}, errs{ErrAlarm}},
	} {
		t.Run(name, func(t *testing.T) {
			r := Report{
				State: Terminated, Edge: test.edge, Command: test.command, ForcedBy: test.forced, Components: test.components,
			}
			err := r.Err()
			if code := r.ExitCode(); code != test.code || (err == nil) != (code == ExitOK) {
				t.Errorf("exit code %d, want %d; error %v", code, test.code, err)
			}
			for _, want := range test.is {
				if !errors.Is(err, want) {
					t.Errorf("%v is not %v", err, want)
				}
			}
			for _, unwanted := range test.isNot {
				if errors.Is(err, unwanted) {
					t.Errorf("%v is %v", err, unwanted)
				}
			}
		})
	}
	if _, ok := errors.AsType[*PanicError](&panicked); !ok {
		t.Error("the panic is not in the component's error")
	}
}

// What others wrote cannot break the lines, or the terminal.
func TestReportIsPlainText(t *testing.T) {
	r := Report{State: Terminated, Command: Command{Reason: "a\nb\x1b[31m"}, Components: []ComponentReport{
		{ID: "x\ty\n", Outcome: OutcomeFailed, Err: errors.New("one\ntwo"), WaitedOn: []ID{"q\r"}, Stack: "main.main\n\tx.go:1\x1b[2J\r"},
	}}
	for _, text := range []string{r.Summary(), r.String(), r.Components[0].Error()} {
		if strings.ContainsAny(text, "\x1b\r\t") || strings.Contains(text, "one\ntwo") || strings.Contains(text, "a\nb") {
			t.Errorf("%q", text)
		}
	}
	if strings.Contains(r.Summary(), "\n") {
		t.Errorf("more than one line: %q", r.Summary())
	}
}

func TestTransitionsIsACopy(t *testing.T) {
	Transitions()[0].To = Terminated
	if !reflect.DeepEqual(Transitions(), table) || table[0].To != Withdrawing {
		t.Error("the table can be changed from outside")
	}
}

// What is read as a report is written as the same report.
func FuzzReportJSON(f *testing.F) {
	f.Add([]byte(`{"tookMs":1e300,"state":"Terminated","components":[{"id":"a","outcome":"hung","waitedOn":["a"]}]}`))
	f.Add([]byte(`{"command":{"signal":15},"events":[{"kind":"Acked","error":"e"}],"edge":{"on":"Timeout"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r, again Report
		if json.Unmarshal(text, &r) != nil {
			return
		}
		_, _, _ = r.String(), r.Summary(), r.Err()
		one, err := json.Marshal(r)
		if err != nil {
			return // a year beyond what RFC 3339 can say
		}
		if err := json.Unmarshal(one, &again); err != nil {
			t.Fatalf("%v: %s", err, one)
		}
		if two, err := json.Marshal(&again); err != nil || !bytes.Equal(one, two) {
			t.Errorf("%v:\n%s\n%s", err, one, two)
		}
	})
}
