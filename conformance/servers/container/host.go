package container

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"

	apicontainer "github.com/moby/moby/api/types/container"
)

// hostOverride is the variable that tells testcontainers where published ports
// are.
const hostOverride = "TESTCONTAINERS_HOST_OVERRIDE"

const loopback = "127.0.0.1"

// locate finds out where the server can be reached.
func (s *Server) locate(ctx context.Context) error {
	addr := ""
	if s.spec.Port != 0 {
		info, err := s.inspect(ctx)
		if err != nil {
			return err
		}
		if port := published(info, s.spec.Port); port != "" {
			host, err := s.host(ctx, port)
			if err != nil {
				return err
			}
			addr = net.JoinHostPort(host, port)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr = addr
	return nil
}

// published returns the port of the host that leads to a port of a container. An
// engine that publishes on IPv6 too may have chosen another number there.
func published(info *apicontainer.InspectResponse, port int) string {
	for inside, bindings := range info.NetworkSettings.Ports {
		if inside.Port() != strconv.Itoa(port) {
			continue
		}
		for _, b := range bindings {
			if !b.HostIP.Is6() {
				return b.HostPort
			}
		}
	}
	return ""
}

// host returns where published ports are. testcontainers assumes that a machine
// with /.dockerenv is a container, and dials the gateway of the engine's
// bridge, which a firewall of that machine may block. If the port answers on
// the loopback interface, the engine is local, and host tells testcontainers
// so.
func (s *Server) host(ctx context.Context, port string) (string, error) {
	if host := os.Getenv(hostOverride); host != "" {
		return host, nil
	}
	var dialer net.Dialer
	if conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(loopback, port)); err == nil {
		_ = conn.Close()
		return loopback, os.Setenv(hostOverride, loopback)
	}
	host, err := s.current().Host(ctx)
	if err != nil {
		return "", fmt.Errorf("where are published ports: %w", err)
	}
	return host, nil
}
