package nats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

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
	up, down := reach(ctx, e, s.Servers)
	if len(up) == 0 {
		return
	}
	if len(down) > 0 {
		announced(ctx, e, up, down)
	}
	config := func(host string) (*tls.Config, error) { return s.TLSConfigFor(host, s.TLSMinVersion) }
	if s.TLS && !doctor.Secure(ctx, e, up, config, passGreeting) {
		return
	}
	if s.CredsFile != "" {
		credentials(e, s.CredsFile)
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
	compareServers(ctx, e, up, l)
	l.Hear(ctx)
	account(ctx, e, s)
}

// soon is when credentials should have been replaced.
const soon = 24 * time.Hour

// credentials looks at how long a file of credentials is good for.
func credentials(e driver.Examination, path string) {
	const name, fix = "credentials", "put new ones into the file; nodes read it at each connection"
	tried := "read in " + path + " until when the credentials are valid"
	switch end, err := validUntil(path); {
	case err != nil:
		e.Skip(name, tried, err.Error(), "look at them by \"nsc describe user\"")
	case end.IsZero():
		e.OK(name, tried, "for ever")
	case time.Now().After(end):
		e.Fail(name, tried, fmt.Errorf("they have expired, on %s", end.Format(time.RFC3339)), fix)
	case time.Until(end) < soon:
		e.Warn(name, tried, "they expire on "+end.Format(time.RFC3339), fix)
	default:
		e.OK(name, tried, "until "+end.Format(time.RFC3339))
	}
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
