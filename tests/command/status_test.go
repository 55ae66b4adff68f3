package command_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/status"
)

// TestStatusPage reads the page of an instance. A reader
// of the stream does not hold up the end of the process.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	p, _ := instance(t, "--config.file="+file(t, "am.yml", config("nobody")), "--storage.path=", "--cluster.listen-address=127.0.0.1:0", "--cluster.peer-name=a", "--cluster.label=page")
	url := p.url(t)
	p.eventually(t, func() error {
		body, err := get(url + "/status.json")
		if err != nil {
			return err
		}
		var s status.Snapshot
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			return err
		}
		if s.Node.Name != "a" || s.Node.Status != "attached" || s.Node.Backend != "memberlist" || len(s.States) != 2 || len(s.Counters) == 0 {
			return fmt.Errorf("the page says %+v", s)
		}
		return nil
	})
	if html, err := get(url + "/status"); err != nil || !strings.Contains(html, "a (this node)") {
		t.Errorf("/status: %v\n%s", err, html)
	}
	if html, err := get(url + "/"); err != nil || !strings.Contains(html, `<a href="status">`) {
		t.Errorf("/: %v\n%s", err, html)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	stream, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close() //nolint:errcheck // it is read to its end
	lines := bufio.NewScanner(stream.Body)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		t.Fatalf("the stream is empty: %v", lines.Err())
	}
	terminated(t, p)
	for lines.Scan() {
	}
}

func TestStatusPageWithoutCluster(t *testing.T) {
	t.Parallel()
	_, url := instance(t, "--config.file="+file(t, "am.yml", config("nobody")), "--storage.path=", "--cluster.listen-address=")
	if html, err := get(url + "/status"); err != nil || !strings.Contains(html, "High availability is off") {
		t.Errorf("/status: %v\n%s", err, html)
	}
}
