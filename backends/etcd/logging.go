package etcd

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newZap returns the logger for etcd's client. Its warnings are logged at level
// debug: what they report also comes back as an error. The lower levels write a
// line for every call.
func newZap(to *slog.Logger) *zap.Logger { return zap.New(&core{to: to}) }

// core writes zap's lines to a slog.Logger.
type core struct {
	to     *slog.Logger
	fields []zapcore.Field
}

func (c *core) Enabled(level zapcore.Level) bool {
	return level >= zapcore.WarnLevel && c.to.Enabled(context.Background(), slog.LevelDebug)
}

func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{c.to, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c *core) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	values := zapcore.NewMapObjectEncoder()
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		f.AddTo(values)
	}
	attrs := []any{slog.String("library", "etcd"), slog.String("level", e.Level.String())}
	for key, value := range values.Fields {
		attrs = append(attrs, slog.Any(key, value))
	}
	c.to.Debug(e.Message, attrs...)
	return nil
}

func (c *core) Sync() error { return nil }
