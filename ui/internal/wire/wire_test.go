package wire

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"
)

// FuzzParse: whatever comes, it is a message or it is malformed, as the judgement
// of encoding/json alone would have it; and a message that is written is read as
// the same again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		``, `null`, `[]`, `{}`, `{"opcode":"x","contextId":0,"payload":{}}`, ` { "opcode" : "x" , "payload" : { } } `,
		`{"opcode":"\u0078\"","contextId":18446744073709551615,"error":{"code":9223372036854775812,"message":"no"}}`,
		`{"opcode":"x","contextId":1e3,"payload":{}}`, `{"opcode":"x","contextId":-0,"payload":{}}`,
		`{"opcode":"x","opcode":7,"payload":{}}`, `{"opcode":"x","payload":null,"error":{"code":1,"message":""}}`,
		"{\"opcode\":\"\u2028<&>\",\"payload\":{\"a\":[1,2,{\"b\":null}]}}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !utf8.Valid(data) {
			t.Skip("the gateway does not pass it on")
		}
		m, err := Parse(data)
		if err != nil {
			if bad := (*Malformed)(nil); !errors.As(err, &bad) || bad.Reason == "" || m.Opcode != "" {
				t.Fatalf("%#v, %v", m, err)
			}
			if head, ok := plainHead(data); ok && bodyOf(data) {
				t.Fatalf("refused, although it is %+v: %v", head, err)
			}
			return
		}
		head, ok := plainHead(data)
		if !ok || head.Opcode == nil || *head.Opcode != m.Opcode || (head.ID != nil) != m.Conversation || m.Conversation && *head.ID != m.ID {
			t.Fatalf("%q was read as %+v", data, m)
		}
		text := m.Encode()
		again, err := Parse(text)
		if err != nil || again.Opcode != m.Opcode || again.ID != m.ID || string(again.Payload) != string(m.Payload) {
			t.Fatalf("%s was read as %+v, %v", text, again, err)
		}
		if (m.Error == nil) == (m.Payload == nil) || m.Error != nil && *again.Error != *m.Error {
			t.Fatalf("%+v, %+v", m, again)
		}
	})
}

type plain struct {
	Opcode *string
	ID     *uint64
}

// plainHead reads opcode and contextId in the simplest way there is.
func plainHead(data []byte) (head plain, ok bool) {
	var root map[string]any
	var raw map[string]json.RawMessage
	if json.Unmarshal(data, &root) != nil || json.Unmarshal(data, &raw) != nil {
		return head, false
	}
	if _, isText := root["opcode"].(string); !isText || json.Unmarshal(raw["opcode"], &head.Opcode) != nil {
		return head, false
	}
	if id, has := root["contextId"]; has {
		if _, isNumber := id.(float64); !isNumber || json.Unmarshal(raw["contextId"], &head.ID) != nil {
			return head, false
		}
	}
	return head, true
}

// bodyOf reports whether there is a payload that is good.
func bodyOf(data []byte) bool {
	var root map[string]any
	_ = json.Unmarshal(data, &root)
	_, isObject := root["payload"].(map[string]any)
	return isObject
}
