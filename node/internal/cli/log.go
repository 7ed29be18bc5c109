package cli

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"
)

// Log is the flags of a command that logs on stderr: --log-level and --log-format.
type Log struct{ level, format string }

// Flags gives them to a command.
func (l *Log) Flags(c *cobra.Command) {
	c.Flags().StringVar(&l.level, "log-level", "info", "debug, info, warn or error")
	c.Flags().StringVar(&l.format, "log-format", "text", "text or json")
	Complete(c, "log-level", "debug", "info", "warn", "error")
	Complete(c, "log-format", "text", "json")
}

// Logger returns what logs as the flags say. The error is a [UsageError].
func (l *Log) Logger(c *cobra.Command) (*slog.Logger, error) {
	w := c.ErrOrStderr()
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, Usage(c, fmt.Errorf("%s: %q is none of debug, info, warn, error", NameOf(c, "log-level"), l.level))
	}
	options := &slog.HandlerOptions{Level: level}
	switch l.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, Usage(c, fmt.Errorf("%s: %q is neither text nor json", NameOf(c, "log-format"), l.format))
}
