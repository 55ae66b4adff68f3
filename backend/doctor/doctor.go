// Package doctor examines a backend for an operator who asks why a node does not
// find its cluster: step by step, from the parameters to a frame that is heard.
//
// [Run] does all of it, for any backend. The other functions are steps that
// examinations share: a backend calls them in its own [driver.ExamineFunc],
// between its own steps. Each step reports what it has found, and its result
// says whether to go on.
package doctor

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// The defaults of an Examination.
const (
	defaultTimeout = 5 * time.Second
	maxBytes       = 64 << 20
)

// Run examines b as e says. It sets Logger, MaxBytes, Self.Instance and Timeout
// if e leaves them out. It does not become a member of the cluster. No finding
// shows the value of a secret parameter. A panic of the backend is a finding.
func Run(ctx context.Context, b driver.Backend, e driver.Examination) {
	e.Timeout = cmp.Or(e.Timeout, defaultTimeout)
	e.MaxBytes = cmp.Or(e.MaxBytes, maxBytes)
	e.Self.Instance = cmp.Or(e.Self.Instance, "doctor-"+nonce())
	if e.Logger == nil {
		e.Logger = slog.New(slog.DiscardHandler)
	}
	report := e.Report
	e.Report = func(f driver.Finding) { report(redact(f, e.Params, b.Params)) }
	examine := b.Examine
	if examine == nil {
		examine = func(ctx context.Context, e driver.Examination) { openAndHear(ctx, e, b.Open) }
	}
	defer func() {
		if p := recover(); p != nil {
			e.Fail("examination", "go through the steps", fmt.Errorf("the backend panicked: %v", p), "report it to the authors of the backend")
		}
	}()
	examine(ctx, e)
}

func redact(f driver.Finding, raw map[string]string, of any) driver.Finding {
	for _, text := range []*string{&f.Tried, &f.Got, &f.Fix} {
		*text = params.RedactText(*text, raw, of)
	}
	return f
}

// openAndHear is for a backend without an ExamineFunc.
func openAndHear(ctx context.Context, e driver.Examination, open driver.OpenFunc) {
	const name, tried = "attach", "open the backend"
	l, err := Listen(ctx, e, open)
	if err != nil {
		e.Fail(name, tried, err, Advice(err, "see the documentation of the backend"))
		return
	}
	defer l.Close()
	e.OK(name, tried, "it is open")
	l.Hear(ctx)
}

// Advice returns what to do about err: if the configuration is bad, correct the
// key that it names, else general.
func Advice(err error, general string) string {
	if errors.Is(err, driver.ErrConfig) {
		return "correct the key that is named"
	}
	return general
}

// LogIn names the attempt to log in as username, which may be empty.
func LogIn(username string) string {
	if username == "" {
		return "log in"
	}
	return fmt.Sprintf("log in as %q", username)
}

// A Stage is one part of something that only succeeds or fails as a whole.
type Stage struct {
	Name, Tried string
	Fix         string // what to do if it fails; empty leaves it to the error, or the log of the server
}

// Stages reports that the stages before the one called failed went well, and that
// this one failed with err. Where err is nil all went well. It reports whether
// they did.
func Stages(e driver.Examination, stages []Stage, failed string, err error) bool {
	for _, s := range stages {
		if err != nil && s.Name == failed {
			e.Fail(s.Name, s.Tried, err, cmp.Or(s.Fix, Advice(err, "see the log of the server at this minute")))
			return false
		}
		e.OK(s.Name, s.Tried, "ok")
	}
	return err == nil
}

// nonce returns a text that nobody else has.
func nonce() string { return strings.ToLower(rand.Text()[:10]) }
