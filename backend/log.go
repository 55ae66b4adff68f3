package backend

import (
	"log/slog"

	"github.com/clusterchannel/clusterchannel/backend/driver/loglimit"
)

// limitedLog is a log whose warnings are limited by topic.
type limitedLog struct {
	*slog.Logger
	topics loglimit.Limiter
}

func newLimitedLog(l *slog.Logger) *limitedLog { return &limitedLog{Logger: l} }

// warn logs a line at most once a minute for each topic, and with it how many it
// has left out since.
func (l *limitedLog) warn(topic, msg string, args ...any) {
	suppressed, ok := l.topics.Allow(topic)
	if !ok {
		return
	}
	if suppressed > 0 {
		args = append(args, "suppressed", suppressed)
	}
	l.Warn(msg, args...)
}
