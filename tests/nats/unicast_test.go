package nats_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/driver/flow"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// TestSendReachesOne: what is for one member is sent to nobody else, in order,
// however much it is.
func TestSendReachesOne(t *testing.T) {
	t.Parallel()
	s := start(t, base)
	params := map[string]string{"servers": s.Addr()}
	heard := map[string]*recorder{"a": {}, "b": {}, "c": {}}
	drivers := map[string]driver.Driver{}
	for instance, r := range heard {
		drivers[instance] = openMember(t, instance, params, r)
	}
	frame := make([]byte, 256<<10)
	const frames = 4 * flow.Window / (256 << 10)
	for i := range frames {
		copy(frame, fmt.Sprintf("%04d", i))
		if err := drivers["a"].Caps().Send(t.Context(), driver.Member{Instance: "b"}, frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := drivers["a"].Broadcast(t.Context(), []byte("for all")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		for instance, want := range map[string]int{"a": 1, "b": frames + 1, "c": 1} {
			if n := len(heard[instance].heard()); n != want {
				return fmt.Errorf("%s has heard %d frames, want %d", instance, n, want)
			}
		}
		return nil
	})
	next := 0
	for _, f := range heard["b"].heard() {
		if f == "for all" {
			continue
		}
		if want := fmt.Sprintf("%04d", next); f[:4] != want {
			t.Fatalf("frame %s follows, want %s", f[:4], want)
		}
		next++
	}
}

// TestSendWaitsForAMemberThatIsBehind: no more than a window is sent to a member
// that reads nothing, and another one is sent what it is to have.
func TestSendWaitsForAMemberThatIsBehind(t *testing.T) {
	t.Parallel()
	s := start(t, base)
	params := map[string]string{"servers": s.Addr()}
	a, _ := openDriver(t, params)
	openMember(t, "c", params, &recorder{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	frame, sent := make([]byte, 256<<10), 0
	var err error
	for ; err == nil && sent < 100; sent++ {
		err = a.Caps().Send(ctx, driver.Member{Instance: "nobody"}, frame)
	}
	if sent != flow.Window/len(frame) {
		t.Errorf("%d frames of %d bytes were sent to who confirms nothing: %v", sent, len(frame), err)
	}
	if err := a.Caps().Send(t.Context(), driver.Member{Instance: "c"}, frame); err != nil {
		t.Errorf("to another member: %v", err)
	}
}
