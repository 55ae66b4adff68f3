package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// others is how long the other Sentinels may take once one has answered.
const others = 500 * time.Millisecond

// unknownEpoch is that of a Sentinel which may not be asked for it.
const unknownEpoch = -1

// SentinelAnswer is what one Sentinel says of the master.
type SentinelAnswer struct {
	Sentinel string
	Master   string // host:port; empty if it gives none
	Epoch    int64  // of its configuration: each failover has a higher one
	Err      error  // goredis.Nil if it knows no such master
}

// sentinelError is an error of a Sentinel, not of a server.
type sentinelError struct {
	addr string
	err  error
}

func (e *sentinelError) Error() string { return "the Sentinel " + e.addr + ": " + e.err.Error() }
func (e *sentinelError) Unwrap() error { return e.err }

// sentinels finds the master that the Sentinels name.
type sentinels struct {
	client *Client
	asked  []*goredis.Client // in the order of the addresses
	at     SentinelAnswer    // which the node followed
	other  string            // the master that the last check found at the same epoch
}

func newSentinels(c *Client) *sentinels {
	s := &sentinels{client: c}
	for _, addr := range c.Config.Options.Addrs {
		asked := c.Config.toSentinel(c.life, addr)
		s.asked = append(s.asked, asked)
		c.keep(asked.Close)
	}
	return s
}

// AskSentinels returns what each Sentinel of config answers, or why it does not,
// in the order of the addresses.
func AskSentinels(ctx context.Context, config *Config, logger *slog.Logger) []SentinelAnswer {
	c := New(config, logger)
	defer c.Close()
	defer context.AfterFunc(ctx, c.end)()
	return c.servers.(*sentinels).ask(ctx, Timeout)
}

func (s *sentinels) find(ctx context.Context) (string, error) {
	answers := s.ask(ctx, others)
	best, _ := Follow(answers)
	if best.Master == "" {
		return "", s.unanswered(answers)
	}
	s.at = best
	return best.Master, nil
}

// check leaves the master for one of a higher epoch. At an equal epoch the
// Sentinels contradict each other for other reasons than a failover, and one that
// is late in answering must not move a node to and fro: two checks have to agree.
// A lower epoch is one that a Sentinel was left behind at, unless all have it.
func (s *sentinels) check(ctx context.Context, trouble func(string, error)) error {
	answers := s.ask(ctx, others)
	best, doubt := Follow(answers)
	trouble("sentinels", doubt)
	last := s.other
	s.other = ""
	if best.Master == "" || best.Epoch < s.at.Epoch && !all(answers, best.Master) {
		return nil
	}
	if best.Master == s.at.Master {
		s.at = best
		return nil
	}
	if best.Epoch <= s.at.Epoch && last != best.Master {
		s.other = best.Master
		return nil
	}
	return fmt.Errorf("redis: %w: the Sentinels name another master, %s, not %s", driver.ErrUnavailable, best.Master, s.at.Master)
}

// all reports whether every Sentinel names that master.
func all(answers []SentinelAnswer, master string) bool {
	return !slices.ContainsFunc(answers, func(a SentinelAnswer) bool { return a.Master != master })
}

// Follow returns the answer that a node follows: of the highest epoch, and then
// that of most. doubt says how the Sentinels contradict each other.
func Follow(answers []SentinelAnswer) (best SentinelAnswer, doubt error) {
	votes, named := map[string]int{}, []string(nil)
	for _, a := range answers {
		if a.Master == "" {
			continue
		}
		if best.Master == "" || a.Epoch > best.Epoch {
			best = a
		}
		if !slices.Contains(named, a.Master) {
			named = append(named, a.Master)
		}
	}
	for _, a := range answers {
		if a.Master != "" && a.Epoch == best.Epoch {
			votes[a.Master]++
		}
	}
	for _, master := range slices.Sorted(slices.Values(named)) { // so that all nodes choose the same
		if votes[master] > votes[best.Master] || votes[master] == votes[best.Master] && master < best.Master {
			best.Master = master
		}
	}
	if len(named) > 1 {
		doubt = fmt.Errorf("they name different masters: %s; this node follows %s", said(answers), best.Master)
	}
	return best, doubt
}

func said(answers []SentinelAnswer) string {
	var all []string
	for _, a := range answers {
		if a.Master != "" {
			all = append(all, fmt.Sprintf("%s says %s at epoch %d", a.Sentinel, a.Master, a.Epoch))
		}
	}
	return strings.Join(all, ", ")
}

// unanswered says why no master was found.
func (s *sentinels) unanswered(answers []SentinelAnswer) error {
	var failures []error
	for _, a := range answers {
		if a.Err != nil && !errors.Is(a.Err, goredis.Nil) {
			failures = append(failures, &sentinelError{a.Sentinel, a.Err})
		}
	}
	if len(failures) < len(answers) {
		failures = []error{&sentinelError{answers[0].Sentinel, goredis.Nil}}
	}
	return s.client.Config.Explain("SENTINEL GET-MASTER-ADDR-BY-NAME "+s.client.Config.Options.MasterName, errors.Join(failures...))
}

// ask asks all Sentinels at once. Once one has named a master the others have
// patience left.
func (s *sentinels) ask(ctx context.Context, patience time.Duration) []SentinelAnswer {
	answers := make([]SentinelAnswer, len(s.asked))
	type result struct {
		i int
		SentinelAnswer
	}
	results := make(chan result, len(s.asked))
	for i, asked := range s.asked {
		answers[i] = SentinelAnswer{Sentinel: s.client.Config.Options.Addrs[i], Err: context.DeadlineExceeded}
		if !s.client.start(func() { results <- result{i, s.askOne(ctx, asked)} }) {
			answers[i].Err = driver.ErrClosed
			results <- result{i, answers[i]}
		}
	}
	late, first := time.NewTimer(Timeout), true
	defer late.Stop()
	for range s.asked {
		select {
		case r := <-results:
			r.Sentinel = answers[r.i].Sentinel
			answers[r.i] = r.SentinelAnswer
			if r.Master != "" && first {
				late.Reset(patience)
				first = false
			}
		case <-late.C:
			return answers
		case <-ctx.Done():
			return answers
		}
	}
	return answers
}

// askOne asks for the address and the epoch. During a failover the description of
// the master has the new epoch before the new address, so the address is asked for
// by itself.
func (s *sentinels) askOne(ctx context.Context, asked *goredis.Client) SentinelAnswer {
	name := s.client.Config.Options.MasterName
	where := goredis.NewStringSliceCmd(ctx, "sentinel", "get-master-addr-by-name", name)
	what := goredis.NewMapStringStringCmd(ctx, "sentinel", "master", name)
	_, err := asked.Pipelined(ctx, func(p goredis.Pipeliner) error {
		return errors.Join(p.Process(ctx, where), p.Process(ctx, what))
	})
	addr, whereErr := where.Result()
	switch {
	case whereErr != nil:
		return SentinelAnswer{Err: whereErr}
	case len(addr) != 2:
		return SentinelAnswer{Err: cmp.Or(err, error(goredis.Nil))}
	}
	a := SentinelAnswer{Master: net.JoinHostPort(addr[0], addr[1]), Epoch: unknownEpoch}
	if epoch, err := strconv.ParseInt(what.Val()["config-epoch"], 10, 64); err == nil {
		a.Epoch = epoch
	}
	return a
}
