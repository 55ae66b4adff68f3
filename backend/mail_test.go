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
	sending := m.nextBulk(false)
	post("b", answer(2, "22"))
	post("c", &core.Push{To: "c", Key: "s", Digest: 3, Data: []byte("333")})
	post("d", &core.Push{To: "d", Key: "t", Digest: 5, Data: []byte("55555")})
	post("e", answer(4, "4444"))
	if got := string(sending.data("s", 1)); got != "1" {
		t.Errorf("on its way is %q, want what it was when it left", got)
	}
	copies, bytes := map[*byte]bool{}, 0
	m.doneBulk(sending)
	for i := range 4 {
		l := m.nextBulk(false)
		if l == nil {
			t.Fatal("nothing waits")
		}
		m.doneBulk(l)
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

// Data for several members leaves side by side where it takes little memory: it is small,
// or of one copy. To one member, and to all, one goes after the other.
func TestWhatIsSentAtOnce(t *testing.T) {
	m := newMail()
	post := func(l letter) {
		if !m.post(l) {
			t.Fatalf("there is no room for %d bytes to %q", l.size, l.to)
		}
	}
	next := func(want string) *letter {
		t.Helper()
		l := m.nextBulk(true)
		if got := fmt.Sprint(l != nil); l == nil && want != "nothing" || l != nil && l.to != want {
			t.Fatalf("is something sent before what is for %q: %s", want, got)
		}
		return l
	}
	post(letter{to: "b", size: 1})
	post(letter{to: "b", size: 2})
	post(letter{to: "", size: 1})
	post(letter{to: "", size: 1})
	first := next("b")
	next("")
	next("nothing") // to both something is being sent
	m.doneBulk(first)
	if next("b").size != 2 {
		t.Error("it is another one")
	}

	m = newMail()
	copied := make([]byte, smallBulk+1)
	of := func(to, key string, data []byte) letter {
		return newLetter(to, &core.Push{To: to, Key: key, Data: data})
	}
	post(of("b", "s", copied))
	post(of("c", "t", make([]byte, smallBulk+1)))
	post(of("d", "s", copied))
	post(of("e", "u", make([]byte, smallBulk)))
	post(newLetter("f", &core.Walk{To: "f", Key: "v", Entries: [][]byte{make([]byte, smallBulk+1)}}))
	first = next("b")
	same := next("d")
	next("e")
	next("nothing") // t would be another copy, and the entry too
	m.doneBulk(first)
	next("nothing")
	m.doneBulk(same)
	next("c")

	m = newMail()
	for i := range maxSending + 1 {
		post(letter{to: fmt.Sprint(i), size: 1})
	}
	for range maxSending {
		first = m.nextBulk(true)
	}
	next("nothing")
	m.doneBulk(first)
	next(fmt.Sprint(maxSending))

	m = newMail()
	post(letter{to: "b", size: 2})
	first = next("b")
	if !m.post(newLetter("b", &core.Answer{End: true})) || m.nextBulk(true) != nil {
		t.Error("the end of an answer overtakes it")
	}
	m.again(letter{to: "b", size: 3}) // the transport does not know b
	m.doneBulk(first)
	if next("b").size != 3 {
		t.Error("something else for b goes before what is sent again")
	}
	post(letter{to: "d", size: 1})
	if m.nextBulk(false) != nil {
		t.Error("two are sent at once to all")
	}
}
