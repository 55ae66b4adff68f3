package nats_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// TestMaxPayloadIsLearnt: the driver refuses what the server would not accept,
// and never sends it.
func TestMaxPayloadIsLearnt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		conf string
		want int
	}{{base + "max_payload: 4096", 4096}, {base, 256 << 10}, {base + "max_payload: 8388608", 256 << 10}} {
		d, r := openDriver(t, map[string]string{"servers": start(t, c.conf).Addr()})
		if got := d.Caps().MaxFrame; got != c.want {
			t.Errorf("MaxFrame is %d, want %d", got, c.want)
		}
		if err := d.Broadcast(t.Context(), make([]byte, c.want+1)); !errors.Is(err, driver.ErrTooLarge) {
			t.Errorf("a frame above MaxFrame: %v, want ErrTooLarge", err)
		}
		most := bytes.Repeat([]byte("m"), c.want)
		if err := d.Broadcast(t.Context(), most); err != nil {
			t.Errorf("a frame of MaxFrame: %v", err)
		}
		testkit.Eventually(t, 20*time.Second, func() error {
			if heard := r.heard(); len(heard) != 1 || heard[0] != string(most) {
				return fmt.Errorf("%d frames heard, want the one of MaxFrame", len(heard))
			}
			return r.up(true)
		})
	}
}

// TestSmallMaxPayload: large updates arrive in pieces.
func TestSmallMaxPayload(t *testing.T) {
	t.Parallel()
	s := start(t, base+"max_payload: 512")
	params := map[string]string{"servers": s.Addr()}
	a, b := open(t, "a", params), open(t, "b", params)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
	a.write(t, string(bytes.Repeat([]byte("x"), 100_000)))
	testkit.Eventually(t, 20*time.Second, func() error { return hold(1, a, b) })
	if err := agree(a, b); err != nil {
		t.Error(err)
	}
}

// TestTooSmallMaxPayload: the error says so.
func TestTooSmallMaxPayload(t *testing.T) {
	t.Parallel()
	s := start(t, base+"max_payload: 511")
	n := open(t, "a", map[string]string{"servers": s.Addr()})
	testkit.Eventually(t, 20*time.Second, func() error { return detachedSaying(n, "it is 511 bytes; at least 512") })
}

// TestMaxPayloadShrinks: a server that comes back with a smaller max_payload, and
// one that is told so while it runs, gets smaller frames.
func TestMaxPayloadShrinks(t *testing.T) {
	t.Parallel()
	s := startLocal(t, base)
	a, b := open(t, "a", s.at()), open(t, "b", s.at())
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
	large := string(bytes.Repeat([]byte("x"), 500_000))
	a.write(t, large)
	testkit.Eventually(t, 20*time.Second, func() error { return hold(1, a, b) })

	_, r := openDriver(t, s.at())
	s.Stop(t)
	s.write(t, "nats.conf", base+"max_payload: 65536")
	s.Start(t)
	testkit.Eventually(t, 20*time.Second, func() error { return r.gaveUp("max_payload is 65536 bytes now") })
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
	a.write(t, large+"after the restart")
	testkit.Eventually(t, 20*time.Second, func() error { return hold(2, a, b) })

	s.reload(t, base+"max_payload: 2048")
	b.write(t, large+"after the reload")
	testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(hold(3, a, b), agree(a, b)) })
}

// TestMaxPayloadGrows: frames stay as they are, and all goes on.
func TestMaxPayloadGrows(t *testing.T) {
	t.Parallel()
	s := startLocal(t, base+"max_payload: 4096")
	a, b := open(t, "a", s.at()), open(t, "b", s.at())
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
	s.Stop(t)
	s.write(t, "nats.conf", base)
	s.Start(t)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
	a.write(t, string(bytes.Repeat([]byte("x"), 100_000)))
	testkit.Eventually(t, 20*time.Second, func() error { return hold(1, a, b) })
}
