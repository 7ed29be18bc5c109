package ui

import "github.com/farewell-node/farewell/ui/internal/wire"

// The levels of a logBroadcast.
const (
	levelWarn = "Warn"
)

func logMessage(level, text string) wire.Message {
	return wire.Message{Opcode: wire.LogBroadcast, Payload: wire.JSON(logPayload{text, level})}
}

type logPayload struct {
	Message string `json:"msg"`
	Level   string `json:"logLevel"`
}
