package backend_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// What a driver reports although its link works is logged and shown until it
// ends, or the driver does.
func TestTroubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs, drv := &testkit.Log{}, make(seen)
		c, err := backend.Open(t.Context(), backend.Config{
			Cluster: "t", Name: "self", Driver: drv.open, Logger: slog.New(slog.NewTextHandler(logs, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		handler := <-drv
		shown := func(want ...string) {
			t.Helper()
			var got []string
			for _, tr := range c.(backend.Inspector).Inspect().Troubles {
				got = append(got, tr.What+": "+tr.Err.Error())
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("the troubles are %q, want %q", got, want)
			}
		}
		handler.Link(nil)
		handler.Members([]driver.Member{self(c)})
		for range 3 {
			handler.Trouble("servers", errors.New("they disagree"))
		}
		handler.Trouble("credentials", errors.New("they expire in a minute"))
		shown("credentials: they expire in a minute", "servers: they disagree")
		if v := c.View(); v.Status != backend.Attached {
			t.Errorf("the node is %v", v.Status)
		}
		handler.Trouble("servers", nil)
		handler.Trouble("servers", nil)
		shown("credentials: they expire in a minute")
		for text, times := range map[string]int{"they disagree": 1, "works as it should again": 1, "they expire": 1} {
			if n := strings.Count(logs.String(), text); n != times {
				t.Errorf("%q is logged %d times, want %d", text, n, times)
			}
		}
		for i := range 100 {
			handler.Trouble(fmt.Sprint(i), errors.New("one of many"))
		}
		if n := len(c.(backend.Inspector).Inspect().Troubles); n > 16 {
			t.Errorf("%d troubles are kept", n)
		}
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
		<-time.After(time.Second)
		handler.Trouble("late", errors.New("late"))
		shown()
	})
}
