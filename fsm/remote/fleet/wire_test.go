package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

// What is read is what was written, and within the bounds, or refused as invalid.
func decodesTo[T any](t *testing.T, data []byte, decode func([]byte) (T, error)) {
	t.Helper()
	v, err := decode(data)
	if err != nil {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("refused with %v", err)
		}
		return
	}
	written, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%+v: %v", v, err)
	}
	again, err := decode(written)
	if err != nil || !reflect.DeepEqual(again, v) {
		t.Errorf("%s\n%+v, and read back: %+v, %v", data, v, again, err)
	}
}

func FuzzDecode(f *testing.F) {
	now := time.Now().UTC()
	for _, v := range []any{
		tenure{Token: "t", Drain: "d", Operator: "ana", Since: now},
		record{ID: "d", Operator: "ana", Plan: Plan{Group: "api", Command: fsm.Command{Reason: "deploy", Within: time.Second}}, Parts: 1, counts: counts{Total: 3}},
		record{ID: "d", Plan: Plan{Group: "api", AtOnce: Limit{25, true}, Order: ByName, Back: time.Minute}, Finished: true, Took: 12.5},
		[]remote.Instance{{Group: "api", Name: "api-1", Incarnation: "x", Born: 7, Since: now}},
		outcome{State: Failed, ExitCode: 3, Error: "hung", Culprits: []string{"db hung"}, Asked: now, Took: 5},
		outcome{State: Skipped},
	} {
		data, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"id":"d","plan":{"group":"api","atOnce":"0%"}}`))
	f.Add([]byte(strings.Repeat(`[`, 20_000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		decodesTo(t, data, decodeTenure)
		decodesTo(t, data, func(data []byte) (record, error) { return decodeRecord("api", data) })
		decodesTo(t, data, func(data []byte) ([]remote.Instance, error) { return decodePart("api", data) })
		decodesTo(t, data, decodeOutcome)
	})
}

func FuzzParseLimit(f *testing.F) {
	for _, text := range []string{"3", "25%", "0", "100%", "101%", "-1", "", "%", "99999999999"} {
		f.Add(text, 200)
	}
	f.Fuzz(func(t *testing.T, text string, total int) {
		l, err := ParseLimit(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if again, err := ParseLimit(l.String()); err != nil || again != l {
			t.Errorf("%q is %s, and then %s, %v", text, l, again, err)
		}
		if total = max(0, min(total, maxMembers)); l.Of(total) < 1 || l.percent && l.Of(total) > max(1, total) {
			t.Errorf("%s of %d is %d", l, total, l.Of(total))
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"3": 3, "25%": 50, "1%": 2, "100%": 200, "300": 300} {
		if l := must(ParseLimit(text))(t); l.Of(200) != want || l.String() != text {
			t.Errorf("%s of 200 is %d", l, l.Of(200))
		}
	}
	if got := must(ParseLimit("1%"))(t).Of(7); got != 1 {
		t.Errorf("1%% of 7 is %d", got)
	}
	if (Limit{}).Of(7) != 1 || Count(-3).Of(7) != 1 {
		t.Error("the least is 1")
	}
	for _, text := range []string{"", "0", "0%", "101%", "-1", "1.5", "x", "3 ", "%"} {
		if _, err := ParseLimit(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The plan of 10,000 instances with the longest names is divided, and read back whole.
func TestPlanIsDivided(t *testing.T) {
	t.Parallel()
	var all []remote.Instance
	for i := range 10_000 {
		name := fmt.Sprint(strings.Repeat("x", 120), i)
		all = append(all, remote.Instance{Group: "api", Name: name, Incarnation: strings.Repeat("y", 64), Born: uint64(i)})
	}
	var back []remote.Instance
	parts := must(inParts(all))(t)
	for _, part := range parts {
		if len(part) > maxChunk {
			t.Errorf("a part of %d bytes", len(part))
		}
		back = append(back, must(decodePart("api", part))(t)...)
	}
	if !reflect.DeepEqual(back, all) || len(parts) < 2 {
		t.Errorf("%d of %d in %d parts", len(back), len(all), len(parts))
	}
	if parts := must(inParts(nil))(t); len(parts) > 0 {
		t.Errorf("nobody in %d parts", len(parts))
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, err := range map[string]error{
		"no connection": second(Begin(ctx, nil, Plan{Group: "api"}, Options{})),
		"no group":      second(Begin(ctx, nil, Plan{}, Options{})),
		"group":         second(Begin(ctx, nil, Plan{Group: "a.>"}, Options{})),
		"failed":        second(Begin(ctx, nil, Plan{Group: "api", MaxFailed: -1}, Options{})),
		"back":          second(Begin(ctx, nil, Plan{Group: "api", Back: -1}, Options{})),
		"within":        second(Begin(ctx, nil, Plan{Group: "api", Command: fsm.Command{Within: -1}}, Options{})),
		"order":         second(Begin(ctx, nil, Plan{Group: "api", Order: 9}, Options{})),
		"reason":        second(Begin(ctx, nil, Plan{Group: "api", Command: fsm.Command{Reason: strings.Repeat("x", 2<<10)}}, Options{})),
		"operator":      second(Begin(ctx, nil, Plan{Group: "api"}, Options{Operator: strings.Repeat("x", 300)})),
		"lease":         second(Begin(ctx, nil, Plan{Group: "api"}, Options{Lease: -1})),
		"resume":        second(Resume(ctx, nil, "", Options{})),
		"resume *":      second(Resume(ctx, nil, "*", Options{})),
		"current":       second(Current(ctx, nil, "")),
		"preview":       second(Preview(ctx, nil, Plan{})),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// All the time there is can be written down and read back.
func TestTheLongestBackIsReadBack(t *testing.T) {
	t.Parallel()
	plan := Plan{Group: "api", Back: math.MaxInt64, Command: fsm.Command{Within: math.MaxInt64}}
	data := must(json.Marshal(record{ID: "x", Plan: plan}))(t)
	if r, err := decodeRecord("api", data); err != nil || r.Plan.Back != plan.Back || r.Plan.Command.Within != plan.Command.Within {
		t.Errorf("got %+v, %v", r.Plan, err)
	}
}

// A lease that would outlive what it is about, or that overflows, is refused.
func TestLeaseIsBounded(t *testing.T) {
	t.Parallel()
	for _, lease := range []time.Duration{-1, Keep + 1, math.MaxInt64} {
		if err := (&Options{Lease: lease}).validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: %v", lease, err)
		}
	}
}
