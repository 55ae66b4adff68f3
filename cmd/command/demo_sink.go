package command

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// sink is the webhook receiver that counts deliveries.
type sink struct {
	url    string
	server *http.Server
	done   sync.WaitGroup

	mu         sync.Mutex
	deliveries []delivery
}

// delivery is one alert in one notification.
type delivery struct {
	alert string // its labels
	from  string // external URL of the node that sent it
	at    time.Time
}

func startSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("webhook sink: %w", err)
	}
	s := &sink{url: "http://" + l.Addr().String() + "/"}
	s.server = &http.Server{Handler: http.HandlerFunc(s.receive), ReadHeaderTimeout: 10 * time.Second}
	s.done.Go(func() { _ = s.server.Serve(l) }) // ends by close
	return s, nil
}

func (s *sink) receive(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ExternalURL string `json:"externalURL"`
		Alerts      []struct {
			Status string            `json:"status"`
			Labels map[string]string `json:"labels"`
		} `json:"alerts"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20)).Decode(&m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range m.Alerts {
		s.deliveries = append(s.deliveries, delivery{identity(a.Labels), m.ExternalURL, time.Now()})
	}
}

// of returns the deliveries of the alert with these labels.
func (s *sink) of(labels map[string]string) []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := identity(labels)
	return slices.DeleteFunc(slices.Clone(s.deliveries), func(d delivery) bool { return d.alert != id })
}

func (s *sink) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close()
	}
	s.done.Wait()
}

// identity is the same for the same labels.
func identity(labels map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&b, "%q=%q,", k, labels[k])
	}
	return b.String()
}
