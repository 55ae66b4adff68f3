package backend_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]backend.Config{
		"memory://": {Backend: "memory"},
		"memory://?cluster=a%20b%3A%2F%40&name=n1": {Backend: "memory", Cluster: "a b:/@", Name: "n1"},
		"redis://localhost:6379/0?cluster=alerts&name=node-1&timeout=2s": {
			Backend: "redis", Cluster: "alerts", Name: "node-1",
			Params: map[string]string{"address": "localhost:6379", "path": "0", "timeout": "2s"},
		},
		"redis://u%20ser:p%40s%2Fs%23@a:1,[::1]:2,c:3?db=4": {
			Backend: "redis",
			Params:  map[string]string{"address": "a:1,[::1]:2,c:3", "username": "u ser", "password": "p@s/s#", "db": "4"},
		},
		"REDIS://:secret@h": {Backend: "redis", Params: map[string]string{"address": "h", "password": "secret"}},
		"memberlist://0.0.0.0:9094?peers=a:9094,b:9094&meta.zone=eu&meta.rack=7": {
			Backend: "memberlist", Meta: map[string]string{"zone": "eu", "rack": "7"},
			Params: map[string]string{"address": "0.0.0.0:9094", "peers": "a:9094,b:9094"},
		},
		"memory:///?on_isolation=hold&on_start_failure=fail&heartbeat=1s&grace=2s&settle=3s&sync=4s&max_payload=1KiB&queue_items=5&queue_bytes=1KiB": {
			Backend: "memory", OnIsolation: backend.HoldView, OnStartFailure: backend.Fail,
			Timing:     backend.Timing{Heartbeat: time.Second, Grace: 2 * time.Second, Settle: 3 * time.Second, Sync: 4 * time.Second},
			MaxPayload: 1 << 10, QueueItems: 5, QueueBytes: 1 << 10,
		},
	} {
		got, err := backend.ParseURL(raw)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseURL(%q) = %+v, %v, want %+v", raw, got, err, want)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for _, c := range []struct{ raw, text string }{
		{"", "form"},
		{"redis", "form"},
		{"redis:localhost", "form"},
		{"://host", "form"},
		{"1redis://host", "form"},
		{"redis://h:port", "form"},
		{"redis://[::1", "form"},
		{"redis://h?a=%zz", "form"},
		{"redis://h?a=1;b=2", "form"},
		{"redis://h#fragment", "form"},
		{"redis://h?name=a&name=b", "name: is given twice"},
		{"redis://h?db=1&db=1", "db: is given twice"},
		{"redis://h?address=i", "address: is given twice"},
		{"redis://u@h?username=u", "username: is given twice"},
		{"redis://h?backend=etcd", "backend: is given twice"},
		{"redis://h?meta.=x", "meta"},
		{"redis://h?heartbeat=5", "heartbeat"},
		{"redis://h?heartbeat=-5s", "heartbeat"},
		{"redis://h?on_isolation=panic", "alone, hold"},
		{"redis://h?queue_items=-1", "queue_items"},
		{"redis://h?max_payload=lots", "max_payload"},
		{"redis://h?name=a%20b", "name"},
		{"redis://h?=x", "key of the query"},
		{"redis://h?a%20b=x", "key of the query"},
		{"memory://?nam=s3cret", `"nam" is not a known key, did you mean "name"?`},
		{"memory://?clustre=s3cret", `did you mean "cluster"?`},
		{"memory://?max_paylod=1KiB", `did you mean "max_payload"?`},
		{"redis://user:s3c/ret@h", "form"},
		{"redis://user:s3c?ret@h", "form"},
		{"redis://user:s3c#ret@h", "form"},
		{"redis://user:1/s3cret@h", "form"},
		{"redis://user:1?s3cret@h", "form"},
		{"redis://user:1?s3=cret@h", "form"},
		{"redis://user:1#s3cret", "form"},
		{"redis://user:s3cret%@h", "form"},
		{"redis://user:s3c ret@h", "form"},
		{"redis://user:s3cret@h:x", "form"},
		{"redis://user:s3cret@h?name=a&name=b", "name"},
		{"redis://user:s3cret@h?password=s3cret", "password: is given twice"},
	} {
		got, err := backend.ParseURL(c.raw)
		if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("ParseURL(%q) = %+v, %v, want ErrConfig that says %q", c.raw, got, err, c.text)
			continue
		}
		for _, secret := range []string{"s3c", "ret"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("ParseURL(%q): the error shows %q: %v", c.raw, secret, err)
			}
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("redis://user:pw@a:1,b:2/0?cluster=alerts&name=node-1&meta.zone=eu&heartbeat=1s")
	f.Add("memberlist://[::1]:9094?peers=a:9094")
	f.Add("memory://")
	f.Add("redis://u:p/w@h?x=%zz;#")
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := backend.ParseURL(raw)
		if err != nil {
			if !errors.Is(err, backend.ErrConfig) {
				t.Errorf("ParseURL(%q): %v, want ErrConfig", raw, err)
			}
			return
		}
		if c.Backend == "" {
			t.Errorf("ParseURL(%q) = %+v, with no backend", raw, c)
		}
		if _, ok := c.Params[""]; ok {
			t.Errorf("ParseURL(%q) = %+v, with an empty key", raw, c)
		}
	})
}
