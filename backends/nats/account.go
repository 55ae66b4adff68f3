package nats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// standing is what one server says of this user's account.
type standing struct {
	server        string
	Connections   int   `json:"conns"`
	LeafNodes     int   `json:"leafnodes"`
	SlowConsumers int64 `json:"slow_consumers"` // ended since the server was started
}

const (
	// askAccount is a subject that each server answers for the account of who asks.
	askAccount = "$SYS.REQ.ACCOUNT.PING.STATZ"

	// quiet is how long after an answer another one may come.
	quiet = 500 * time.Millisecond
)

// askServers asks the servers that are connected with this one for the account, in
// the order of their names. One at which nobody of the account is does not answer.
func (s settings) askServers(ctx context.Context) ([]standing, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d := newDialer()
	defer context.AfterFunc(ctx, d.close)()
	nc, err := nats.Connect(s.urls(), append([]nats.Option{
		nats.Name(s.ClientName), nats.SetCustomDialer(d), nats.SkipHostLookup(), nats.NoReconnect(), nats.Timeout(connectTimeout),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { cancel(err) }),
	}, s.access...)...)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err == nil {
		err = nc.PublishRequest(askAccount, inbox, nil)
	}
	if err != nil {
		return nil, err
	}
	var all []standing
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case err == nil && len(m.Data) > 0: // an empty one says that nobody answers
			found, err := readStanding(m.Data)
			if err != nil {
				return nil, err
			}
			all = append(all, found)
			defer time.AfterFunc(quiet, func() { cancel(nil) }).Stop()
		case len(all) > 0:
			slices.SortFunc(all, func(a, b standing) int { return strings.Compare(a.server, b.server) })
			return all, nil
		default:
			return nil, cmp.Or(context.Cause(ctx), err, nats.ErrNoResponders)
		}
	}
}

func readStanding(answer []byte) (standing, error) {
	var a struct {
		Server struct{ Name string }
		Data   struct {
			Accounts []standing `json:"account_statz"`
		}
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return standing{}, fmt.Errorf("it cannot be read: %w", err)
	}
	s := standing{server: a.Server.Name}
	if len(a.Data.Accounts) > 0 {
		s = a.Data.Accounts[0]
		s.server = a.Server.Name
	}
	return s, nil
}

// account reports what the servers say of this user's account: clients that did
// not keep up, and leaf nodes.
func account(ctx context.Context, e driver.Examination, s settings) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	const name, slow, leafs, tried = "account", "slow consumers", "leaf nodes", "ask the servers about this account"
	all, err := s.askServers(ctx)
	if err != nil {
		got := err.Error()
		if errors.Is(err, nats.ErrPermissionViolation) {
			got = "this user must not ask"
		}
		e.Skip(name, tried, got, "this is no fault: look for \"Slow Consumer\" in the log of the servers, and at \"nats server report connections\"")
		return
	}
	var names, cut, held []string
	for _, one := range all {
		names = append(names, fmt.Sprintf("%s with %d connections", one.server, one.Connections))
		if one.SlowConsumers > 0 {
			cut = append(cut, fmt.Sprintf("%d by %s", one.SlowConsumers, one.server))
		}
		if one.LeafNodes > 0 {
			held = append(held, fmt.Sprintf("%d at %s", one.LeafNodes, one.server))
		}
	}
	e.OK(name, tried, strings.Join(names, ", "))
	if len(cut) > 0 {
		e.Warn(slow, tried, "connections of clients that did not keep up were ended: "+strings.Join(cut, ", "),
			"\"Slow Consumer\" in the log of the server names them; give such a node processor time or a faster link, or raise write_deadline; "+
				"what a node drops itself is in clusterchannel_frames_rejected_total")
	} else {
		e.OK(slow, tried, "none since they were started")
	}
	if len(held) > 0 {
		e.OK(leafs, tried, strings.Join(held, ", "))
	} else {
		e.OK(leafs, tried, "none; if one should be here, its log says why it is not connected")
	}
}
