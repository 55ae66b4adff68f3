package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"
)

const (
	demoPatience = 60 * time.Second // for anything that should happen
	afterwards   = 3 * time.Second  // beyond group_wait and the last position's turn
)

// show runs the demo step by step, and keeps the result of each.
type show struct {
	demo   *demoCmd
	fleet  *fleet
	sink   *sink
	alerts []alert
	out    io.Writer

	members []memberRow
	steps   []step
}

type memberRow struct {
	Name     string `json:"name"`
	Position int    `json:"position"`
	URL      string `json:"url"`
}

// step is one expectation.
type step struct {
	Expect  string  `json:"expect"`
	Got     string  `json:"got"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
}

type outcome struct {
	Backend string      `json:"backend"`
	OK      bool        `json:"ok"`
	Error   string      `json:"error,omitempty"`
	Members []memberRow `json:"members"`
	Steps   []step      `json:"steps"`
}

func (s *show) outcome(err error) outcome {
	o := outcome{Backend: s.demo.Backend, OK: err == nil, Members: s.members, Steps: s.steps}
	if err != nil {
		o.Error = err.Error()
	}
	return o
}

func (s *show) run(ctx context.Context) error {
	s.printf("%d nodes on %s, each with the shipped alertmanager.yml; every alert goes to one webhook.\n\n", s.demo.Nodes, s.demo.Backend)
	for _, part := range []func(context.Context) error{s.open, s.deliver, s.silence, s.lose, s.back} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	s.printf("\nAll %d expectations met.\n", len(s.steps))
	return nil
}

// open starts the nodes, and shows members and positions.
func (s *show) open(ctx context.Context) error {
	for _, n := range s.fleet.nodes {
		if err := s.fleet.start(n); err != nil {
			return err
		}
	}
	err := s.step(ctx, fmt.Sprintf("%d nodes agree on positions 0 to %d", s.demo.Nodes, s.demo.Nodes-1), func(ctx context.Context) (string, error) {
		return "", s.agree(ctx, s.fleet.nodes)
	})
	if err != nil {
		return err
	}
	if s.demo.JSON {
		return nil
	}
	w := tabwriter.NewWriter(s.out, 0, 8, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "\n  MEMBER\tPOSITION\tAPI") // checked by Flush
	for _, m := range s.members {
		_, _ = fmt.Fprintf(w, "  %s\t%d\t%s\n", m.Name, m.Position, m.URL)
	}
	_, _ = fmt.Fprintln(w)
	return w.Flush()
}

// agree reports whether all of nodes are ready, see each other and nobody else,
// and have their positions in order.
func (s *show) agree(ctx context.Context, nodes []*child) error {
	rows := make([]memberRow, len(nodes))
	for i, n := range nodes {
		st, err := n.state(ctx)
		if err != nil {
			return err
		}
		if st.members != len(nodes) || st.position != i {
			return fmt.Errorf("%s is at position %d of %d members", n.name, st.position, st.members)
		}
		rows[i] = memberRow{n.name, i, "http://" + n.web}
	}
	s.members = rows
	return nil
}

// deliver posts the alerts to all nodes.
func (s *show) deliver(ctx context.Context) error {
	return s.once(ctx, "alerts posted to all nodes", s.alerts, s.fleet.nodes, s.fleet.nodes)
}

// once posts alerts to nodes and expects one delivery of each, from the first of
// the senders.
func (s *show) once(ctx context.Context, what string, alerts []alert, nodes, senders []*child) error {
	expect := fmt.Sprintf("%d %s: 1 delivery each, from position 0, %s", len(alerts), what, senders[0].name)
	for _, n := range nodes {
		if _, err := n.call(ctx, http.MethodPost, "/api/v2/alerts", alerts); err != nil {
			return err
		}
	}
	posted := time.Now()
	if err := s.poll(ctx, func(context.Context) (string, error) {
		for _, a := range alerts {
			if len(s.sink.of(a.Labels)) == 0 {
				return "", fmt.Errorf("%v was not delivered", a.Labels)
			}
		}
		return "", nil
	}); err != nil {
		return s.failed(expect, err)
	}
	if err := s.turns(ctx, posted, len(senders)); err != nil {
		return err
	}
	return s.step(ctx, expect, func(context.Context) (string, error) {
		took := time.Duration(0)
		for _, a := range alerts {
			got := s.sink.of(a.Labels)
			if len(got) != 1 {
				return "", fmt.Errorf("%w: %v was delivered %d times: %v", errFinal, a.Labels, len(got), got)
			}
			if want := "http://" + senders[0].web; got[0].from != want {
				return "", fmt.Errorf("%w: %v was delivered by %s, not by %s", errFinal, a.Labels, got[0].from, want)
			}
			took = max(took, got[0].at.Sub(posted))
		}
		return fmt.Sprintf("%d, the last %.1f s after posting", len(alerts), took.Seconds()), nil
	})
}

// turns waits until every position has had its turn to send.
func (s *show) turns(ctx context.Context, since time.Time, nodes int) error {
	t := time.NewTimer(time.Until(since.Add(time.Duration(nodes-1)*s.fleet.peerTimeout + afterwards)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// silence creates a silence on one node and looks for it on all.
func (s *show) silence(ctx context.Context) error {
	maker := s.fleet.nodes[1]
	now := time.Now()
	b, err := maker.call(ctx, http.MethodPost, "/api/v2/silences", map[string]any{
		"matchers": []map[string]any{{"name": "alertname", "value": "Maintenance", "isRegex": false, "isEqual": true}},
		"startsAt": now, "endsAt": now.Add(time.Hour),
		"createdBy": "demo", "comment": "made on " + maker.name,
	})
	if err != nil {
		return err
	}
	var made struct {
		ID string `json:"silenceID"`
	}
	if err := json.Unmarshal(b, &made); err != nil {
		return err
	}
	return s.step(ctx, fmt.Sprintf("a silence made on %s is seen by all %d", maker.name, s.demo.Nodes), func(ctx context.Context) (string, error) {
		return "", s.silenced(ctx, made.ID)
	})
}

// silenced reports whether all nodes have the silence.
func (s *show) silenced(ctx context.Context, id string) error {
	for _, n := range s.fleet.nodes {
		if _, err := n.call(ctx, http.MethodGet, "/api/v2/silence/"+id, nil); err != nil {
			return err
		}
	}
	return nil
}

// lose kills the node at position 0.
func (s *show) lose(ctx context.Context) error {
	s.fleet.nodes[0].kill()
	rest := s.fleet.nodes[1:]
	if err := s.step(ctx, fmt.Sprintf("%s is killed: the others drop it and move up", s.fleet.nodes[0].name), func(ctx context.Context) (string, error) {
		return "", s.agree(ctx, rest)
	}); err != nil {
		return err
	}
	return s.once(ctx, "alert posted to the survivors", s.afterLoss(), rest, rest)
}

// afterLoss is an alert that was not there before.
func (s *show) afterLoss() []alert {
	return []alert{{Labels: map[string]string{"alertname": "NodeDown", "instance": s.fleet.nodes[0].name}}}
}

// back starts the killed node again and checks that it knows everything.
func (s *show) back(ctx context.Context) error {
	first := s.fleet.nodes[0]
	if err := s.fleet.start(first); err != nil {
		return err
	}
	if err := s.step(ctx, first.name+" is back at position 0", func(ctx context.Context) (string, error) {
		return "", s.agree(ctx, s.fleet.nodes)
	}); err != nil {
		return err
	}
	if err := s.step(ctx, "it has the silence", func(ctx context.Context) (string, error) {
		b, err := first.call(ctx, http.MethodGet, "/api/v2/silences", nil)
		if err != nil {
			return "", err
		}
		var all []json.RawMessage
		if err := json.Unmarshal(b, &all); err != nil {
			return "", err
		}
		if len(all) == 0 {
			return "", errors.New("it has none")
		}
		return fmt.Sprintf("%d", len(all)), nil
	}); err != nil {
		return err
	}
	all := append(s.afterLoss(), s.alerts...)
	if _, err := first.call(ctx, http.MethodPost, "/api/v2/alerts", all); err != nil {
		return err
	}
	if err := s.turns(ctx, time.Now(), 1); err != nil {
		return err
	}
	return s.step(ctx, fmt.Sprintf("it has the notification log: given all %d alerts again, it sends none", len(all)), func(context.Context) (string, error) {
		for _, a := range all {
			if got := s.sink.of(a.Labels); len(got) != 1 {
				return "", fmt.Errorf("%w: %v was delivered %d times", errFinal, a.Labels, len(got))
			}
		}
		return "0 sent", nil
	})
}

// errFinal marks an error that waiting cannot fix.
var errFinal = errors.New("not as expected")

// step waits until check succeeds, and notes and prints it.
func (s *show) step(ctx context.Context, expect string, check func(context.Context) (string, error)) error {
	start := time.Now()
	got := ""
	err := s.poll(ctx, func(ctx context.Context) (g string, err error) {
		got, err = check(ctx)
		return got, err
	})
	if err != nil {
		return s.failed(expect, err)
	}
	took := time.Since(start).Seconds()
	if got == "" {
		got = fmt.Sprintf("after %.3f s", took)
	}
	s.steps = append(s.steps, step{Expect: expect, Got: got, OK: true, Seconds: took})
	s.printf("  ok      %s: %s\n", expect, got)
	return nil
}

func (s *show) failed(expect string, err error) error {
	if errors.Is(err, context.Canceled) { // the demo, not what it shows, was ended
		return err
	}
	s.steps = append(s.steps, step{Expect: expect, Got: err.Error()})
	s.printf("  FAILED  %s: %v\n", expect, err)
	return fmt.Errorf("expected: %s; got: %w", expect, err)
}

// poll calls check until it succeeds, patience ends, or waiting cannot help.
func (s *show) poll(ctx context.Context, check func(context.Context) (string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := check(ctx)
		if err == nil || errors.Is(err, errFinal) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

func (s *show) printURLs() {
	s.printf("\nRunning until interrupted. The cluster is at http://%s/status, alerts and silences at http://%[1]s/. For example:\n  amtool --alertmanager.url=http://%[1]s silence query\n  curl http://%[2]s/api/v2/status\n",
		s.fleet.nodes[0].web, s.fleet.nodes[1].web)
}

func (s *show) printf(format string, args ...any) {
	if !s.demo.JSON {
		_, _ = fmt.Fprintf(s.out, format, args...) // nobody to tell when stdout is gone
	}
}
