//go:build !race

package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// of makes a mutant of a transport that knows its members.
func (r roster) of() func(driver.OpenFunc) driver.OpenFunc { return r.over }

// saying is a transport that says something else of a node than what is so.
func saying(alter func(*driver.Member)) func(driver.OpenFunc) driver.OpenFunc {
	return roster{says: func(m driver.Member) driver.Member {
		alter(&m)
		return m
	}}.of()
}

// meta alters a copy of each value of a node's metadata.
func meta(alter func(string) string) func(driver.OpenFunc) driver.OpenFunc {
	return saying(func(m *driver.Member) {
		altered := map[string]string{}
		for k, v := range m.Meta {
			altered[k] = alter(v)
		}
		m.Meta = altered
	})
}

// rosterMutants are the faults of a driver whose transport knows its members.
var rosterMutants = []mutant{
	{name: "cuts names at 63 bytes", check: "names/members", driver: saying(func(m *driver.Member) { m.Name = m.Name[:min(63, len(m.Name))] })},
	{name: "folds names", check: "names/members", driver: saying(func(m *driver.Member) { m.Name = strings.ToLower(m.Name) })},
	{name: "takes the first label of a name", check: "names/members", driver: saying(func(m *driver.Member) { m.Name, _, _ = strings.Cut(m.Name, ".") })},
	{name: "writes names as in a subject", check: "names/members", driver: saying(func(m *driver.Member) { m.Name = strings.NewReplacer(".", "_", ":", "_").Replace(m.Name) })},
	{name: "trims metadata", check: "names/metadata", driver: meta(strings.TrimSpace)},
	{name: "cuts metadata at a line break", check: "names/metadata", driver: meta(func(v string) string { v, _, _ = strings.Cut(v, "\n"); return v })},
	{name: "leaves only ASCII in metadata", check: "names/metadata", driver: meta(func(v string) string {
		return strings.Map(func(r rune) rune { return min(r, '?') }, v)
	})},
	{name: "ends metadata at a NUL", check: "names/metadata", driver: meta(func(v string) string { v, _, _ = strings.Cut(v, "\x00"); return v })},
	{name: "composes what is decomposed", check: "names/metadata", driver: meta(func(v string) string { return strings.ReplaceAll(v, "e\u0301", "\u00e9") })},
	{name: "folds the keys of metadata", check: "names/metadata", driver: saying(func(m *driver.Member) {
		folded := map[string]string{}
		for k, v := range m.Meta {
			folded[strings.ToLower(k)] = v
		}
		m.Meta = folded
	})},
	{name: "leaves out empty metadata", check: "names/metadata", driver: saying(func(m *driver.Member) {
		kept := map[string]string{}
		for k, v := range m.Meta {
			if v != "" {
				kept[k] = v
			}
		}
		m.Meta = kept
	})},
	{name: "turns metadata into text", check: "names/metadata", driver: saying(func(m *driver.Member) { m.Meta = map[string]string{"meta": fmt.Sprint(m.Meta)} })},
	{name: "loses metadata when it is opened again", check: "names/metadata", driver: onlyOnceMeta()},
	{name: "lists this node twice", check: "names/listed", driver: roster{lists: func(_ string, all []driver.Member) []driver.Member { return append(all, all[0]) }}.of()},
	{name: "does not list this node", check: "names/listed", driver: roster{lists: func(self string, all []driver.Member) []driver.Member {
		var others []driver.Member
		for _, m := range all {
			if m.Instance != self {
				others = append(others, m)
			}
		}
		return others
	}}.of()},
	{name: "gives all the address of the server", check: "names/listed", driver: roster{lists: func(_ string, all []driver.Member) []driver.Member {
		for i := range all {
			all[i].Addr = "server:1883"
		}
		return all
	}}.of()},
	{name: "does not list who has the name of another", check: "members/same-name-twice", driver: roster{lists: oneOfEach}.of()},
	{name: "keeps who has left", check: "members/leave-is-prompt", driver: roster{byes: func(_ driver.Handler, _ driver.Member, list func()) { list() }, lists: keepAll()}.of()},
	{name: "takes a crash for a goodbye, as a will", check: "members/crash-is-detected", driver: will()},
	{name: "stops renewing its lease", check: "members/no-flap", driver: roster{beats: func(n int) bool { return n < 20 }}.of()},
	{name: "hears nothing and is listed", check: "broadcast/reaches-others", driver: roster{hears: func(*rosterDriver, driver.Handler, []byte) {}}.of()},
	{name: "says nothing of a loss", check: "fault/half-open", driver: roster{links: func(h driver.Handler, err error) {
		if err == nil {
			h.Link(nil)
		}
	}}.of()},
	{name: "sends what is for one to all", check: "driver/send-to-one", driver: roster{sends: func(string) string { return "*" }}.of()},
	{name: "sends what is for one to another", check: "driver/send-to-one", driver: toAnother()},
	{name: "is silent about a member that is not there", check: "driver/send-to-one", driver: roster{unsure: true}.of()},
	{name: "takes wildcards for members", check: "driver/send-to-one", driver: roster{unsure: true, sends: func(to string) string {
		if strings.HasPrefix(to, "*") {
			return "*"
		}
		return to
	}}.of()},
	{name: "hands over what is for one in another order", check: "driver/send-to-one", driver: roster{hears: inPairs()}.of()},
	{name: "leaves its inbox on the server", check: "life/leaves-nothing", driver: leaveInbox},
	{name: "sends to the name of a member", check: "driver/send-to-one", driver: toNames()},
}

