package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// Each test here is of one part of Close alone: through the driver any of them would do in
// place of another.

// soon is much less than Timeout, by which go-redis ends what it waits for by itself.
const soon = Timeout / 3

// full returns an address that answers no attempt to connect: the queue of its listener
// is full.
func full(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
	for range 8 {
		conn, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
			return addr
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Skip("a full listener takes connections here")
	return ""
}

// silent returns an address that takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// client returns one of a server that has not been asked anything yet.
func client(t *testing.T, addr string) *Client {
	t.Helper()
	c := New(&Config{Options: goredis.UniversalOptions{Addrs: []string{addr}}}, slog.New(slog.DiscardHandler))
	if err := c.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// within fails unless f returns soon.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > soon {
		t.Errorf("%s took %v", what, took.Round(time.Millisecond))
	}
}

// A dial that is under way ends with the client, though go-redis knows no way to end it.
func TestCloseEndsADial(t *testing.T) {
	c := client(t, full(t))
	dials := make(chan error, 1)
	if !c.start(func() { dials <- c.Redis.Ping(context.Background()).Err() }) {
		t.Fatal("the client is closed")
	}
	select {
	case err := <-dials:
		t.Fatalf("the dial has ended before: %v", err)
	case <-time.After(100 * time.Millisecond): // so that it is under way
	}
	within(t, "Close", c.Close)
}

// A connection ends with the life of its client, whoever waits for what comes over it.
func TestConnectionsEndWithLife(t *testing.T) {
	life, end := context.WithCancel(t.Context())
	conn, err := new(Config).Dialer(life)(t.Context(), "tcp", silent(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // life has closed it
	_ = conn.SetReadDeadline(time.Now().Add(Timeout))
	end()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read ended by %v, want that the connection is closed", err)
	}
}

// go-redis's own clients are closed: they make no more connections.
func TestCloseClosesTheLibrary(t *testing.T) {
	c := client(t, silent(t))
	c.Close()
	if err := c.Redis.Ping(t.Context()).Err(); !errors.Is(err, goredis.ErrClosed) {
		t.Errorf("a command after Close: %v", err)
	}
	if err := c.Sub.Close(); !errors.Is(err, goredis.ErrClosed) {
		t.Errorf("the subscription was not closed: a second time gives %v", err)
	}
}

// Close ends the connections, waits for what runs, and lets nothing else begin.
func TestCloseWaitsForCommands(t *testing.T) {
	c := client(t, silent(t))
	var ended atomic.Bool
	running := make(chan struct{})
	done, err := c.run(t.Context(), func() error {
		close(running)
		select {
		case <-c.Ended():
		case <-time.After(Timeout):
			t.Error("the connections go on")
		}
		<-time.After(50 * time.Millisecond) // longer than Close takes by itself
		ended.Store(true)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-running
	c.Close()
	if !ended.Load() {
		t.Error("Close has not waited for a command")
	}
	<-done
	if err := c.Command(t.Context(), func() error { return nil }); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("a command after Close: %v, want ErrClosed", err)
	}
}

// The library's lines go to the log of a client that is open.
func TestCloseDetachesTheLog(t *testing.T) {
	l := slog.New(slog.DiscardHandler)
	c := New(&Config{Options: goredis.UniversalOptions{Addrs: []string{"127.0.0.1:1"}}}, l)
	if library.newest() != l {
		t.Error("the lines do not go to a client that is open")
	}
	c.Close()
	if library.newest() == l {
		t.Error("the lines go to a client that is closed")
	}
}

// What Open waits for ends with its context.
func TestOpenEndsADial(t *testing.T) {
	c := New(&Config{Options: goredis.UniversalOptions{Addrs: []string{full(t)}}}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	within(t, "Open", func() {
		err := c.Open(ctx, func(context.Context) error { return c.Redis.Ping(context.Background()).Err() })
		if !errors.Is(err, driver.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want ErrUnavailable and the end of the context", err)
		}
	})
}
