package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// resolve looks up the host of each endpoint, and returns the addresses found,
// as address:port. Those of one endpoint may be many.
func (d *doctor) resolve(ctx context.Context, endpoints []string) []string {
	var all []string
	for _, endpoint := range endpoints {
		host, port, err := net.SplitHostPort(endpoint)
		if err != nil {
			d.fail("name", "look up "+endpoint, err, "give host:port")
			continue
		}
		if _, err := netip.ParseAddr(host); err == nil {
			all = append(all, endpoint)
			continue
		}
		ctx, cancel := d.limit(ctx)
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		cancel()
		tried := "look up " + host
		if err != nil {
			d.fail("name", tried, err, fmt.Sprintf("mind the spelling and the search domain, or give an address; \"getent hosts %s\" asks the same resolver", host))
			continue
		}
		var found []string
		for _, ip := range ips {
			found = append(found, net.JoinHostPort(ip.Unmap().String(), port))
		}
		d.ok("name", tried, strings.Join(found, ", "))
		all = append(all, found...)
	}
	return all
}

// reach makes a TCP connection to each address, and returns those that answered.
func (d *doctor) reach(ctx context.Context, addrs []string) []string {
	var reached []string
	for _, addr := range addrs {
		ctx, cancel := d.limit(ctx)
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		cancel()
		if err != nil {
			d.fail("tcp", "connect to "+addr, err, mendDial(err, addr))
			continue
		}
		d.ok("tcp", "connect to "+addr, "connected from "+conn.LocalAddr().String())
		_ = conn.Close() // it has told what it could
		reached = append(reached, addr)
	}
	return reached
}

// mendDial says what a failure to connect asks for.
func mendDial(err error, addr string) string {
	timeout, is := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at " + addr + ": start it, or correct the address or the port"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no route to " + addr + ": mind the network of this host"
	case is && timeout.Timeout():
		return "what is sent to " + addr + " is lost: a firewall, a network policy, or a host that is down"
	}
	return "see whether this host can reach " + addr
}
