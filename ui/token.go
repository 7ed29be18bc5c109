package ui

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/ui/internal/wire"
)

// minToken is the length from which on a token is not guessed.
const minToken = 16

// tokenTime is how long a UI has to show its token.
const tokenTime = 5 * time.Second

// NewToken makes a token of 130 random bits.
func NewToken() string { return rand.Text() }

// ParseToken takes a token from the text of a file: white space around it does not count, and one that can be guessed is
// refused.
func ParseToken(text []byte) (string, error) {
	token := strings.TrimSpace(string(text))
	if len(token) < minToken {
		return "", fmt.Errorf("ui: the token has %d characters, and needs %d", len(token), minToken)
	}
	return token, nil
}

// admit takes the first message of a UI that must show a token: that must be it.
func (c *conn) admit(data []byte) {
	m, err := wire.Parse(data)
	var payload struct {
		Token string `json:"token"`
	}
	shown := err == nil && m.Opcode == wire.Token && m.Conversation && json.Unmarshal(m.Payload, &payload) == nil
	if !shown || subtle.ConstantTimeCompare([]byte(payload.Token), []byte(c.gateway.token)) != 1 {
		c.refuse(m, "this gateway must be shown its token first", data)
		c.sendAway(websocket.ClosePolicyViolation)
		return
	}
	_ = c.ws.SetReadDeadline(time.Time{}) // always nil
	c.gateway.welcome(c)
	c.reply(m, struct{}{})
}
