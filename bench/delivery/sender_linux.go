package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	every     = 200 * time.Millisecond // between alerts
	resend    = time.Minute            // Prometheus's rules.alert.resend-delay
	groupWait = 20 * time.Second
)

// sender sends alerts to all nodes as Prometheus does: to each node by itself,
// one request after the other, with a timeout of 10 s, and no second try.
type sender struct {
	since  time.Time
	queues []chan []alert
	wg     sync.WaitGroup

	mu    sync.Mutex
	names []string
	begun map[string]time.Duration // since the begin
}

type alert struct {
	Labels   map[string]string `json:"labels"`
	StartsAt time.Time         `json:"startsAt"`
}

func newSender(ctx context.Context, urls []string, since time.Time) *sender {
	s := &sender{since: since, begun: map[string]time.Duration{}}
	for _, url := range urls {
		queue := make(chan []alert, 10000)
		s.queues = append(s.queues, queue)
		s.wg.Go(func() {
			client := &http.Client{Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			for batch := range queue {
				// Prometheus drops what it could not send, and counts it.
				_ = post(ctx, client, url+"/api/v2/alerts", more(batch, queue))
			}
		})
	}
	return s
}

// more adds what waits in the queue to a batch, as Prometheus does.
func more(batch []alert, queue <-chan []alert) []alert {
	for len(batch) < 256 {
		select {
		case next, ok := <-queue:
			if !ok {
				return batch
			}
			batch = append(batch, next...)
		default:
			return batch
		}
	}
	return batch
}

func post(ctx context.Context, client *http.Client, url string, alerts []alert) error {
	body, err := json.Marshal(alerts)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close() // it was read
	return err
}

// feed sends new alerts until the channel until is closed, and those that are
// there again and again until the context ends.
func (s *sender) feed(ctx context.Context, until <-chan struct{}) {
	defer func() {
		for _, queue := range s.queues {
			close(queue)
		}
		s.wg.Wait()
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	var all []alert
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var batch []alert
		if again := n - int(resend/every); again >= 0 && again < len(all) {
			batch = append(batch, all[again])
		}
		select {
		case <-until:
		default:
			a := alert{Labels: map[string]string{"alertname": fmt.Sprintf("a%05d", n)}, StartsAt: time.Now()}
			all, batch = append(all, a), append(batch, a)
			s.note(a)
		}
		if len(batch) == 0 {
			continue
		}
		for _, queue := range s.queues {
			select {
			case queue <- batch:
			default: // full for half an hour: as Prometheus, which drops
			}
		}
	}
}

func (s *sender) note(a alert) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := a.Labels["alertname"]
	s.names = append(s.names, name)
	s.begun[name] = time.Since(s.since)
}

// said returns the names of all alerts so far.
func (s *sender) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names)
}
