package relay

import (
	"net"
	"sync"
	"time"
)

// Hub is the server: each frame of a connection goes to all connections of the
// same cluster.
type Hub struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[*client]bool
	done  bool
}

type client struct {
	net.Conn
	cluster string

	mu sync.Mutex // one frame at a time
}

// Listen starts a hub on address.
func Listen(address string) (*Hub, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	h := &Hub{listener: l, conns: map[*client]bool{}}
	h.wg.Go(h.accept)
	return h, nil
}

// Addr returns where the hub listens.
func (h *Hub) Addr() string { return h.listener.Addr().String() }

// Clients returns how many connections a cluster has.
func (h *Hub) Clients(cluster string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for c := range h.conns {
		if c.cluster == cluster {
			n++
		}
	}
	return n
}

// Close drops all connections.
func (h *Hub) Close() {
	h.mu.Lock()
	h.done = true
	_ = h.listener.Close()
	for c := range h.conns {
		_ = c.Close()
	}
	h.mu.Unlock()
	h.wg.Wait()
}

func (h *Hub) accept() {
	for {
		nc, err := h.listener.Accept()
		if err != nil {
			return
		}
		h.wg.Go(func() { h.serve(&client{Conn: nc}) })
	}
}

func (h *Hub) serve(c *client) {
	defer func() { _ = c.Close() }()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	cluster, err := readFrame(c)
	if err != nil || !h.add(c, string(cluster)) {
		return
	}
	defer h.remove(c)
	_ = c.SetReadDeadline(time.Time{})
	c.send(cluster)
	for {
		frame, err := readFrame(c)
		if err != nil {
			return
		}
		for _, to := range h.of(c.cluster) {
			to.send(frame)
		}
	}
}

// send drops a connection that does not read a frame in time.
func (c *client) send(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(linger))
	if err := writeFrame(c, frame); err != nil {
		_ = c.Close()
	}
}

func (h *Hub) add(c *client, cluster string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.cluster = cluster
	if !h.done {
		h.conns[c] = true
	}
	return !h.done
}

func (h *Hub) remove(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
}

func (h *Hub) of(cluster string) []*client {
	h.mu.Lock()
	defer h.mu.Unlock()
	var conns []*client
	for c := range h.conns {
		if c.cluster == cluster {
			conns = append(conns, c)
		}
	}
	return conns
}
