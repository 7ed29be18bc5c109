package ui

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/ui/internal/wire"
)

// ErrTokenFileTooOpen refuses a token file that others can read.
var ErrTokenFileTooOpen = errors.New("group or others can read it: its mode must be 0600")

// minToken is the length from which on a token is not guessed.
const minToken = 16

// tokenTime is how long a UI has to show its token.
const tokenTime = 5 * time.Second

// LoadOrCreateToken reads the token in a file, or makes one of 130 random bits and
// a file for it, with mode 0600. Whoever can read the file can use the gateway.
func LoadOrCreateToken(path string) (string, error) {
	token, err := LoadToken(path)
	if errors.Is(err, os.ErrNotExist) {
		if token, err = createToken(path); err != nil {
			err = fmt.Errorf("ui: token file %s: %w", path, err)
		}
	}
	return token, err
}

// LoadToken reads the token in a file that there is, as clients do. The error wraps ErrTokenFileTooOpen if others can
// read it too.
func LoadToken(path string) (string, error) {
	token, err := loadToken(path)
	if err != nil {
		return "", fmt.Errorf("ui: token file %s: %w", path, err)
	}
	return token, nil
}

func loadToken(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", ErrTokenFileTooOpen
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if len(token) < minToken {
		return "", fmt.Errorf("the token has %d characters, and needs %d", len(token), minToken)
	}
	return token, nil
}

func createToken(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	token := rand.Text()
	_, err = file.WriteString(token + "\n")
	return token, errors.Join(err, file.Close())
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
