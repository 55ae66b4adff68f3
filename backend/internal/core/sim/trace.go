package sim

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// say writes a line of the transcript.
func (w *World) say(who, format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%10.4fs %-6s %s\n", w.now.Seconds(), who, fmt.Sprintf(format, args...))
	}
}

var verdicts = map[core.Verdict]string{core.Deliver: "deliver", core.Duplicate: "duplicate", core.Unknown: "unknown", core.Refused: "refused", core.Own: "own"}

var notes = map[core.NoteKind]string{
	core.NoteJoined: "joined", core.NoteLeft: "left", core.NoteFailed: "failed", core.NoteUpdated: "updated", core.NoteConflict: "conflict",
	core.NoteAttached: "attached", core.NoteReattached: "reattached", core.NoteDetached: "detached", core.NoteDeaf: "deaf",
	core.NoteIsolated: "isolated", core.NoteStoodStill: "stood still", core.NoteCaughtUp: "caught up", core.NoteDisputed: "disputed",
	core.NoteAgreed: "agreed", core.NoteReady: "ready", core.NoteTimedOut: "timed out", core.NoteGap: "gap", core.NoteLost: "lost",
	core.NoteAskedAgain: "asked again", core.NoteSentAgain: "sent again", core.NoteExchange: "exchange", core.NoteAnswered: "answered",
	core.NoteRefused: "refused", core.NoteEcho: "echo", core.NoteRaised: "raised", core.NoteRejected: "rejected", core.NoteLimited: "limited",
}

var outcomes = map[core.Outcome]string{core.Equal: "equal", core.Data: "data", core.Lacking: "lacking", core.Busy: "busy", core.Later: "later", core.Apart: "apart"}

var worths = map[core.Worth]string{core.Joining: "joining", core.Repairing: "repairing", core.Whole: "whole"}

