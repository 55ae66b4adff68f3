package main

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// receiver is a webhook that notes when each alert came.
type receiver struct {
	url    string
	server *http.Server

	mu    sync.Mutex
	came  map[string][]delivery
	since time.Time
}

// delivery is one notification of an alert.
type delivery struct {
	At   time.Duration // since the begin
	From string        // the node's address
}

func receive(host string, since time.Time) (*receiver, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + l.Addr().String() + "/", came: map[string][]delivery{}, since: since}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	go func() { _ = r.server.Serve(l) }() // until close
	return r, nil
}

func (r *receiver) close() error { return r.server.Close() }

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var message struct {
		Alerts []struct {
			Status string            `json:"status"`
			Labels map[string]string `json:"labels"`
		} `json:"alerts"`
	}
	if err := json.NewDecoder(req.Body).Decode(&message); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	from, _, _ := net.SplitHostPort(req.RemoteAddr)
	at := time.Since(r.since)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range message.Alerts {
		if a.Status == "firing" {
			name := a.Labels["alertname"]
			r.came[name] = append(r.came[name], delivery{At: at, From: from})
		}
	}
}

// of returns what came of an alert, and how many deliveries there were.
func (r *receiver) of(name string) []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.came[name])
}

// has reports whether each of the alerts came.
func (r *receiver) has(names []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if len(r.came[name]) == 0 {
			return false
		}
	}
	return true
}
