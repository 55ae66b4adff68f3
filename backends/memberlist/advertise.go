package memberlist

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// resolveTimeout bounds one look-up of a name. It is tried again.
const resolveTimeout = 2 * time.Second

// resolver finds the addresses of a name, A and AAAA.
type resolver func(ctx context.Context, host string) ([]netip.Addr, error)

func systemResolver(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// advertised returns the address to tell the others, given what is configured
// and the address listened on.
func advertised(ctx context.Context, configured string, listen netip.AddrPort, resolve resolver, logger *slog.Logger) (netip.AddrPort, error) {
	if configured == "" {
		return netip.AddrPortFrom(deduced(listen.Addr(), logger).Unmap(), listen.Port()), nil
	}
	host, port := configured, listen.Port()
	if h, p, err := net.SplitHostPort(configured); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return netip.AddrPort{}, params.Bad("advertise_address", "%q: the port is not 1 to 65535", configured)
		}
		host, port = h, uint16(n)
	}
	host = strings.Trim(host, "[]")
	addr, err := named(ctx, host, listen.Addr(), resolve)
	if dns, ok := errors.AsType[*net.DNSError](err); ok && !dns.IsNotFound {
		return netip.AddrPort{}, fmt.Errorf("memberlist: %w: advertise_address: %q: %w", driver.ErrUnavailable, configured, err)
	}
	if err != nil {
		return netip.AddrPort{}, params.Bad("advertise_address", "%q: %w", configured, err)
	}
	addr = addr.Unmap()
	if !isLocal(addr) { // right behind an address translation, else a mistake that only the others would see
		logger.Warn("advertise_address is no address of this host; unless what arrives there is passed on to it, the others drop this node",
			"advertise_address", configured, "told", addr)
	}
	return netip.AddrPortFrom(addr, port), nil
}

// named takes host for an address, an interface, or a name, in this order.
func named(ctx context.Context, host string, listen netip.Addr, resolve resolver) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.WithZone(""), nil
	}
	var tried []error
	try := func(what string, addrs []netip.Addr, err error) (netip.Addr, bool) {
		usable := slices.DeleteFunc(addrs, func(a netip.Addr) bool {
			return a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() || (listen.Is4() && !listen.IsUnspecified() && !a.Unmap().Is4())
		})
		switch {
		case err != nil:
			tried = append(tried, fmt.Errorf("%s: %w", what, err))
		case len(usable) == 0:
			tried = append(tried, fmt.Errorf("%s: has no usable address", what))
		default:
			slices.SortStableFunc(usable, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
			return usable[0], true
		}
		return netip.Addr{}, false
	}
	if _, err := net.InterfaceByName(host); err == nil {
		addrs, err := addrsOf(host)
		if addr, ok := try("interface "+host, addrs, err); ok {
			return addr, nil
		}
	} else {
		tried = append(tried, fmt.Errorf("interface %s: there is none; this host has %s", host, strings.Join(interfaces(), ", ")))
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	addrs, err := resolve(ctx, host)
	if addr, ok := try("name "+host, addrs, err); ok {
		return addr, nil
	}
	return netip.Addr{}, fmt.Errorf("tried %w", joined(tried))
}

// deduced returns the address to tell when none is configured.
func deduced(listen netip.Addr, logger *slog.Logger) netip.Addr {
	if !listen.IsUnspecified() {
		return listen
	}
	var candidates []netip.Addr
	for _, name := range interfaces() {
		addrs, err := addrsOf(name)
		if err != nil {
			logger.Debug("an interface cannot be read", "interface", name, "err", err)
		}
		candidates = append(candidates, addrs...)
	}
	for _, a := range candidates {
		if a = a.Unmap(); a.IsPrivate() && (a.Is4() || !listen.Is4()) {
			return a
		}
	}
	fallback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for _, a := range candidates {
		if a = a.Unmap(); a.IsGlobalUnicast() && (a.Is4() || !listen.Is4()) {
			fallback = a
			break
		}
	}
	logger.Warn("this host has no private address to tell the other nodes; set advertise_address to one that they can reach",
		"told", fallback, "candidates", candidates)
	return fallback
}

// joined writes errors in one line.
type joined []error

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }

func interfaces() []string {
	all, err := net.Interfaces()
	if err != nil {
		return []string{fmt.Sprintf("(unknown: %v)", err)}
	}
	names := make([]string, len(all))
	for i, ifc := range all {
		names[i] = ifc.Name
	}
	return names
}

// addrsOf returns the addresses of an interface that is up.
func addrsOf(name string) ([]netip.Addr, error) {
	ifc, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	if ifc.Flags&net.FlagUp == 0 {
		return nil, fmt.Errorf("is down")
	}
	all, err := ifc.Addrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, prefix.Addr())
		}
	}
	return addrs, nil
}
