package systemd

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// askTime is what asking systemd for its patience may take.
const askTime = 500 * time.Millisecond

// Alarm returns the longest alarm that ends before systemd's patience with this
// service, its TimeoutStopSec, is at an end: a second before it, or half of it if
// it is below two seconds. It is 0 if systemd has not started this process as a
// service that notifies, or if its patience is infinite.
//
// It asks systemd over D-Bus (org.freedesktop.systemd1.Service.TimeoutStopUSec;
// the environment does not say it), which takes 0.5 s at most. It is an error,
// and 0, if the bus cannot be asked, as under PrivateNetwork without a bus socket
// or in a container.
func Alarm(ctx context.Context) (time.Duration, error) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	patience, err := askStopTimeout(ctx)
	if err != nil {
		return 0, fmt.Errorf("systemd: ask for TimeoutStopSec: %w", err)
	}
	return alarmWithin(patience), nil
}

// alarmWithin returns the alarm that goes with a TimeoutStopUSec.
func alarmWithin(patience uint64) time.Duration {
	const infinite = uint64(1<<63-1) / uint64(time.Microsecond) // what no Duration holds; systemd says 1<<64-1
	if patience > infinite {
		return 0
	}
	limit := time.Duration(patience) * time.Microsecond
	return limit - min(lastSteps, limit/2)
}

// askStopTimeout returns the TimeoutStopUSec of the unit that this process runs in.
func askStopTimeout(ctx context.Context) (uint64, error) {
	bus, err := connect(ctx)
	if err != nil {
		return 0, err
	}
	defer bus.Close()
	const caller = 0 // systemd then looks at who asks: right in any pid namespace
	unit, err := bus.GetUnitNameByPID(ctx, caller)
	if err != nil {
		return 0, err
	}
	property, err := bus.GetServicePropertyContext(ctx, unit, "TimeoutStopUSec")
	if err != nil {
		return 0, err
	}
	patience, ok := property.Value.Value().(uint64)
	if !ok {
		return 0, fmt.Errorf("%s is no number: %v", property.Name, property.Value)
	}
	return patience, nil
}

// connect connects to the manager that started this process: that of the user,
// which alone sets MANAGERPID, or the system's.
func connect(ctx context.Context) (*dbus.Conn, error) {
	if os.Getenv("MANAGERPID") != "" {
		return dbus.NewUserConnectionContext(ctx)
	}
	return dbus.NewWithContext(ctx)
}
