package inputs_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
	_ "github.com/clusterchannel/clusterchannel/backends/memberlist"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// limits returns the rows of the first table of docs/backends.md, by backend and
// the name of the row.
func limits(t *testing.T) map[string]map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/backends.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Limits")
	section, _, _ = strings.Cut(section, "\n## ")
	var head []string
	found := map[string]map[string]string{}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) < 3 || strings.HasPrefix(cells[1], "--"):
		case head == nil:
			head = cells
		default:
			for i, name := range head[1:] {
				if found[name] == nil {
					found[name] = map[string]string{}
				}
				found[name][cells[0]] = cells[i+1]
			}
		}
	}
	return found
}

var size = regexp.MustCompile(`^\d+ [KM]iB`)

// TestCaps compares what a driver says of its transport with docs/backends.md.
func TestCaps(t *testing.T) {
	all := limits(t)
	for _, name := range []string{"memberlist", "redis", "nats", "etcd"} {
		t.Run(name, func(t *testing.T) {
			raw := map[string]string{"listen_address": "127.0.0.1:0"}
			if s, ok := subjects[name]; ok {
				raw = map[string]string{s.key: s.run(t, "127.0.0.1", fmt.Sprint(process.Port(t))).Addr()}
			}
			b, _ := backend.Lookup(name)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			d, err := b.Open(ctx, driver.Options{
				Cluster: "c", Self: driver.Member{Name: "a", Instance: "abcdefghijklm"}, Params: raw, MaxBytes: 64 << 20, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			caps := d.Caps()
			if err := d.Close(ctx); err != nil {
				t.Error(err)
			}
			row := all[name]
			var frame params.Bytes
			if err := frame.UnmarshalText([]byte(strings.ReplaceAll(size.FindString(row["largest frame"]), " ", ""))); err != nil || int(frame) != caps.MaxFrame {
				t.Errorf("the largest frame is %q; the driver says %v (%v)", row["largest frame"], params.Bytes(caps.MaxFrame), err)
			}
			if is := strings.HasPrefix(row["unicast"], "yes"); is != (caps.Send != nil) {
				t.Errorf("unicast is %q; the driver has Send: %v", row["unicast"], caps.Send != nil)
			}
			if is := strings.HasPrefix(row["membership"], "the transport's"); is != caps.Membership {
				t.Errorf("membership is %q; the driver has Membership: %v", row["membership"], caps.Membership)
			}
		})
	}
	if names := []string{"delivery", "membership", "largest frame", "unicast"}; slices.ContainsFunc(names, func(n string) bool { return all["etcd"][n] == "" }) {
		t.Errorf("rows are missing: %q", all["etcd"])
	}
}
