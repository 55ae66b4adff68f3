package backend

import (
	"context"
	"log/slog"

	"github.com/clusterchannel/clusterchannel/backend/driver/loglimit"
)

// limitedLog is a log whose warnings are limited by topic.
type limitedLog struct {
	*slog.Logger
	topics  loglimit.Limiter
	members loglimit.Limiter
}

// memberLines is how many members are logged a minute as joined, and as many as left and
// as failed: whoever reaches the transport may be able to invent some.
const memberLines = 64

func newLimitedLog(l *slog.Logger) *limitedLog {
	return &limitedLog{Logger: l, members: loglimit.Limiter{Burst: memberLines}}
}

// member logs what became of a member.
func (l *limitedLog) member(level slog.Level, msg string, args ...any) {
	l.limited(&l.members, msg, level, msg, args...)
}

// warn logs a line at most once a minute for each topic, and with it how many it
// has left out since.
func (l *limitedLog) warn(topic, msg string, args ...any) {
	l.limited(&l.topics, topic, slog.LevelWarn, msg, args...)
}

// limited logs a line if its topic allows it, and how many of the topic were left out
// before.
func (l *limitedLog) limited(limits *loglimit.Limiter, topic string, level slog.Level, msg string, args ...any) {
	suppressed, ok := limits.Allow(topic)
	if !ok {
		return
	}
	if suppressed > 0 {
		args = append(args, "suppressed", suppressed)
	}
	l.Log(context.Background(), level, msg, args...)
}