// kindOf returns the name of the type of an event, an effect or a message.
func kindOf(v any) string {
	switch v := v.(type) {
	case core.Received:
		return kindOf(v.Message)
	case core.Send:
		return kindOf(v.Message)
	case nil:
		return ""
	}
	t := reflect.TypeOf(v)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// describe returns one line on an event, an effect or a message.
func describe(v any) string {
	switch v := v.(type) {
	case core.Received:
		return "from " + v.From + " " + describe(v.Message)
	case core.Send:
		if v.To == "" {
			return "all " + describe(v.Message)
		}
		return v.To + " " + describe(v.Message)
	case core.Resend:
		return fmt.Sprintf("resend to %q %d updates", v.To, len(v.Updates))
	case core.Note:
		line := "note " + notes[v.Kind]
		if v.Member.Instance != "" {
			line += " " + v.Member.Instance
		}
		if v.Key != "" {
			line += " " + v.Key
		}
		if v.Count > 0 {
			line += fmt.Sprintf(" count=%d", v.Count)
		}
		if v.Took > 0 {
			line += fmt.Sprintf(" took=%v", v.Took)
		}
		if v.Text != "" {
			line += fmt.Sprintf(" %q", v.Text)
		}
		return line
	case core.Publish:
		var ids []string
		for _, m := range v.View.Members {
			ids = append(ids, m.Instance)
		}
		return fmt.Sprintf("view %s position=%d attached=%v ready=%d unready=%v isolated=%v disputed=%v epoch=%d err=%v", strings.Join(ids, ","),
			v.View.Position, v.View.Status == core.Attached, v.View.Ready, v.View.Unready, v.View.Isolated, v.View.Disputed, v.View.Epoch, v.View.Err)
	case core.Merge:
		return fmt.Sprintf("Merge job=%d %s %d bytes %d entries", v.Job, v.Key, len(v.Data), len(v.Entries))
	case core.Fetch:
		return fmt.Sprintf("Fetch job=%d %s %d entries room=%d", v.Job, v.Key, len(v.IDs), v.Room)
	case core.Fetched:
		return fmt.Sprintf("Fetched job=%d %d of %d err=%v", v.Job, len(v.Entries), v.Taken, v.Err)
	case core.Marshalled:
		return fmt.Sprintf("Marshalled job=%d digest=%x data=%d apart=%v err=%v", v.Job, v.Digest, len(v.Data), v.View != nil, v.Err)
	case core.Exchanged:
		return fmt.Sprintf("Exchanged foreign=%v %v failed=%v", v.Head == nil, v.Keys, v.Failed)
	case core.Listed:
		var ids []string
		for _, m := range v.Members {
			ids = append(ids, m.Instance)
		}
		return "Listed " + strings.Join(ids, ",")
	case *core.Heartbeat:
		if v.Like != 0 {
			return fmt.Sprintf("Heartbeat %d incarnation=%d like %d %v departed=%v", v.Count, v.Incarnation, v.Like, v.Numbers, v.Departed)
		}
		return fmt.Sprintf("Heartbeat %d incarnation=%d interval=%v hello=%v leaving=%v %s view=%x/%d %v departed=%v",
			v.Count, v.Incarnation, v.Interval, v.Hello, v.Leaving, worths[v.Worth], v.View.Hash, v.View.Count, v.Numbers, v.Departed)
	case *core.List:
		var ids []string
		for _, m := range v.Members {
			ids = append(ids, m.Member.Instance)
		}
		return fmt.Sprintf("List to=%q %s", v.To, strings.Join(ids, ","))
	case *core.Answer:
		line := fmt.Sprintf("Answer for=%v differ=%v end=%v sent=%v", v.For, v.Differ, v.End, v.Sent)
		for _, it := range v.Items {
			line += fmt.Sprintf(" [%q %s %s digest=%v/%x data=%d numbers=%v]", it.Key, outcomes[it.Outcome], worths[it.Worth], it.HasDigest, it.Digest, len(it.Data), it.Numbers)
		}
		return line
	case *core.Walk:
		return fmt.Sprintf("Walk to=%s id=%d %s step=%d splits=%d lists=%d entries=%d more=%v", v.To, v.ID, v.Key, v.Step, len(v.Ask.Splits), len(v.Ask.Lists), len(v.Entries), v.More)
	case *core.Walked:
		return fmt.Sprintf("Walked for=%v %s step=%d %s prints=%d wants=%d next=%x entries=%d gone=%v refused=%d",
			v.For, v.Key, v.Step, outcomes[v.Outcome], len(v.Reply.Prints), len(v.Reply.Wants), v.Reply.Next, len(v.Entries), v.Gone, v.Refused)
	case *core.Push:
		return fmt.Sprintf("Push to=%s %s digest=%x data=%d", v.To, v.Key, v.Digest, len(v.Data))
	}
	if t := reflect.TypeOf(v); t.Kind() == reflect.Pointer {
		return t.Elem().Name() + fmt.Sprintf("%+v", reflect.ValueOf(v).Elem().Interface())
	}
	return reflect.TypeOf(v).Name() + fmt.Sprintf("%+v", v)
}

// sizeOf is about how long a message is when it is encoded.
func sizeOf(m core.Message) int {
	const header, field = 40, 6
	size := header
	numbers := func(all []core.Last) {
		for _, l := range all {
			size += field + len(l.Key)
		}
	}
	held := func(all []core.Numbers) {
		for _, n := range all {
			size += field + len(n.Origin) + 8*len(n.Ranges)
		}
	}
	member := func(m core.Member) {
		size += 3*field + len(m.Name) + len(m.Instance) + len(m.Addr)
		for key, value := range m.Meta {
			size += field + len(key) + len(value)
		}
	}
	switch m := m.(type) {
	case *core.Heartbeat:
		member(m.Member)
		size += 8 * 4
		numbers(m.Numbers)
		for _, d := range m.Departed {
			size += field + len(d.Instance)
			numbers(d.Numbers)
		}
	case *core.Goodbye:
		numbers(m.Numbers)
	case *core.Void:
		size += field + len(m.Instance)
	case *core.List:
		for _, l := range m.Members {
			member(l.Member)
			size += 3 * field
		}
	case *core.Missing:
		for _, want := range m.Wants {
			size += field + len(want.Key) + 8*len(want.Numbers)
		}
	case *core.Kept:
		for _, k := range m.Keys {
			size += field + len(k.Key) + 8*len(k.Gone)
		}
	case *core.Pull:
		size += 20
		for _, it := range m.Items {
			size += 12 + len(it.Key)
			held(it.Holes)
		}
	case *core.Answer:
		for _, a := range m.For {
			size += field + len(a.Instance) + 8
		}
		for _, it := range m.Items {
			size += 16 + len(it.Key) + len(it.Data) + 8*len(it.Sketch)
			held(it.Numbers)
		}
		for _, key := range m.Sent {
			size += field + len(key)
		}
	case *core.Walk:
		size += 32 + len(m.Key) + 16*len(m.Ask.Splits) + bytesOf(m.Entries)
		for _, l := range m.Ask.Lists {
			size += 22 + 8*len(l.Places)
		}
	case *core.Walked:
		size += 32 + len(m.Key) + len(m.For.Instance) + 8*(len(m.Reply.Prints)+len(m.Reply.Wants)) + bytesOf(m.Entries)
	case *core.Push:
		size += 16 + len(m.Key) + len(m.Data)
	}
	return size
}

func bytesOf(entries [][]byte) (n int) {
	for _, b := range entries {
		n += 2 + len(b)
	}
	return n
}

// seconds returns d in seconds.
func seconds(d time.Duration) float64 { return d.Seconds() }
