package ui

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Whatever stands in Host and Origin, nobody gets in who names another host than this
// machine and the one that is allowed.
func FuzzHosts(f *testing.F) {
	for _, seed := range [][2]string{
		{"localhost:5333", "http://localhost:5333"},
		{"ui.example", "https://ui.example:8443"},
		{"[::1]", ""},
		{"evil.example", "null"},
		{"127.0.0.1@evil.example", "http://127.0.0.1@evil.example"},
		{"localhost.", "https://ui.example#evil"},
	} {
		f.Add(seed[0], seed[1])
	}
	allowed, err := parseHosts([]string{"ui.example"}, "0123456789abcdef")
	if err != nil {
		f.Fatal(err)
	}
	ours := func(host string) bool {
		ip := net.ParseIP(host)
		return strings.EqualFold(host, "localhost") || strings.EqualFold(host, "ui.example") || ip != nil && ip.IsLoopback()
	}
	f.Fuzz(func(t *testing.T, host, origin string) {
		r := &http.Request{Host: host, Header: http.Header{}}
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		if !allowed.mayAsk(r) {
			return
		}
		u := url.URL{Host: host}
		if !ours(u.Hostname()) {
			t.Errorf("Host %q came in", host)
		}
		from, err := url.Parse(origin)
		if origin != "" && (err != nil || !ours(from.Hostname()) || from.Scheme != "http" && from.Scheme != "https") {
			t.Errorf("Origin %q came in", origin)
		}
	})
}