// keepAll lists whoever was listed before too.
func keepAll() func(string, []driver.Member) []driver.Member {
	var mu sync.Mutex
	seen := map[string][]driver.Member{} // by who lists them
	return func(self string, all []driver.Member) []driver.Member {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range seen[self] {
			if !slices.ContainsFunc(all, func(o driver.Member) bool { return o.Instance == m.Instance }) {
				all = append(all, m)
			}
		}
		seen[self] = slices.Clone(all)
		return all
	}
}

// oneOfEach leaves out who has a name that another has.
func oneOfEach(self string, all []driver.Member) (list []driver.Member) {
	names := map[string]bool{}
	for _, m := range all {
		if m.Instance == self || !names[m.Name] {
			list = append(list, m)
		}
		names[m.Name] = true
	}
	return list
}

// onlyOnceMeta is a transport on which a node that is opened again has no metadata.
func onlyOnceMeta() func(driver.OpenFunc) driver.OpenFunc {
	var opened sync.Map
	return func(inner driver.OpenFunc) driver.OpenFunc {
		return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
			_, again := opened.LoadOrStore(o.Self.Instance, true)
			return roster{says: func(m driver.Member) driver.Member {
				if again {
					m.Meta = nil
				}
				return m
			}}.over(inner)(ctx, o)
		}
	}
}

// will is a transport that takes for a goodbye that nothing was heard of a node.
func will() func(driver.OpenFunc) driver.OpenFunc {
	return func(inner driver.OpenFunc) driver.OpenFunc {
		return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
			d, err := roster{}.over(inner)(ctx, o)
			if err != nil {
				return nil, err
			}
			return willed{d}, nil
		}
	}
}

type willed struct{ driver.Driver }

func (w willed) Serve(ctx context.Context, h driver.Handler) error {
	return w.Driver.Serve(ctx, &willHandler{Handler: h})
}

// willHandler calls Left for whoever is listed no more.
type willHandler struct {
	driver.Handler
	mu  sync.Mutex
	all map[string]driver.Member
}

func (h *willHandler) Members(all []driver.Member) {
	h.mu.Lock()
	now := map[string]driver.Member{}
	for _, m := range all {
		now[m.Instance] = m
	}
	before := h.all
	h.all = now
	h.mu.Unlock()
	for id, m := range before {
		if _, there := now[id]; !there {
			h.Handler.Left(m)
		}
	}
	h.Handler.Members(all)
}

// inPairs hands frames over in pairs, the second first.
func inPairs() func(*rosterDriver, driver.Handler, []byte) {
	var mu sync.Mutex
	held := map[*rosterDriver][]byte{}
	return func(d *rosterDriver, h driver.Handler, frame []byte) {
		if !isMark(frame) {
			h.Frame(frame)
			return
		}
		mu.Lock()
		first := held[d]
		held[d] = nil
		if first == nil {
			held[d] = append([]byte{}, frame...)
		}
		mu.Unlock()
		if first != nil {
			h.Frame(frame)
			h.Frame(first)
		}
	}
}

// leaveInbox opens an inbox beside the driver, which nobody closes.
func leaveInbox(inner driver.OpenFunc) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		d, err := roster{}.over(inner)(ctx, o)
		if err != nil {
			return nil, err
		}
		if inbox, err := inner(ctx, o); err == nil {
			leak(func() { _ = inbox.Close(context.Background()) })
		}
		return d, nil
	}
}

// toAnother is a transport that mixes up two members, once in a while.
func toAnother() func(driver.OpenFunc) driver.OpenFunc {
	var first atomic.Pointer[string]
	var sent atomic.Int64
	return func(inner driver.OpenFunc) driver.OpenFunc {
		return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
			first.CompareAndSwap(nil, &o.Self.Instance)
			return roster{sends: func(to string) string {
				if sent.Add(1)%5 == 0 {
					return *first.Load()
				}
				return to
			}}.over(inner)(ctx, o)
		}
	}
}

// losesKind loses frames of one kind.
func losesKind(kind wire.Kind) func(*rosterDriver, driver.Handler, []byte) {
	return func(_ *rosterDriver, h driver.Handler, frame []byte) {
		var f wire.Frame
		if wire.Decode(frame, &f) != nil || f.Kind != kind {
			h.Frame(frame)
		}
	}
}

// losesOver loses frames above a size.
func losesOver(size int) func(*rosterDriver, driver.Handler, []byte) {
	return func(_ *rosterDriver, h driver.Handler, frame []byte) {
		if len(frame) <= size {
			h.Frame(frame)
		}
	}
}

// toNames is a transport whose nodes have an inbox for each name.
func toNames() func(driver.OpenFunc) driver.OpenFunc {
	var names sync.Map // by instance
	return func(inner driver.OpenFunc) driver.OpenFunc {
		return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
			names.Store(o.Self.Instance, o.Self.Name)
			self := o.Self.Name
			r := roster{sends: func(to string) string {
				name, _ := names.Load(to)
				return fmt.Sprintf("*\x00%v\x00", name)
			}, hears: func(_ *rosterDriver, h driver.Handler, frame []byte) {
				if name, rest, ok := strings.Cut(string(frame), "\x00"); ok && len(rest) > 1 && rest[0] == 0 {
					if name == self {
						h.Frame([]byte(rest[1:]))
					}
					return
				}
				h.Frame(frame)
			}}
			return r.over(inner)(ctx, o)
		}
	}
}
