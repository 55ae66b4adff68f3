package backend

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// large is a state of which each call makes another copy.
type large struct{ size int }

func (l large) MarshalBinary() ([]byte, error) { return make([]byte, l.size), nil }
func (l large) Merge([]byte) error             { return nil }

// What many ask for at once is one copy of the state, while it waits and while it is
// sent; once it has changed it is another.
func TestManyAnswersHoldOneCopy(t *testing.T) {
	n := &node{mail: newMail()}
	st := newState(n, "s", large{1 << 20}, nil)
	copies := map[*byte]bool{}
	answer := func(i int) {
		m := st.marshalled(core.Marshal{Key: "s"})
		if m.Err != nil || len(m.Data) != st.s.(large).size {
			t.Fatalf("%d bytes: %v", len(m.Data), m.Err)
		}
		copies[&m.Data[0]] = true
		it := core.AnswerItem{Key: "s", Outcome: core.Data, HasDigest: m.HasDigest, Digest: m.Digest, Data: m.Data}
		if !n.mail.post(newLetter(fmt.Sprint("asker-", i), &core.Answer{Items: []core.AnswerItem{it}})) {
			t.Fatal("there was no room")
		}
	}
	for i := range 20 {
		answer(i)
	}
	for range 19 {
		if _, ok := n.mail.nextBulk(); !ok {
			t.Fatal("nothing waits")
		}
		n.mail.doneBulk()
	}
	n.mail.nextBulk() // the last is being sent
	answer(20)
	if len(copies) != 1 {
		t.Errorf("21 answers hold %d copies of the state", len(copies))
	}
	st.s = large{1<<20 + 1}
	answer(21)
	if len(copies) != 2 {
		t.Errorf("a state that has changed is one of %d", len(copies))
	}
}

// sizes is a driver that takes frames of any size, and notes how large they are.
type sizes struct {
	driver.Driver
	sent []int
}

func (d *sizes) Broadcast(_ context.Context, b []byte) error {
	d.sent = append(d.sent, len(b))
	return nil
}

// A state is sent in pieces, though the transport takes all of it: each is copied on
// its way.
func TestAStateIsSentInPieces(t *testing.T) {
	d := &sizes{}
	n := newNode(Config{Cluster: "c", Name: "n", Logger: slog.New(slog.DiscardHandler)})
	s := &session{node: n, drv: d, ctx: t.Context()}
	l := newLetter("", &core.Push{Key: "s", Data: make([]byte, 5*pieceBytes)})
	head, tail := l.encoded(n.enc)
	if err := s.transmit(t.Context(), head, tail, "", nil); err != nil {
		t.Fatal(err)
	}
	if len(d.sent) != 6 || slices.Max(d.sent) > pieceBytes {
		t.Errorf("frames of %d bytes", d.sent)
	}
}
