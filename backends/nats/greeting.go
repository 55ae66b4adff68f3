package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// maxGreeting is how long a server's first line may be.
const maxGreeting = 64 << 10

// readGreeting reads the line that a server sends before all else, TLS too.
func readGreeting(conn net.Conn) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) < maxGreeting; line = append(line, b[0]) {
		if _, err := conn.Read(b); err != nil {
			return "", fmt.Errorf("the server sends no greeting: %w", err)
		}
		if b[0] == '\n' {
			return string(line), nil
		}
	}
	return "", errors.New("what the server sends is no greeting of NATS")
}

func passGreeting(conn net.Conn) error {
	_, err := readGreeting(conn)
	return err
}

// reach makes a TCP connection to each server, and returns those that answered, and
// the addresses of those that did not.
func reach(ctx context.Context, e driver.Examination, servers []string) (up, down []string) {
	for _, server := range servers {
		addrs := doctor.Resolve(ctx, e, []string{server})
		reached := doctor.Reach(ctx, e, addrs)
		if len(reached) > 0 {
			up = append(up, server)
		}
		down = append(down, slices.DeleteFunc(addrs, func(a string) bool { return slices.Contains(reached, a) })...)
	}
	return up, down
}

// announced tells a server that is not there from one that cannot be reached from
// here: the others of a cluster announce those that accept clients.
func announced(ctx context.Context, e driver.Examination, up, down []string) {
	const name = "lame duck"
	known := map[string]bool{}
	for _, server := range up {
		for _, addr := range announces(ctx, e, server) {
			known[addr] = true
		}
	}
	if len(known) == 0 { // by itself, or told not to
		return
	}
	for _, addr := range down {
		tried := "look whether the others announce " + addr
		if known[addr] {
			e.Warn(name, tried, "they do: it accepts clients, and this host does not reach it", "let TCP through from this host to "+addr)
			continue
		}
		e.Warn(name, tried, "they do not: it is down, or about to stop, in lame duck mode, in which it accepts nobody and its nodes go to the others",
			"\"Entering lame duck mode\" in its log tells which; wait for it, or take it off the list")
	}
}

// announces returns the addresses that a server announces in its greeting.
func announces(ctx context.Context, e driver.Examination, server string) []string {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", server)
	if err != nil {
		return nil
	}
	defer conn.Close() //nolint:errcheck // it was read only
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	line, err := readGreeting(conn)
	var info struct {
		Addrs []string `json:"connect_urls"`
	}
	if err != nil || json.Unmarshal([]byte(strings.TrimPrefix(line, "INFO ")), &info) != nil {
		return nil
	}
	return info.Addrs
}

// compareServers finds out whether what is published at each other server is heard
// where the node is.
func compareServers(ctx context.Context, e driver.Examination, servers []string, at *doctor.Listener) {
	here := at.Driver.(*conn).nc
	for _, server := range servers {
		alone := e
		alone.Params = maps.Clone(e.Params)
		delete(alone.Params, "address")
		alone.Params["servers"] = server
		other, err := doctor.Listen(ctx, alone, Open)
		if err != nil {
			e.Fail("cluster", "connect to "+server+" alone", err, doctor.Advice(err, "see the log of the server at this minute"))
			continue
		}
		if there := other.Driver.(*conn).nc; there.ConnectedServerId() != here.ConnectedServerId() {
			at.HearFrom(ctx, other, fmt.Sprintf("publish at %s and hear it at %s", server, here.ConnectedAddr()),
				"see that they are of one cluster, or leaf node and hub, and not parted: \"nats server list\"; the account and what it imports must be the same at both")
		}
		other.Close()
	}
}
