package scheduler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/rules"
)

// version of the format; a later one is refused.
const version = 1

// States of an alert in a snapshot.
const (
	pending  = "pending"
	firing   = "firing"
	resolved = "resolved"
)

// snapshot is the state of a group after an evaluation.
type snapshot struct {
	Group    string  `json:"group"`
	Writer   string  `json:"writer"`   // instance of the member that evaluated
	Revision int64   `json:"revision"` // milliseconds since 1970, or more if the writer's clock is behind
	Alerts   []alert `json:"alerts,omitempty"`
}

// alert is one alert in a snapshot.
type alert struct {
	ruleID
	State       string            `json:"state"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Link        string            `json:"link,omitempty"`
	Value       number            `json:"value"`
	Active      time.Time         `json:"active"`
	Fired       time.Time         `json:"fired,omitzero"`
	Resolved    time.Time         `json:"resolved,omitzero"`
	Kept        time.Time         `json:"kept,omitzero"` // firing although the expression is not true, since
	Valid       time.Time         `json:"valid,omitzero"`
}

// number is a value that may be NaN or infinite.
type number float64

// MarshalText implements encoding.TextMarshaler.
func (n number) MarshalText() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(n), 'g', -1, 64), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *number) UnmarshalText(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	if errors.Is(err, strconv.ErrRange) && math.IsInf(f, 0) {
		err = nil
	}
	*n = number(f)
	return err
}

func (s snapshot) expired(now time.Time) bool {
	return now.UnixMilli()-s.Revision > retention.Milliseconds()
}

// external converts a to the form that is broadcast.
func external(id ruleID, a *rules.Alert, link string) alert {
	state := firing
	switch a.State {
	case rules.StatePending:
		state = pending
	case rules.StateInactive:
		state = resolved
	}
	return alert{
		ruleID: id, State: state, Labels: a.Labels.Map(), Annotations: a.Annotations.Map(), Link: link, Value: number(a.Value),
		Active: a.ActiveAt, Fired: a.FiredAt, Resolved: a.ResolvedAt, Kept: a.KeepFiringSince, Valid: a.ValidUntil,
	}
}

// postable lists the snapshot's alerts for a receiver.
func (s snapshot) postable(now time.Time) (all []*model.Alert) {
	for _, a := range s.Alerts {
		end := a.Valid
		switch {
		case a.State == resolved:
			end = a.Resolved
		case a.State == pending, end.Before(now):
			continue
		}
		all = append(all, &model.Alert{
			Labels: set(a.Labels), Annotations: set(a.Annotations), StartsAt: earlier(a.Fired, end), EndsAt: end, GeneratorURL: a.Link,
		})
	}
	return all
}

func set(m map[string]string) model.LabelSet {
	s := make(model.LabelSet, len(m))
	for name, value := range m {
		s[model.LabelName(name)] = model.LabelValue(value)
	}
	return s
}

type document struct {
	Version int        `json:"version"`
	Groups  []snapshot `json:"groups"`
}

func encode(all ...snapshot) ([]byte, error) { return json.Marshal(document{version, all}) }

// decode is strict: anything that a node of this version would not have written
// makes the whole document an error.
func decode(b []byte, now time.Time) ([]snapshot, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var doc document
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("rule groups: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("rule groups: there is data after the document")
	}
	if doc.Version != version {
		return nil, fmt.Errorf("rule groups: version %d is not %d", doc.Version, version)
	}
	for _, s := range doc.Groups {
		if err := s.validate(now); err != nil {
			return nil, fmt.Errorf("rule groups: group %.100q: %w", s.Group, err)
		}
	}
	return doc.Groups, nil
}

func (s snapshot) validate(now time.Time) error {
	switch {
	case s.Group == "":
		return errors.New("it has no name")
	case s.Writer == "":
		return errors.New("it has no writer")
	case s.Revision <= 0 || s.Revision > now.Add(maxSkew).UnixMilli():
		return fmt.Errorf("revision %d is not a time before tomorrow", s.Revision)
	}
	for _, a := range s.Alerts {
		if err := a.validate(); err != nil {
			return fmt.Errorf("rule %.100q: %w", a.Rule, err)
		}
	}
	return nil
}

func (a alert) validate() error {
	since := map[string]time.Time{pending: a.Active, firing: a.Fired, resolved: a.Resolved}
	t, known := since[a.State]
	switch {
	case !known:
		return fmt.Errorf("state %.20q is none of pending, firing, resolved", a.State)
	case t.IsZero():
		return fmt.Errorf("it is %s, without a time since when", a.State)
	case len(a.Labels) == 0:
		return errors.New("an alert has no labels")
	}
	if err := set(a.Labels).Validate(); err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	return nil
}
