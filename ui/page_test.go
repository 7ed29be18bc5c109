package ui_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/farewell-node/farewell/fsm"
)

// get returns the answer to a plain request, and its body.
func (f *fixture) get(method, path string) (*http.Response, string) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), method, f.pageURL()+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return response, string(body)
}

func TestPageIsServed(t *testing.T) {
	f := real(t, nil, fsm.Config{})
	for path, kind := range map[string]string{
		"": "text/html", "main.js": "text/javascript", "style.css": "text/css", "shutdown.svg": "image/svg+xml",
	} {
		response, body := f.get(http.MethodGet, path)
		if response.StatusCode != 200 || !strings.HasPrefix(response.Header.Get("Content-Type"), kind) || body == "" {
			t.Errorf("/%s: %s, %s", path, response.Status, response.Header)
		}
		if policy := response.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'") {
			t.Errorf("/%s: policy %q", path, policy)
		}
	}
	if response, _ := f.get(http.MethodGet, "nothing"); response.StatusCode != 404 {
		t.Error(response.Status)
	}
	if response, _ := f.get(http.MethodPost, ""); response.StatusCode != 405 {
		t.Error(response.Status)
	}
}

// The diagram that is shipped is the table's: if this fails, run go generate ./ui.
func TestPageDrawsTheWholeTable(t *testing.T) {
	svg, err := os.ReadFile("page/shutdown.svg")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(svg), "&#45;", "-")
	want := map[string]bool{}
	for _, line := range fsm.Transitions() {
		want["state-"+line.From.String()], want["state-"+line.To.String()] = true, true
		want["edge-"+line.From.String()+"-"+line.On.String()] = true
	}
	for id := range want {
		if !strings.Contains(text, `id="`+id+`"`) {
			t.Errorf("%s is not drawn", id)
		}
	}
	if drawn := strings.Count(text, `class="node"`) + strings.Count(text, `class="edge"`); drawn != len(want) {
		t.Errorf("%d parts are drawn, want %d", drawn, len(want))
	}
}

// What the page is made of names no other server, and has nothing in it that the
// policy forbids.
func TestPageIsSelfContained(t *testing.T) {
	files, err := filepath.Glob("page/*.*")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	foreign := regexp.MustCompile(`(?i)https?://[^\s"')]*|\son\w+=|style="|<style|javascript:`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range foreign.FindAllString(string(text), -1) {
			if !strings.HasPrefix(found, "http://www.w3.org/") { // names of formats, which nothing fetches
				t.Errorf("%s: %s", file, found)
			}
		}
	}
}
