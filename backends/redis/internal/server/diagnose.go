package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// diagnosis is how long each question of a diagnosis may take.
const diagnosis = time.Second

// Diagnose finds out why an endpoint does not let this node subscribe, when the
// connection just ended or nothing was answered: it asks simpler questions, one
// of them about channel.
func (c *Client) Diagnose(ctx context.Context, cause error, channel string) error {
	var network net.Error
	silent := errors.Is(cause, context.DeadlineExceeded) || errors.As(cause, &network) && network.Timeout()
	ended := errors.Is(cause, io.EOF) || errors.Is(cause, io.ErrUnexpectedEOF) || errors.As(cause, &network) && !network.Timeout()
	if !c.Config.single() || ctx.Err() != nil {
		return cause
	}
	found := error(nil)
	switch plain := new(Config); {
	case silent && c.Config.TLS != nil && c.answers(ctx, plain, "PING") != "":
		found = errPlain
	case ended && c.Config.TLS == nil && c.handshakes(ctx):
		found = errTLS
	case ended && c.answers(ctx, c.Config, "PING") == "+PONG" && c.answers(ctx, c.Config, "SUBSCRIBE", channel) == "":
		found = errNoPubSub
	default:
		return cause
	}
	return fmt.Errorf("%w: %w", found, cause)
}

// answers returns the first line that the endpoint answers to a command, or
// nothing.
func (c *Client) answers(ctx context.Context, config *Config, command ...string) string {
	conn, err := config.Dialer(c.life)(ctx, "tcp", c.Config.Options.Addrs[0])
	if err != nil {
		return ""
	}
	defer conn.Close() //nolint:errcheck // only the answer counts
	text := fmt.Sprintf("*%d\r\n", len(command))
	for _, word := range command {
		text += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
	}
	if conn.SetDeadline(time.Now().Add(diagnosis)) != nil {
		return ""
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return ""
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimSpace(line)
}

// handshakes reports whether the endpoint speaks TLS, whether or not it accepts
// this node.
func (c *Client) handshakes(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, diagnosis)
	defer cancel()
	conn, err := new(Config).Dialer(c.life)(ctx, "tcp", c.Config.Options.Addrs[0])
	if err != nil {
		return false
	}
	defer conn.Close() //nolint:errcheck // only the handshake counts
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
	var alert tls.AlertError
	return err == nil || errors.As(err, &alert)
}
