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
		l := n.mail.nextBulk(false)
		if l == nil {
			t.Fatal("nothing waits")
		}
		n.mail.doneBulk(l)
	}
	n.mail.nextBulk(false) // the last is being sent
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

// A state that changes while answers wait is sent as it is by then: what waits is one
// copy, of the last.
func TestWhatWaitsIsTheLatest(t *testing.T) {
	m := newMail()
	answer := func(digest uint64, data string) core.Message {
		return &core.Answer{Items: []core.AnswerItem{{Key: "other", Outcome: core.Equal, Digest: 7}, {Key: "s", Outcome: core.Data, HasDigest: true, Digest: digest, Data: []byte(data)}}}
	}
	post := func(to string, message core.Message) {
		t.Helper()
		if !m.post(newLetter(to, message)) {
			t.Fatal("there was no room")
		}
	}
	post("a", answer(1, "1"))
	sending, _ := m.nextBulk()
	post("b", answer(2, "22"))
	post("c", &core.Push{To: "c", Key: "s", Digest: 3, Data: []byte("333")})
	post("d", &core.Push{To: "d", Key: "t", Digest: 5, Data: []byte("55555")})
	post("e", answer(4, "4444"))
	if got := string(sending.data("s", 1)); got != "1" {
		t.Errorf("on its way is %q, want what it was when it left", got)
	}
	copies, bytes := map[*byte]bool{}, 0
	m.doneBulk()
	for i := range 4 {
		l, ok := m.nextBulk()
		if !ok {
			t.Fatal("nothing waits")
		}
		m.doneBulk()
		bytes += l.size
		if l.to == "d" {
			continue
		}
		data := l.data("s", 4)
		if string(data) != "4444" || l.size != len(data) {
			t.Fatalf("letter %d holds %q, of %d bytes", i, data, l.size)
		}
		copies[&data[0]] = true
	}
	if len(copies) != 1 || bytes != 17 || m.bytes != 0 {
		t.Errorf("%d copies and %d bytes waited, and %d are left", len(copies), bytes, m.bytes)
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

// Data for several members leaves side by side, but no more of it at once than there is
// memory for; to one member, and to all, one goes after the other.
func TestWhatIsSentAtOnce(t *testing.T) {
	m := newMail()
	post := func(to string, size int) {
		if !m.post(letter{to: to, size: size}) {
			t.Fatalf("there is no room for %d bytes to %q", size, to)
		}
	}
	next := func(want string) *letter {
		t.Helper()
		l := m.nextBulk(true)
		if got := fmt.Sprint(l != nil); l == nil && want != "nothing" || l != nil && l.to != want {
			t.Fatalf("is something sent to %q next: %s", want, got)
		}
		return l
	}
	post("b", 1)
	post("b", 2)
	post("", 1)
	post("", 1)
	post("c", maxBulkBytes-10)
	first := next("b")
	next("")
	large := next("c")
	next("nothing") // to b and to all something is being sent
	post("d", 20)
	next("nothing") // there is no memory
	m.doneBulk(large)
	next("d")
	m.doneBulk(first)
	if next("b").size != 2 {
		t.Error("it is another one")
	}

	m = newMail()
	for i := range maxSending + 1 {
		post(fmt.Sprint(i), 1)
	}
	for range maxSending {
		first = m.nextBulk(true)
	}
	next("nothing")
	m.doneBulk(first)
	next(fmt.Sprint(maxSending))

	m = newMail()
	post("b", maxBulkBytes+1)
	post("c", 0) // is small, and in a lane
	large = next("b")
	if !m.post(newLetter("b", &core.Answer{End: true})) || m.nextBulk(true) != nil {
		t.Error("the end of an answer overtakes it")
	}
	m.again(letter{to: "b", size: 3}) // the transport does not know b
	m.doneBulk(large)
	if next("b").size != 3 {
		t.Error("something else for b goes before what is sent again")
	}
	post("d", 1)
	if m.nextBulk(false) != nil {
		t.Error("two are sent at once to all")
	}
}
