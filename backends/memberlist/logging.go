package memberlist

import (
	"context"
	"log"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver/loglimit"
)

// newLogger returns the logger for memberlist's own lines. Their rate is
// limited: anybody who reaches the port can provoke them.
func newLogger(to *slog.Logger) *log.Logger {
	return log.New(&logWriter{to: to, kinds: loglimit.Limiter{Burst: 5, Every: 10 * time.Second}}, "", 0)
}

type logWriter struct {
	to    *slog.Logger
	kinds loglimit.Limiter
}

// levels are memberlist's marks. What it calls an error is often caused by a
// stranger.
var levels = map[string]slog.Level{
	"DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo, "WARN": slog.LevelWarn, "ERR": slog.LevelWarn, "ERROR": slog.LevelWarn,
}

// kind returns what lines of one kind begin with, before what differs. It is asked for
// each line, of which strangers provoke as many as they like.
func kind(text string) string {
	text, _, _ = strings.Cut(text, "from=")
	if i := strings.IndexAny(text, `"'0123456789`); i >= 0 {
		return text[:i]
	}
	return text
}

func (w *logWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelWarn
	if mark, rest, ok := strings.Cut(strings.TrimPrefix(text, "["), "] "); ok {
		if l, known := levels[mark]; known {
			level, text = l, rest
		}
	}
	if strings.Contains(text, net.ErrClosed.Error()) { // a probe that Close has overtaken
		level = slog.LevelDebug
	}
	if !w.to.Enabled(context.Background(), level) {
		return len(line), nil
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	switch suppressed, ok := w.kinds.Allow(kind(text)); {
	case !ok:
	case suppressed > 0:
		w.to.Log(context.Background(), level, text, "suppressed", suppressed)
	default:
		w.to.Log(context.Background(), level, text)
	}
	return len(line), nil
}
