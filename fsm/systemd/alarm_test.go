package systemd

import (
	"context"
	"math"
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestAlarmWithinPatience(t *testing.T) {
	for patience, want := range map[uint64]time.Duration{
		90_000_000:             89 * time.Second,
		10_000_000:             9 * time.Second,
		2_000_000:              time.Second,
		1_000_000:              500 * time.Millisecond,
		1:                      500 * time.Nanosecond,
		0:                      0,
		math.MaxUint64:         0, // infinity
		math.MaxInt64 / 100:    0, // more than a Duration holds
		math.MaxInt64/1000 + 1: 0,
	} {
		if got := alarmWithin(patience); got != want {
			t.Errorf("alarm within %d µs: %v, want %v", patience, got, want)
		}
	}
}

// The bus that is asked may be gone, or a process that says nothing.
func TestAlarmWithoutABus(t *testing.T) {
	silent := filepath.Join(t.TempDir(), "bus")
	listener, err := net.Listen("unix", silent)
	if err != nil {
		t.Skipf("no Unix sockets on this system: %v", err)
	}
	defer func() { _ = listener.Close() }()
	t.Setenv("NOTIFY_SOCKET", "@somebody")
	t.Setenv("MANAGERPID", "1") // a user's manager: the bus of the session is asked
	for _, bus := range []string{"unix:path=" + silent, "unix:path=" + silent + "-gone", "nonsense"} {
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", bus)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if alarm, err := Alarm(ctx); alarm != 0 || err == nil || ctx.Err() != nil {
			t.Errorf("%s: %v, %v, %v", bus, alarm, err, ctx.Err())
		}
		cancel()
	}
}
