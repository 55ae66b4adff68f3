package main

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backends/nats"
)

// examineNATS goes from the address to a frame that is heard.
func (d *doctor) examineNATS(ctx context.Context, config backend.Config) {
	var p nats.Params
	if err := params.Decode(config.Params, &p); err != nil {
		d.fail("configuration", "decode the parameters", err, "correct the key that is named")
		return
	}
	var endpoints []string
	for _, s := range p.Servers {
		endpoints = append(endpoints, strings.TrimPrefix(s, "nats://"))
	}
	endpoints = withPort(endpoints, "4222")
	if len(d.reach(ctx, d.resolve(ctx, endpoints))) == 0 {
		return
	}
	if p.TLS && !d.secure(ctx, endpoints, brokerTLS(p.Params, p.TLSMinVersion), passGreeting) {
		return
	}
	node, err := d.open(ctx, config, nats.Open)
	tried := map[string]string{
		"protocol": "read the server's greeting", "auth": "log in" + asUser(p.Username), "permissions": "subscribe and publish", "max_payload": "read the server's limit",
	}
	for _, name := range []string{"protocol", "auth", "permissions", "max_payload"} {
		if name == natsStep(err) {
			d.fail(name, tried[name], err, natsMend[name])
			return
		}
		if name != "max_payload" {
			d.ok(name, tried[name], "it is taken")
		}
	}
	defer node.close()
	d.maxPayload(tried["max_payload"], node.Caps().MaxFrame)
	d.hear(ctx, node)
}

var natsMend = map[string]string{
	"protocol":    "correct the address or the port: a NATS server for clients is wanted, not its monitoring or its cluster port",
	"auth":        "correct the credentials, or the server's authorization",
	"permissions": "permit this user to publish and to subscribe to the subject that is named",
	"max_payload": "raise max_payload of the server; its default is 1MB",
}

// passGreeting reads the line that a NATS server sends before TLS begins.
func passGreeting(conn net.Conn) error {
	var line []byte
	for b := make([]byte, 1); len(line) < 64<<10; line = append(line, b[0]) {
		if _, err := conn.Read(b); err != nil {
			return fmt.Errorf("the server sends no greeting: %w", err)
		}
		if b[0] == '\n' {
			return nil
		}
	}
	return fmt.Errorf("what the server sends is no greeting of NATS")
}

// natsStep returns which step the error of the driver is about; empty where
// there is none.
func natsStep(err error) string {
	if err == nil {
		return ""
	}
	text := strings.ToLower(err.Error())
	switch {
	case containsAny(text, "refuses the credentials", "authorization violation", "authentication"):
		return "auth"
	case containsAny(text, "needs to publish", "permissions violation"):
		return "permissions"
	case containsAny(text, "max_payload"):
		return "max_payload"
	}
	return "protocol"
}

// smallPayload is from where on frames are in so many pieces that it costs.
const smallPayload = 64 << 10

func (d *doctor) maxPayload(tried string, frame int) {
	got := fmt.Sprintf("frames of up to %v", params.Bytes(frame))
	if frame < smallPayload {
		d.warn("max_payload", tried, got, natsMend["max_payload"])
		return
	}
	d.ok("max_payload", tried, got)
}
