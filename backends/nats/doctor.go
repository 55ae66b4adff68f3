package nats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/nats-io/nats.go"

	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// The stages of an opening, in order.
const (
	stageProtocol    = "protocol"
	stageAuth        = "auth"
	stagePermissions = "permissions"
	stagePayload     = "max_payload"
)

// What concerns the size of messages.
const (
	smallPayload = 64 << 10 // below it, frames are in so many pieces that it costs
	readLimit    = "read the server's limit"
	raiseLimit   = "raise max_payload of the server; its default is 1MB"
)

// examine is the backend's driver.ExamineFunc.
func examine(ctx context.Context, e driver.Examination) {
	s, err := parse(e.Params, e.Cluster, e.Self.Name)
	if err != nil {
		e.Fail("configuration", "decode the parameters", err, doctor.Advice(err, ""))
		return
	}
	if len(doctor.Reach(ctx, e, doctor.Resolve(ctx, e, s.Servers))) == 0 {
		return
	}
	config := func(host string) (*tls.Config, error) { return s.TLSConfigFor(host, s.TLSMinVersion) }
	if s.TLS && !doctor.Secure(ctx, e, s.Servers, config, passGreeting) {
		return
	}
	l, err := doctor.Listen(ctx, e, Open)
	failed := stageOf(err)
	if !doctor.Stages(e, []doctor.Stage{
		{Name: stageProtocol, Tried: "read the server's greeting", Fix: "correct the address or the port: a NATS server for clients is wanted, not its monitoring or its cluster port"},
		{Name: stageAuth, Tried: doctor.LogIn(s.Username), Fix: "correct the credentials, or the server's authorization"},
		{Name: stagePermissions, Tried: "subscribe and publish", Fix: "permit this user to publish and to subscribe to the subject that is named"},
	}, failed, err) {
		if failed == stagePayload {
			e.Fail(stagePayload, readLimit, err, raiseLimit)
		}
		return
	}
	defer l.Close()
	payload(e, l.Caps().MaxFrame)
	l.Hear(ctx)
}

// stageOf returns the stage at which an opening has failed; empty for nil.
func stageOf(err error) string {
	switch {
	case err == nil:
		return ""
	case isRefusal(err):
		return stageAuth
	case errors.Is(err, nats.ErrPermissionViolation):
		return stagePermissions
	case errors.Is(err, errSmallPayload):
		return stagePayload
	}
	return stageProtocol
}

// payload looks at the size of frames that the server allows.
func payload(e driver.Examination, frame int) {
	got := fmt.Sprintf("frames of up to %v", params.Bytes(frame))
	if frame < smallPayload {
		e.Warn(stagePayload, readLimit, got, raiseLimit)
		return
	}
	e.OK(stagePayload, readLimit, got)
}

// passGreeting reads the line that a server sends before TLS begins.
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
	return errors.New("what the server sends is no greeting of NATS")
}
