package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("systemd was told\n%s\nwant\n%s", strings.Join(got, "\n--\n"), strings.Join(want, "\n--\n"))
	}
}

// In virtual time it is midnight at the start of each test.
func TestTellsEachStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := orchestrator(t, fsm.Config{Alarm: 10 * time.Second})
		register(t, o, "neighbors", takes(time.Second), fsm.Withdraws())
		register(t, o, "db", takes(time.Second))
		register(t, o, "http", takes(time.Second), fsm.Before("db"))
		register(t, o, "mail", takes(3*time.Second))
		n, box, told := followed(t, o, Config{})
		if err := n.Ready("listening on :8080"); err != nil {
			t.Fatal(err)
		}
		r := end(t, o, told)
		expect(t, box.received(),
			"READY=1\nSTATUS=listening on :8080",
			"STOPPING=1\nSTATUS=Withdrawing: waiting for neighbors (3 not begun); alarm at 00:00:10\nEXTEND_TIMEOUT_USEC=11000000",
			"STATUS=AwaitingAcks: waiting for http, mail (1 not begun); alarm at 00:00:10\nEXTEND_TIMEOUT_USEC=10000000",
			"STATUS=AwaitingAcks: waiting for db, mail; alarm at 00:00:10\nEXTEND_TIMEOUT_USEC=9000000",
			"STATUS=AwaitingAcks: waiting for mail; alarm at 00:00:10\nEXTEND_TIMEOUT_USEC=8000000",
			"STATUS="+r.Summary(),
		)
	})
}

// The culprit stands in the last status: systemctl status shows it when the process is gone.
func TestTheAlarmIsInTheLastStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := orchestrator(t, fsm.Config{Alarm: 10 * time.Second})
		released := make(chan struct{})
		defer close(released)
		register(t, o, "db", fsm.Func(func(context.Context) error { <-released; return nil }))
		_, box, told := followed(t, o, Config{})
		r := end(t, o, told)
		expect(t, box.received(),
			"STOPPING=1\nSTATUS=AwaitingAcks: waiting for db; alarm at 00:00:10\nEXTEND_TIMEOUT_USEC=11000000",
			"STATUS="+r.Summary(), // names db
		)
	})
}

func TestManyAcksAreFewMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := orchestrator(t, fsm.Config{Alarm: 10 * time.Second})
		for i := range 1000 {
			register(t, o, fsm.ID(fmt.Sprint("c", i)), takes(time.Duration(i)*time.Millisecond))
		}
		_, box, told := followed(t, o, Config{})
		end(t, o, told)
		if got := len(box.received()); got < 9 || got > 13 {
			t.Errorf("%d messages about a shutdown of 1 s, want one each 100 ms", got)
		}
	})
}

// What systemd did not take is said again, STOPPING=1 above all.
func TestFailedMessagesAreSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := orchestrator(t, fsm.Config{Alarm: 10 * time.Second})
		register(t, o, "db", takes(2*time.Second))
		_, box, told := followed(t, o, Config{})
		box.breakDown(errors.New("no room"))
		time.AfterFunc(time.Second, func() { box.breakDown(nil) })
		end(t, o, told)
		got := box.received()
		if len(got) != 2 || !strings.HasPrefix(got[0], "STOPPING=1\nSTATUS=AwaitingAcks: waiting for db;") {
			t.Errorf("systemd was told %q", got)
		}
	})
}

func TestReadyComesNeverAfterStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := orchestrator(t, fsm.Config{})
		n, box, told := followed(t, o, Config{})
		end(t, o, told)
		if err := n.Ready("too late"); err != nil {
			t.Errorf("ready after the request: %v", err)
		}
		for _, text := range box.received() {
			if strings.Contains(text, "READY") {
				t.Errorf("systemd was told %q", text)
			}
		}
	})
}

func TestFollowEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Setenv("NOTIFY_SOCKET", "/nobody/reads/this")
		t.Setenv("WATCHDOG_USEC", "1000000")
		ctx, cancel := context.WithCancel(t.Context())
		n, box := New(orchestrator(t, fsm.Config{}), Config{}), new(mailbox)
		n.write = box.write
		time.AfterFunc(time.Second+time.Millisecond, cancel)
		n.Follow(ctx)
		expect(t, box.received(), "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1")
	})
}

func TestWatchdogRestsFromTheRequestOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Setenv("WATCHDOG_USEC", "2000000")
		o := orchestrator(t, fsm.Config{})
		register(t, o, "db", takes(3*time.Second))
		_, box, told := followed(t, o, Config{})
		time.Sleep(2500 * time.Millisecond)
		expect(t, box.received(), "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1") // at 0, 1 and 2 s
		end(t, o, told)
		for _, text := range box.received()[3:] {
			if strings.Contains(text, "WATCHDOG") {
				t.Errorf("told %q while leaving", text)
			}
		}
	})
}

func TestWatchdogHearsNothingOfTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Setenv("WATCHDOG_USEC", "2000000")
		o := orchestrator(t, fsm.Config{})
		var asked int
		_, box, told := followed(t, o, Config{Alive: func() bool { asked++; return asked != 2 }})
		time.Sleep(2500 * time.Millisecond)
		expect(t, box.received(), "WATCHDOG=1", "WATCHDOG=1") // not at 1 s
		end(t, o, told)
	})
}

func TestWatchdogThatIsMisspeltIsNone(t *testing.T) {
	for _, wrong := range []string{"soon", "-1", "0", "99999999999999999999"} {
		synctest.Test(t, func(t *testing.T) {
			t.Setenv("WATCHDOG_USEC", wrong)
			o := orchestrator(t, fsm.Config{})
			_, box, told := followed(t, o, Config{})
			time.Sleep(time.Minute)
			expect(t, box.received())
			end(t, o, told)
		})
	}
}

// An ID is whatever its author likes; it must not become an assignment of the protocol.
func TestStatusIsOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := orchestrator(t, fsm.Config{Alarm: 10 * time.Second})
		register(t, o, "evil\nMAINPID=1\x00\xff", takes(time.Second))
		for i := range 100 {
			register(t, o, fsm.ID(strings.Repeat("ü", 100)+fmt.Sprint(i)), takes(time.Second))
		}
		_, box, told := followed(t, o, Config{})
		end(t, o, told)
		for _, text := range box.received() {
			for line := range strings.SplitSeq(text, "\n") {
				name, _, found := strings.Cut(line, "=")
				if !found || !slices.Contains([]string{"STOPPING", "STATUS", "EXTEND_TIMEOUT_USEC"}, name) {
					t.Errorf("told the line %q", line)
				}
			}
			if len(text) > 1200 || !strings.Contains(text, "evil MAINPID=1") && strings.Contains(text, "waiting") {
				t.Errorf("told %d bytes: %q", len(text), text)
			}
		}
		if first := box.received()[0]; !strings.Contains(first, "…, ") || !strings.Contains(first, " and 93 more;") {
			t.Errorf("told %q", first)
		}
	})
}
