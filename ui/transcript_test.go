package ui_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
)

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) { replay(t, string(text)) })
		})
	}
}

// What docs/protocol.md shows is what happens.
func TestProtocolDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```transcript\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(examples) < 5 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, example := range examples {
		synctest.Test(t, func(t *testing.T) { replay(t, example[1]) })
	}
}

// replay plays a conversation in virtual time, byte for byte. Its lines:
//
//	# a comment
//	A → what the UI called A sends; "binary …" goes as a binary frame
//	A ← what it gets next, or "close 1001"
//	A hangs up
//	component NAME
//	withdraws NAME
//	NAME acks
//	stage STAGE
//	token TOKEN, which UIs must show
//	after 100ms
//	let NAME text, which then stands for $NAME
//
// A UI connects when it is first named. At the end nothing may be left unread.
func replay(t *testing.T, text string) {
	n := &node{stage: ui.NotConnected}
	s := &script{
		t: t, f: newFixture(t, n, fsm.Config{}), node: n, uis: map[string]*peer{}, acks: map[string]func(){},
		texts: map[string]string{},
	}
	s.f.runVirtually()
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			t.Log(line)
			s.play(os.Expand(line, func(name string) string { return s.texts[name] }))
		}
	}
	synctest.Wait()
	for name, ui := range s.uis {
		select {
		case left, open := <-ui.got:
			if open && left != "cut" {
				t.Errorf("%s got more: %s", name, left)
			}
		default:
		}
	}
}

type script struct {
	t    *testing.T
	f    *fixture
	node *node
	uis  map[string]*peer
	acks map[string]func()
	// texts are those that let has named.
	texts map[string]string
}

func (s *script) play(line string) {
	s.t.Helper()
	name, rest, _ := strings.Cut(line, " ")
	verb, argument, _ := strings.Cut(rest, " ")
	switch {
	case verb == "→":
		s.ui(name).sendAs(argument)
	case verb == "←":
		s.ui(name).expect(argument)
	case rest == "hangs up":
		_ = s.ui(name).ws.Close()
	case name == "component":
		s.acks[rest] = s.f.register(fsm.ID(rest))
	case name == "withdraws":
		s.acks[rest] = s.f.register(fsm.ID(rest), fsm.Withdraws())
	case rest == "acks":
		synctest.Wait()
		s.acks[name]()
	case name == "stage":
		s.node.set(ui.Stage(rest))
		s.f.gateway.ConnectionChanged()
	case name == "token":
		s.f.gateway.SetToken(rest)
	case name == "let":
		s.texts[verb] = argument
	case name == "after":
		d, err := time.ParseDuration(rest)
		if err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(d)
	default:
		s.t.Fatalf("not understood: %s", line)
	}
}

func (s *script) ui(name string) *peer {
	if s.uis[name] == nil {
		s.uis[name] = s.f.connect()
		synctest.Wait()
	}
	return s.uis[name]
}

func (p *peer) sendAs(text string) {
	p.t.Helper()
	data, binary := strings.CutPrefix(text, "binary ")
	if !binary {
		p.send(text)
		return
	}
	if err := p.ws.WriteMessage(websocket.BinaryMessage, []byte(data)); err != nil {
		p.t.Fatal(err)
	}
}
