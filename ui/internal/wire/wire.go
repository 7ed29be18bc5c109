// Package wire is the envelope of the UI protocol MASQNode-UIv2, as the MASQ
// Node v0.9.1 reads and writes it:
//
//	{"opcode": "X", "contextId": N, "payload": {…}}
//	{"opcode": "X", "contextId": N, "error": {"code": N, "message": "…"}}
//
// A message with a contextId is part of a conversation; one without is fire and
// forget.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Subprotocol is what both sides name in the WebSocket handshake.
const Subprotocol = "MASQNode-UIv2"

// Opcodes of MASQNode-UIv2.
const (
	Shutdown          = "shutdown"
	Descriptor        = "descriptor"
	ConnectionStatus  = "connectionStatus"
	ConnectionChange  = "connectionChange"
	NeighborhoodGraph = "neighborhoodGraph"
	LogBroadcast      = "logBroadcast"
	UnmarshalError    = "unmarshalError"
)

// Opcodes of our own.
const (
	Token   = "token"
	Status  = "status"
	Watch   = "watch"
	Event   = "event"
	Goodbye = "goodbye"

	AddNeighbor = "addNeighbor"
)

// CodeUnmarshal is the error code of a request that cannot be understood. Like
// all codes of the protocol it is 2^63 and something: it fits no int64.
const CodeUnmarshal uint64 = 1<<63 | 4

// Message is one message, in either direction.
type Message struct {
	Opcode       string
	Conversation bool   // whether there is a contextId
	ID           uint64 // the contextId; zero is a legal one
	Payload      json.RawMessage
	Error        *Error // in place of the payload
}

// Error is what a message carries in place of a payload.
type Error struct {
	Code    uint64 `json:"code"`
	Message string `json:"message"`
}

// Malformed says why a text is no message. If it is part of a conversation that
// could be made out, the sender is answered there, otherwise with [UnmarshalError].
type Malformed struct {
	Opcode       string
	Conversation bool
	ID           uint64
	Reason       string
}

func (e *Malformed) Error() string { return "ui: message: " + e.Reason }

// Parse reads one message. Its error is always a *Malformed. Members that the
// envelope does not know are ignored, and if there are both a payload and an
// error, the payload counts. Names are compared exactly, and of two members of
// one name the last counts, as there.
func Parse(data []byte) (Message, error) {
	var root map[string]json.RawMessage
	err := json.Unmarshal(data, &root)
	if _, isJSON := errors.AsType[*json.UnmarshalTypeError](err); isJSON || err == nil && root == nil {
		return Message{}, &Malformed{Reason: "the root is not an object"}
	}
	if err != nil {
		return Message{}, &Malformed{Reason: "not JSON: " + err.Error()}
	}
	m, err := parseHead(root)
	if err != nil {
		return Message{}, &Malformed{Reason: err.Error()}
	}
	if err := m.parseBody(root); err != nil {
		return Message{}, &Malformed{m.Opcode, m.Conversation, m.ID, err.Error()}
	}
	return m, nil
}

func parseHead(root map[string]json.RawMessage) (m Message, err error) {
	if m.Opcode, err = stringIn(root, "opcode"); err != nil {
		return Message{}, err
	}
	if _, m.Conversation = root["contextId"]; m.Conversation {
		m.ID, err = uint64In(root, "contextId")
	}
	return m, err
}

func (m *Message) parseBody(root map[string]json.RawMessage) (err error) {
	if payload, ok := root["payload"]; ok {
		if !isObject(payload) {
			return errors.New("payload is not an object")
		}
		m.Payload = payload
		return nil
	}
	raw, ok := root["error"]
	if !ok {
		return errors.New("payload and error are missing")
	}
	var body map[string]json.RawMessage
	if json.Unmarshal(raw, &body) != nil || body == nil {
		return errors.New("error is not an object")
	}
	m.Error = &Error{}
	if m.Error.Code, err = uint64In(body, "code"); err != nil {
		return fmt.Errorf("error: %w", err)
	}
	if m.Error.Message, err = stringIn(body, "message"); err != nil {
		return fmt.Errorf("error: %w", err)
	}
	return nil
}

func stringIn(object map[string]json.RawMessage, name string) (string, error) {
	raw, ok := object[name]
	if !ok {
		return "", fmt.Errorf("%s is missing", name)
	}
	if raw[0] != '"' {
		return "", fmt.Errorf("%s is not a string", name)
	}
	if !bytes.Contains(raw, []byte(`\`)) {
		return string(raw[1 : len(raw)-1]), nil // as it is, which is most of the time
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err
}

func uint64In(object map[string]json.RawMessage, name string) (uint64, error) {
	raw, ok := object[name]
	if !ok {
		return 0, fmt.Errorf("%s is missing", name)
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not an integer from 0 to 2^64-1", name)
	}
	return n, nil
}

func isObject(raw json.RawMessage) bool { return raw[0] == '{' }

// Encode returns the message as its sender writes it, in one line.
func (m Message) Encode() []byte {
	b := make([]byte, 0, 64+len(m.Opcode)+len(m.Payload))
	b = append(b, `{"opcode":`...)
	b = appendString(b, m.Opcode)
	if m.Conversation {
		b = append(b, `,"contextId":`...)
		b = strconv.AppendUint(b, m.ID, 10)
	}
	if m.Error != nil {
		b = append(b, `,"error":`...)
		b = append(b, JSON(m.Error)...)
	} else {
		b = append(b, `,"payload":`...)
		b = append(b, m.Payload...)
	}
	return append(b, '}')
}

func appendString(b []byte, text string) []byte {
	plain := func(r rune) bool { return ' ' <= r && r <= '~' && r != '"' && r != '\\' }
	if strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return append(b, JSON(text)...)
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

// JSON encodes what is known to be encodable, without the escapes that only
// HTML needs: a graph is full of "->".
func JSON(value any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		panic(fmt.Sprintf("ui: encode %T: %v", value, err)) // a type of ours that cannot be encoded
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
