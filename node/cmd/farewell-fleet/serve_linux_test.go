package main

import "testing"

func TestStateFolder(t *testing.T) {
	for _, test := range []struct{ state, home, want string }{
		{"", "/home/ana", "/home/ana/.local/state/farewell/nats"},
		{"/var/lib/x", "/home/ana", "/var/lib/x/farewell/nats"},
		{"relative", "/home/ana", ""},
		{"", "", ""},
	} {
		t.Setenv("XDG_STATE_HOME", test.state)
		t.Setenv("HOME", test.home)
		if got, err := stateFolder(); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}
