package memberlist

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// seeds finds the other nodes: it looks up the configured peers, and joins
// those that are no members, and failed members, again and again.
type seeds struct {
	mesh    *mesh
	roster  *roster
	at      netip.AddrPort  // the address that this node tells the others
	ctx     context.Context // of run
	giveUp  context.CancelCauseFunc
	resolve resolver
	began   time.Time
	wake    chan struct{}
	slots   chan struct{} // bounds the attempts under way

	mu       sync.Mutex
	resolved bool                // whether all peers were looked up once
	names    map[string]error    // why the look-up of a configured peer has failed
	nameless map[string]bool     // configured peers whose names have no address
	found    map[string][]string // the addresses of each configured peer
	attempts map[string]*attempt // by address
}

// attempt is what is known about joining through one address.
type attempt struct {
	busy   bool
	ended  time.Time // the last one
	err    error     // of it
	urgent bool
}

// nameTimeout is how long a node waits for the names of its peers to have an address
// before it takes itself for the first: less than its channel waits for others.
const nameTimeout = 8 * time.Second

const (
	maxAttempts  = 16  // at a time
	maxAddresses = 256 // of one name
	largeCluster = 10  // members above which nodes try less often
	maxFailedDue = 4   // failed members that are tried at a time, or a part of so many: who is reached knows the others
)

func newSeeds(c *conn, resolve resolver) *seeds {
	return &seeds{
		mesh: &c.mesh, roster: c.roster, at: c.trans.advertise, ctx: c.ctx, giveUp: c.cancel, resolve: resolve, began: time.Now(),
		wake: make(chan struct{}, 1), slots: make(chan struct{}, maxAttempts),
		names: map[string]error{}, nameless: map[string]bool{}, found: map[string][]string{}, attempts: map[string]*attempt{},
	}
}

