package nemesis

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// order is what a process that is a node is told, as a line of JSON.
type order struct {
	Do        string
	ID        int `json:",omitempty"` // of an order that wants an answer
	Key, Name string
	Size      int
	Mood      mood
	For       time.Duration
	Condition condition
	Settings  *settings `json:",omitempty"`
}

// answer is what such a process tells.
type answer struct {
	ID      int     `json:",omitempty"` // of the order; 0: nobody asked
	Err     string  `json:",omitempty"`
	Did     bool    `json:",omitempty"`
	View    *sight  `json:",omitempty"`
	Figures figures // only if asked for
	Left    string  `json:",omitempty"` // what the process still holds after the node was closed

	Key, Name string `json:",omitempty"` // an entry of another node's that has come
	Sum       uint32 `json:",omitempty"`
	Damaged   bool   `json:",omitempty"` // bytes for Key that are none
}

// processVariable makes [Node] run a node.
const processVariable = "CLUSTERCHANNEL_NEMESIS_NODE"

// process is a seat in a process of its own.
type process struct {
	cmd      *exec.Cmd
	audience audience
	orders   chan order
	ended    chan struct{} // closed when the process is no more
	wg       sync.WaitGroup

	mu    sync.Mutex
	next  int
	asked map[int]chan answer
}

// openProcess starts this program again, as a node.
func openProcess(s settings, log io.Writer, to audience) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{
		cmd: exec.Command(self), audience: to, orders: make(chan order, 1<<16), ended: make(chan struct{}), asked: map[int]chan answer{},
	}
	p.cmd.Env = append(os.Environ(), processVariable+"=1")
	p.cmd.Stderr = log
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.wg.Go(func() { p.tell(in) })
	p.wg.Go(func() { p.hear(out) })
	if _, err := p.ask(context.Background(), order{Do: "open", Settings: &s}); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// tell hands the orders over, until the process ends.
func (p *process) tell(in io.WriteCloser) {
	defer in.Close() //nolint:errcheck // the process has ended
	e := json.NewEncoder(in)
	for {
		select {
		case o := <-p.orders:
			_ = e.Encode(o) // it fails only if the process has ended
		case <-p.ended:
			return
		}
	}
}

// hear handles what the process tells, until it ends.
func (p *process) hear(out io.Reader) {
	defer close(p.ended)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			continue // a library has printed something
		}
		switch {
		case a.ID > 0:
			p.mu.Lock()
			asked := p.asked[a.ID]
			delete(p.asked, a.ID)
			p.mu.Unlock()
			if asked != nil {
				asked <- a
			}
		case a.View != nil:
			p.audience.viewed(a.View.view())
		case a.Damaged:
			p.audience.damaged(a.Key)
		default:
			p.audience.got(a.Key, a.Name, a.Sum)
		}
	}
	_ = p.cmd.Wait() // how it ended does not count: it may have been killed
}

func (p *process) give(o order) {
	select {
	case p.orders <- o:
	case <-p.ended:
	}
}

var errEnded = errors.New("the process of the node has ended")

// ask gives an order and waits for the answer.
func (p *process) ask(ctx context.Context, o order) (answer, error) {
	answered := make(chan answer, 1)
	p.mu.Lock()
	p.next++
	o.ID = p.next
	p.asked[o.ID] = answered
	p.mu.Unlock()
	p.give(o)
	select {
	case a := <-answered:
		if a.Err != "" {
			return a, errors.New(a.Err)
		}
		return a, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	case <-p.ended:
		return answer{}, errEnded
	}
}

func (p *process) put(key, name string, size int) {
	p.give(order{Do: "put", Key: key, Name: name, Size: size})
}

func (p *process) act(ctx context.Context, name string, turn time.Duration) (bool, error) {
	a, err := p.ask(ctx, order{Do: "act", Name: name, For: turn})
	return a.Did, err
}

func (p *process) be(key string, m mood) { p.give(order{Do: "be", Key: key, Mood: m}) }
func (p *process) remove(key string)     { p.give(order{Do: "remove", Key: key}) }
func (p *process) reopen()               { p.give(order{Do: "reopen"}) }
func (p *process) befall(c condition)    { p.give(order{Do: "befall", Condition: c}) }

