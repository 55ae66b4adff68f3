package netfault_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/conformance/netfault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPassesBothWaysAndHalfCloses(t *testing.T) {
	conn := dial(t, proxy(t, echoServer(t)))
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	go func() {
		_, _ = conn.Write(want)
		_ = conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, %v; want %d", len(got), err, len(want))
	}
}

func TestRefuseResetsOldAndNew(t *testing.T) {
	p := proxy(t, echoServer(t))
	old := dial(t, p)
	exchange(t, old)
	p.Set(netfault.Refuse)
	if _, err := old.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("open connection: read: %v, want it reset", err)
	}
	wantRefused(t, p)
	p.Set(netfault.Pass)
	exchange(t, dial(t, p))
}

func TestSwallowKeepsTheConnectionAndResetsItWhenHealed(t *testing.T) {
	p := proxy(t, echoServer(t))
	old := dial(t, p)
	exchange(t, old)
	p.Set(netfault.Swallow)
	for name, conn := range map[string]*net.TCPConn{"old": old, "new": dial(t, p)} {
		if _, err := conn.Write([]byte("lost")); err != nil {
			t.Errorf("%s connection: write: %v", name, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
			t.Errorf("%s connection: read %d bytes, %v; want silence", name, n, err)
		}
	}
	p.Set(netfault.Pass)
	_ = old.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := old.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("read %d bytes, %v after bytes were lost; want a reset", n, err)
	}
	exchange(t, dial(t, p))
}

// The server sends on while nothing reaches it, and hears all while its answers
// are lost.
func TestOneWayAlone(t *testing.T) {
	p := proxy(t, echoServer(t))
	deaf := dial(t, p)
	exchange(t, deaf)
	p.Set(netfault.Swallow, netfault.ToClient)
	if _, err := deaf.Write([]byte("heard")); err != nil {
		t.Fatal(err)
	}
	_ = deaf.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := deaf.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("read %d bytes, %v; want silence", n, err)
	}
	p.Set(netfault.Pass)
	mute := dial(t, p)
	exchange(t, mute)
	p.Set(netfault.Swallow, netfault.ToServer)
	if _, err := mute.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	_ = mute.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := mute.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("read %d bytes, %v; want silence", n, err)
	}
	p.Set(netfault.Pass, netfault.ToServer)
	_ = mute.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := mute.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("read %d bytes, %v after bytes were lost; want a reset", n, err)
	}
	exchange(t, dial(t, p))
}

func TestStallFillsTheSendersBuffersAndLosesNothing(t *testing.T) {
	p := proxy(t, echoServer(t))
	conn := dial(t, p)
	exchange(t, conn)
	p.Set(netfault.Stall)
	_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	sent, chunk := 0, bytes.Repeat([]byte("x"), 1<<20)
	var err error
	for err == nil && sent < 1<<30 {
		var n int
		n, err = conn.Write(chunk)
		sent += n
	}
	if !isTimeout(err) {
		t.Fatalf("wrote %d bytes to a stalled proxy: %v", sent, err)
	}
	p.Set(netfault.Pass)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.CopyN(io.Discard, conn, int64(sent)); err != nil {
		t.Fatalf("read %d bytes of %d: %v", got, sent, err)
	}
}

func TestDelayHoldsBytesBack(t *testing.T) {
	p := proxy(t, echoServer(t))
	conn := dial(t, p)
	const delay = 50 * time.Millisecond
	p.Delay(delay)
	start := time.Now()
	exchange(t, conn)
	if took := time.Since(start); took < 2*delay {
		t.Errorf("a round trip took %v with %v each way", took, delay)
	}
}

func TestRateHoldsAndIsLifted(t *testing.T) {
	p := proxy(t, echoServer(t))
	conn := dial(t, p)
	carry := func(n int) time.Duration {
		began := time.Now()
		go func() { _, _ = conn.Write(make([]byte, n)) }()
		if _, err := io.ReadFull(conn, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	p.Rate(256 << 10)
	if d := carry(160 << 10); d < 300*time.Millisecond { // 32 KiB pass at once
		t.Errorf("160 KiB at 256 KiB a second took %v", d)
	}
	p.Rate(0)
	carry(8 << 20)
}

func TestResetLetsNewOnesIn(t *testing.T) {
	p := proxy(t, echoServer(t))
	old := dial(t, p)
	exchange(t, old)
	p.Reset()
	if _, err := old.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("open connection: read: %v, want it reset", err)
	}
	exchange(t, dial(t, p))
}

func TestTargetMayMoveAndMayBeDown(t *testing.T) {
	var mu sync.Mutex
	addr := "127.0.0.1:1"
	p, err := netfault.Listen(func() string {
		mu.Lock()
		defer mu.Unlock()
		return addr
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	wantRefused(t, p)
	mu.Lock()
	addr = echoServer(t)
	mu.Unlock()
	exchange(t, dial(t, p))
}

func TestCloseEndsEverything(t *testing.T) {
	p := proxy(t, echoServer(t))
	conn := dial(t, p)
	exchange(t, conn)
	for _, m := range []netfault.Mode{netfault.Stall, netfault.Swallow} {
		p.Set(m)
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if n := p.Links(); n != 0 {
		t.Errorf("%d links after Close", n)
	}
	if err := p.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func proxy(t *testing.T, target string) *netfault.Proxy {
	t.Helper()
	p, err := netfault.Listen(func() string { return target })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// wantRefused checks that a new connection fails, at once or when it is read.
func wantRefused(t *testing.T, p *netfault.Proxy) {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("new connection: read: %v, want it refused", err)
	}
}

func dial(t *testing.T, p *netfault.Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn.(*net.TCPConn)
}

// exchange sends a line and reads it back.
func exchange(t *testing.T, conn net.Conn) {
	t.Helper()
	const line = "hello\n"
	if _, err := fmt.Fprint(conn, line); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(line))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != line {
		t.Fatalf("read %q, %v", got, err)
	}
}

func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}