// run looks up and joins until the node is closed.
func (s *seeds) run() {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(s.lookUp)
	pass := time.NewTicker(max(s.mesh.settings.ReconnectInterval/4, time.Millisecond))
	defer pass.Stop()
	for {
		for _, addr := range s.due() {
			select {
			case s.slots <- struct{}{}:
				wg.Go(func() {
					s.join(addr)
					<-s.slots
				})
			case <-s.ctx.Done():
				return
			}
		}
		select {
		case <-pass.C:
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
	}
}

// soon makes run try addr without delay.
func (s *seeds) soon(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(addr).urgent = true
	s.signal()
}

func (s *seeds) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// of returns the attempt of addr. s.mu is held.
func (s *seeds) of(addr string) *attempt {
	a := s.attempts[addr]
	if a == nil {
		a = &attempt{}
		s.attempts[addr] = a
	}
	return a
}

// lookUp looks up the configured peers again and again.
func (s *seeds) lookUp() {
	for {
		s.lookUpAll()
		s.checkAddress()
		s.checkCertificates()
		s.roster.signal()
		s.signal()
		again := s.mesh.settings.PeersResolveInterval
		if len(s.roster.current()) == 0 {
			again = min(again, s.mesh.settings.ReconnectInterval)
		}
		timer := time.NewTimer(again)
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (s *seeds) lookUpAll() {
	var wg sync.WaitGroup
	for _, peer := range s.mesh.settings.Peers {
		wg.Go(func() {
			addrs, err := s.addresses(peer)
			s.mu.Lock()
			defer s.mu.Unlock()
			if err != nil {
				s.names[peer] = err // what was found before is still good
				return
			}
			delete(s.names, peer)
			s.nameless[peer], s.found[peer] = addrs == nil, addrs
		})
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resolved = true
}

// checkAddress ends the driver if this host has lost the address that the
// others were told, and has another one: the next driver then tells them that
// one.
func (s *seeds) checkAddress() {
	old := s.at
	if isLocal(old.Addr()) {
		return
	}
	now, err := advertised(s.ctx, s.mesh.settings.AdvertiseAddress, s.mesh.settings.listen, s.resolve, slog.New(slog.DiscardHandler))
	if err != nil || now == old || !isLocal(now.Addr()) { // a name may be that of something in front of this host
		return
	}
	s.giveUp(fmt.Errorf("memberlist: %w: this host's address is now %s, no longer %s", driver.ErrUnavailable, now, old))
}

// checkCertificates says when this node's own certificates have expired.
func (s *seeds) checkCertificates() {
	if file := s.mesh.settings.tls; file != nil {
		err := file.expired()
		s.roster.gate.do(func(h driver.Handler) { h.Trouble("this node's certificate has expired", err) })
	}
}

// addresses returns where a configured peer can be reached; nil where its name has
// no address, which is no error: others may not have started yet, or be unknown yet.
func (s *seeds) addresses(peer string) ([]string, error) {
	host, service, err := net.SplitHostPort(peer)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		ips = []netip.Addr{ip}
	} else {
		ctx, cancel := context.WithTimeout(s.ctx, resolveTimeout)
		defer cancel()
		ips, err = s.resolve(ctx, host)
		if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	if len(ips) == 0 {
		return nil, nil
	}
	addrs := []string{}
	for _, ip := range ips[:min(len(ips), maxAddresses)] {
		if at := addrPort(ip, uint16(port)); !s.isSelf(at) {
			addrs = append(addrs, at.String())
		}
	}
	return addrs, nil
}

func addrPort(ip netip.Addr, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(ip.Unmap(), port)
}

// isSelf reports whether this node listens at an address.
func (s *seeds) isSelf(at netip.AddrPort) bool {
	if at == s.at || at == s.mesh.settings.listen {
		return true
	}
	return at.Port() == s.mesh.settings.listen.Port() && s.mesh.settings.listen.Addr().IsUnspecified() && isLocal(at.Addr())
}

func isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	for _, name := range interfaces() {
		addrs, err := addrsOf(name)
		if err == nil && slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap().WithZone("") == ip.WithZone("") }) {
			return true
		}
	}
	return false
}

// configured returns the addresses of the configured peers. s.mu is held.
func (s *seeds) configured() map[string]bool {
	all := map[string]bool{}
	for _, addrs := range s.found {
		for _, addr := range addrs {
			all[addr] = true
		}
	}
	return all
}

// due returns the addresses to try now, and notes that they are being tried. Failed members
// that are no peers are tried in turn, a part of them at a time: who is reached knows others.
func (s *seeds) due() []string {
	failed, alive := s.roster.toReach()
	every := s.mesh.settings.ReconnectInterval * time.Duration(max(1, len(alive)/largeCluster))
	s.mu.Lock()
	defer s.mu.Unlock()
	want := s.configured()
	for addr, a := range s.attempts {
		if a.urgent {
			want[addr] = true
		} else if !want[addr] && !a.busy && !failed[addr] {
			delete(s.attempts, addr)
		}
	}
	var now []string
	try := func(addr string, pause time.Duration) {
		a := s.of(addr)
		// An attempt under way may have begun when nothing answered: an urgent one
		// does not wait for it.
		if a.urgent || (!a.busy && !alive[addr] && time.Since(a.ended) >= pause) {
			a.busy, a.urgent = true, false
			now = append(now, addr)
		}
	}
	for addr := range want {
		pause := every
		if s.of(addr).err == nil && !failed[addr] {
			pause = max(every, s.mesh.settings.PeersResolveInterval) // it answered, and is no other member: most likely this node
		}
		try(addr, pause)
	}
	round := s.mesh.settings.ReconnectInterval * time.Duration(max(1, (len(alive)+len(failed))/largeCluster))
	room := max(maxFailedDue, len(failed)/maxFailedDue)
	var rested []string
	for addr := range failed {
		switch a := s.of(addr); {
		case want[addr]:
		case a.busy || time.Since(a.ended) < round:
			room--
		default:
			rested = append(rested, addr)
		}
	}
	slices.SortFunc(rested, func(a, b string) int { return s.of(a).ended.Compare(s.of(b).ended) })
	for _, addr := range rested[:min(max(room, 0), len(rested))] {
		try(addr, round)
	}
	return now
}

// join tries addr once.
func (s *seeds) join(addr string) {
	err := s.mesh.join(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of(addr)
	a.busy, a.ended, a.err = false, time.Now(), reason(err)
	s.roster.signal()
}

// local is the own side of a connection in an error's text. Its port is another one
// each time.
var local = regexp.MustCompile(`\S+->`)

// reason says why joining one address failed, in one line and with the likely
// cause. Attempts that fail alike have the same reason.
func reason(err error) error {
	if err == nil {
		return nil
	}
	if all, ok := err.(interface{ WrappedErrors() []error }); ok && len(all.WrappedErrors()) == 1 {
		err = all.WrappedErrors()[0]
	}
	text := local.ReplaceAllString(err.Error(), "")
	if _, rest, ok := strings.Cut(text, ": "); ok && strings.HasPrefix(text, "failed to join ") {
		text = rest
	}
	switch {
	case strings.HasSuffix(text, "EOF"), strings.Contains(text, "reset by peer"), strings.Contains(text, "broken pipe"):
		return fmt.Errorf("the peer closed the connection: cluster label mismatch, wrong encryption key, or TLS on one side only (%s)", text)
	case strings.Contains(text, "decrypt"), strings.Contains(text, "encrypted"):
		return fmt.Errorf("wrong encryption key, or encrypted on one side only (%s)", text)
	case strings.Contains(text, "msgType (21)"):
		return fmt.Errorf("the peer speaks TLS; set tls_config_file (%s)", text)
	case strings.Contains(text, "x509: "):
		return fmt.Errorf("the peer's certificate cannot be verified: check ca_file and server_name of tls_client_config in tls_config_file (%s)", text)
	case strings.Contains(text, "remote error: tls: "):
		return fmt.Errorf("the peer refuses this node's certificate: check what tls_config_file names, here and there (%s)", text)
	default:
		return errors.New(text)
	}
}

// verdict is called when no other member is alive. It returns nil if no others
// are expected, else an error. Not known means that it is too early to say.
func (s *seeds) verdict() (err error, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.resolved {
		return nil, len(s.mesh.settings.Peers) == 0
	}
	var why []string
	for peer, err := range s.names {
		why = append(why, fmt.Sprintf("%s: %v", peer, err))
	}
	all := s.configured()
	for _, addr := range slices.Sorted(maps.Keys(all)) {
		switch a := s.of(addr); {
		case s.roster.isVacant(addr):
		case a.ended.IsZero():
			return nil, false
		case a.err != nil:
			why = append(why, fmt.Sprintf("%s: %v", addr, a.err))
		}
	}
	if len(why) == 0 {
		return nil, !s.awaitsNames()
	}
	slices.Sort(why)
	return fmt.Errorf("memberlist: none of the %d configured peers answers: %s", len(s.mesh.settings.Peers), strings.Join(why, "; ")), true
}

// awaitsNames reports whether names without an address may get one yet: the record of
// a headless service appears after its pods. s.mu is held.
func (s *seeds) awaitsNames() bool {
	return time.Since(s.began) < nameTimeout && slices.Contains(slices.Collect(maps.Values(s.nameless)), true)
}

// unnamed says which names of configured peers have no address, nil if all have one.
func (s *seeds) unnamed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for peer, none := range s.nameless {
		if none {
			all = append(all, peer)
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	return fmt.Errorf("memberlist: %s: no such host", strings.Join(all, ", "))
}