func (p *process) add(key string) error {
	_, err := p.ask(context.Background(), order{Do: "add", Key: key})
	return err
}

func (p *process) figures() (figures, error) {
	a, err := p.ask(context.Background(), order{Do: "figures"})
	return a.Figures, err
}

func (p *process) close(limit time.Duration) error {
	_, err := p.ask(context.Background(), order{Do: "close", For: limit})
	return err
}

// end ends the process of a node that was closed, and returns what it still held.
func (p *process) end() (left string) {
	a, _ := p.ask(context.Background(), order{Do: "holds"}) // a process that has ended holds nothing
	p.kill()
	return a.Left
}

func (p *process) pause()  { stop(p.cmd.Process) }
func (p *process) resume() { goOn(p.cmd.Process) }

// kill ends the process at once, and returns when it has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	p.wg.Wait()
}

// Node runs a node and ends the process, if the process was started as one of a run
// with Options.Processes; else it returns at once. Call it first in main or TestMain.
func Node() {
	if os.Getenv(processVariable) == "" {
		return
	}
	s := &server{out: json.NewEncoder(os.Stdout)}
	s.serve(os.Stdin)
	os.Exit(0)
}

// server is a node's process.
type server struct {
	mu    sync.Mutex
	out   *json.Encoder
	agent *agent
	held  holdings // before the node was opened
}

func (s *server) say(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.out.Encode(a) // it fails only if nobody hears any more
}

func (s *server) viewed(v backend.View) { seen := sightOf(v); s.say(answer{View: &seen}) }
func (s *server) got(key, name string, sum uint32) {
	s.say(answer{Key: key, Name: name, Sum: sum})
}
func (s *server) damaged(key string) { s.say(answer{Key: key, Damaged: true}) }

// serve carries out orders until in ends: then whoever gave them is gone.
func (s *server) serve(in io.Reader) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var o order
		if err := json.Unmarshal(line, &o); err != nil {
			fmt.Fprintln(os.Stderr, "nemesis: a bad order:", strings.TrimSpace(string(line)))
			return
		}
		switch o.Do {
		case "act", "close", "holds", "add": // which may take long
			go s.carryOut(o)
		default:
			s.carryOut(o)
		}
	}
}

func (s *server) carryOut(o order) {
	a := answer{ID: o.ID}
	var err error
	switch o.Do {
	case "open":
		s.held = held()
		b, _ := backend.Lookup(o.Settings.Backend)
		s.agent, err = openAgent(backend.Open, *o.Settings, newTap(b.Open), os.Stderr, s)
	case "put":
		s.agent.put(o.Key, o.Name, o.Size)
	case "act":
		a.Did, err = s.agent.act(context.Background(), o.Name, o.For)
	case "be":
		s.agent.be(o.Key, o.Mood)
	case "add":
		err = s.agent.add(o.Key)
	case "remove":
		s.agent.remove(o.Key)
	case "reopen":
		s.agent.reopen()
	case "befall":
		s.agent.befall(o.Condition)
	case "figures":
		a.Figures, err = s.agent.figures()
	case "close":
		err = s.agent.close(o.For)
	case "holds":
		a.Left = s.holds()
	}
	if err != nil {
		a.Err = err.Error()
	}
	if o.ID > 0 {
		s.say(a)
	}
}

// goneLimit is how long a process may take to give back what its node had.
const goneLimit = 20 * time.Second

// holds waits until the process has given back what its node had, and returns what it
// still holds.
func (s *server) holds() string {
	const own = 1 // the goroutine that closes
	again := time.NewTicker(poll)
	defer again.Stop()
	for began := time.Now(); ; <-again.C {
		now := held()
		if now.goroutines <= s.held.goroutines+own && now.descriptors <= s.held.descriptors {
			return ""
		}
		if time.Since(began) > goneLimit {
			return fmt.Sprintf("%d goroutines and %d descriptors, before %d and %d:\n%s",
				now.goroutines, now.descriptors, s.held.goroutines+own, s.held.descriptors, stacks())
		}
	}
}
