package memberlist

import (
	"context"
	"log"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

// newLogger returns the logger for memberlist's own lines. Of each kind of line
// a few are logged in a while, for anybody can provoke them who reaches the
// port.
func newLogger(to *slog.Logger) *log.Logger {
	return log.New(&logWriter{to: to, kinds: map[string]*kind{}}, "", 0)
}

const (
	logWindow = 10 * time.Second
	logBurst  = 5   // lines of a kind in a window
	logKinds  = 100 // kinds told apart in a window
)

type logWriter struct {
	to *slog.Logger

	mu    sync.Mutex
	since time.Time // when the window began
	kinds map[string]*kind
}

type kind struct{ lines, suppressed int }

// levels are memberlist's marks. What it calls an error is often a stranger's.
var levels = map[string]slog.Level{
	"DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo, "WARN": slog.LevelWarn, "ERR": slog.LevelWarn, "ERROR": slog.LevelWarn,
}

// variable is what differs between lines of one kind.
var variable = regexp.MustCompile(`".*|'.*|from=.*|[0-9].*`)

func (w *logWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelWarn
	if mark, rest, ok := strings.Cut(strings.TrimPrefix(text, "["), "] "); ok {
		if l, known := levels[mark]; known {
			level, text = l, rest
		}
	}
	if !w.to.Enabled(context.Background(), level) {
		return len(line), nil
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	switch suppressed, ok := w.admit(variable.ReplaceAllString(text, "")); {
	case !ok:
	case suppressed > 0:
		w.to.Log(context.Background(), level, text, "suppressed", suppressed)
	default:
		w.to.Log(context.Background(), level, text)
	}
	return len(line), nil
}

// admit tells whether a line may be logged, and how many of its kind were not in
// the window before.
func (w *logWriter) admit(name string) (suppressed int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.Sub(w.since) > logWindow {
		w.since = now
		for name, k := range w.kinds {
			if k.suppressed == 0 {
				delete(w.kinds, name)
			}
			k.lines = 0
		}
		if len(w.kinds) >= logKinds {
			clear(w.kinds)
		}
	}
	k := w.kinds[name]
	if k == nil {
		if len(w.kinds) >= logKinds {
			return 0, false
		}
		k = &kind{}
		w.kinds[name] = k
	}
	k.lines++
	if k.lines > logBurst {
		k.suppressed++
		return 0, false
	}
	suppressed, k.suppressed = k.suppressed, 0
	return suppressed, true
}
