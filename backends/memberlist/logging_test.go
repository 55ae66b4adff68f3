package memberlist

import (
	"io"
	"log/slog"
	"strings"
	"testing"
)

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestLogLevelsAndLimit(t *testing.T) {
	var out strings.Builder
	l := newLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
	l.Print("[DEBUG] memberlist: too much to tell")
	l.Print("[INFO] memberlist: Marking x as failed")
	l.Print("[ERR] memberlist: a stranger called")
	l.Print("[ERR] memberlist: Failed to send UDP ping: write udp 127.0.0.1:1->127.0.0.1:2: use of closed network connection")
	l.Print("no mark")
	for i := range 1000 {
		l.Printf("[WARN] memberlist: garbage %d from=10.0.0.%d:1", i, i%255)
	}
	text := out.String()
	for want, n := range map[string]int{"too much": 0, "level=INFO msg=\"Marking x": 1, "level=WARN msg=\"a stranger": 1, "level=WARN msg=\"no mark": 1, "garbage": 5, "closed": 0} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("%q is logged %d times, want %d:\n%s", want, got, n, text)
		}
	}
}
