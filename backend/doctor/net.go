package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// looks is how often a name is looked up: servers that differ answer in turn.
const looks = 3

// Resolve looks up the host of each endpoint, which is host:port, and returns the
// addresses found, as address:port. One endpoint may have many. Several looks tell
// name servers that contradict each other.
func Resolve(ctx context.Context, e driver.Examination, endpoints []string) []string {
	var all []string
	for _, endpoint := range endpoints {
		host, port, err := net.SplitHostPort(endpoint)
		if err != nil {
			e.Fail("name", "look up "+endpoint, err, "give host:port")
			continue
		}
		if _, err := netip.ParseAddr(host); err == nil {
			all = append(all, endpoint)
			continue
		}
		answers, err := lookUp(ctx, e, host, port)
		tried := "look up " + host
		if err != nil {
			e.Fail("name", tried, err, fmt.Sprintf("check the spelling and the search domain, or give an address; \"getent hosts %s\" asks the same resolver", host))
			continue
		}
		found := slices.Concat(answers...)
		slices.Sort(found)
		found = slices.Compact(found)
		if distinct := slices.CompactFunc(answers, slices.Equal); len(distinct) > 1 {
			e.Warn("name", tried, fmt.Sprintf("%d looks, and the answers differ: %s, then %s", looks, strings.Join(distinct[0], ", "), strings.Join(distinct[1], ", ")),
				fmt.Sprintf("unless it is meant, have all name servers say the same, or nodes meet different servers: \"dig +short %s @SERVER\" asks one of those in /etc/resolv.conf", host))
		} else {
			e.OK("name", tried, strings.Join(found, ", "))
		}
		all = append(all, found...)
	}
	return all
}

// lookUp asks for the addresses of host several times, and returns each answer.
func lookUp(ctx context.Context, e driver.Examination, host, port string) (answers [][]string, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	for range looks {
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, err
		}
		var found []string
		for _, ip := range ips {
			found = append(found, net.JoinHostPort(ip.Unmap().String(), port))
		}
		slices.Sort(found)
		answers = append(answers, slices.Compact(found))
	}
	return answers, nil
}

// Reach makes a TCP connection to each address, and returns those that answered.
func Reach(ctx context.Context, e driver.Examination, addrs []string) []string {
	var reached []string
	for _, addr := range addrs {
		ctx, cancel := context.WithTimeout(ctx, e.Timeout)
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		cancel()
		if err != nil {
			e.Fail("tcp", "connect to "+addr, err, fixDial(err, addr))
			continue
		}
		e.OK("tcp", "connect to "+addr, "connected from "+conn.LocalAddr().String())
		_ = conn.Close() // the connection was all that was wanted
		reached = append(reached, addr)
	}
	return reached
}

func fixDial(err error, addr string) string {
	timeout, is := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at " + addr + ": start it, or correct the address or the port"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no route to " + addr + ": check the network of this host"
	case is && timeout.Timeout():
		return "what is sent to " + addr + " is lost: a firewall, a network policy, or a host that is down"
	}
	return "check whether this host can reach " + addr
}
