package interop_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

const (
	strangersOf = 500 // connections of each source
	sources     = 20
)

// 10,000 connections of strangers, on which nothing is said, something is begun, or much
// is promised, take a bounded amount of memory, and keep nobody from joining.
func TestTenThousandConnections(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Max < sources*strangersOf+1000 {
		t.Skipf("%d connections need as many descriptors, and may have %d: %v", sources*strangersOf, limit.Max, err)
	}
	for _, c := range []struct {
		name, say string
		most      int // bytes for each
	}{
		{"silent", "", 24 << 10},
		{"begun", "\xf4\x03lan\x08\x81", 24 << 10},
		{"a message of 20 MiB", "\xf4\x03lan\x08\x81\xaaUserMsgLen\xce\x01\x40\x00\x00" + strings.Repeat("x", 1000), 28 << 10},
		{"a state of 20 MiB", "\xf4\x03lan\x06\x83\xa5Nodes\x00\xacUserStateLen\xce\x01\x40\x00\x00\xa4Join\xc3" + strings.Repeat("x", 1000), 28 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLAN(t)
			a, b, crowd := l.host(t), l.host(t), l.host(t)
			openAll(t, map[string]string{"tcp_timeout": "60s"}, a)
			a.call(t, request{Do: "forget"})
			before := a.call(t, request{Do: "status"}).Memory
			began, made := time.Now(), 0
			for i := range sources {
				from := fmt.Sprint(subnet, 100+i)
				l.in(t, crowd.cmd, "ip addr add "+from+"/24 dev eth0")
				made += crowd.call(t, request{Do: "strangers", Name: a.ip + ":9094", Size: strangersOf, Params: map[string]string{"from": from}, Say: []byte(c.say)}).Count
			}
			took := time.Since(began)
			b.call(t, request{Do: "open", Name: "b", Params: map[string]string{"listen_address": b.ip + ":9094", "peers": a.ip + ":9094"}})
			agreed(t, a, b)
			a.call(t, request{Do: "broadcast", Name: "large", Size: 1 << 20})
			has(t, b, "large")
			memory := int(a.call(t, request{Do: "status"}).Memory) - int(before)
			t.Logf("%d connections in %v: %.1f MiB, %d bytes each; b joined", made, took.Round(time.Millisecond), float64(memory)/(1<<20), memory/made)
			if memory/made > c.most {
				t.Errorf("a connection takes %d bytes, want %d at most", memory/made, c.most)
			}
			if n := strings.Count(a.log.String(), "level=WARN"); n > 100 {
				t.Errorf("%d lines are logged", n)
			}
			crowd.call(t, request{Do: "hang up"})
			testkit.Eventually(t, 30*time.Second, func() error {
				a.call(t, request{Do: "forget"})
				<-time.After(50 * time.Millisecond) // until it is measured
				if now := a.call(t, request{Do: "status"}).Memory; now > before+32<<20 {
					return fmt.Errorf("%d bytes more are in use after they hung up", now-before)
				}
				return nil
			})
		})
	}
}

// A flood of packets takes a bounded amount of memory, and keeps no update from
// arriving. Who knows the label can invent members where nothing is encrypted, as many
// as are believed.
func TestFloodsOfPackets(t *testing.T) {
	const label = "\xf4\x03lan"
	for _, c := range []struct{ name, say string }{
		{"of no protocol", "GET / HTTP/1.1 MARK"},
		{"of another label", "\xf4\x05other\x08MARK"},
		{"of nonsense", label + "\x08MARK"},
		{"of pings", label + "\x00\x83\xa5SeqNo\x01\xa4Node\xa1x\xa4MARK\x00"},
		{"of invented members", label + "\x04\x86\xabIncarnation\x01\xa4Node\xa8MARK\xa4Addr\xa4\xc6\x12\x4d\xfa\xa4Port\xcd\x23\x86\xa4Meta\xc0\xa3Vsn\xa6\x01\x05\x02\x02\x05\x04"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLAN(t)
			a, b, crowd := l.host(t), l.host(t), l.host(t)
			openAll(t, nil, a, b)
			a.call(t, request{Do: "forget"})
			before, worked := a.call(t, request{Do: "status"}), processor(t, a.cmd.Process.Pid)
			sent := crowd.call(t, request{Do: "flood", Name: a.ip + ":9094", After: 3 * time.Second, Say: []byte(c.say)}).Count
			b.call(t, request{Do: "broadcast", Name: "after", Size: 100})
			has(t, a, "after")
			s := a.call(t, request{Do: "status"})
			t.Logf("%d packets: %.1f MiB, %v of a processor; %v rejected; %d members", sent, float64(int(s.Memory)-int(before.Memory))/(1<<20), processor(t, a.cmd.Process.Pid)-worked, s.value(t, "clusterchannel_frames_rejected_total"), len(s.Members))
			// Twice what it takes: a member that is believed takes 11 KiB.
			if memory := int(s.Memory) - int(before.Memory); memory > 88<<20 {
				t.Errorf("the flood took %d bytes", memory)
			}
			if n := strings.Count(a.log.String(), "level=WARN"); n > 100 {
				t.Errorf("%d lines are logged", n)
			}
			if n := len(s.Members); n > 2 && !strings.Contains(c.name, "members") || n > 4100 {
				t.Errorf("%d members", n)
			}
		})
	}
}

// Members that somebody invents, who knows the label, are dropped as anybody who does
// not answer, however many they are and wherever they are said to be.
func TestInventedMembersAreDropped(t *testing.T) {
	cluster := xxhash.New()
	_, _ = cluster.WriteString("lan") // it never fails
	t.Run("Alertmanagers", func(t *testing.T) { invent(t, "\xa8MARK", "\xc0") })
	t.Run("own", func(t *testing.T) { invent(t, "\xaa0+MARK", "\xaa"+string(cluster.Sum([]byte("\xcc\x02")))) })
}

// invent has members told of whose names and meta data are these, as MessagePack has
// them.
func invent(t *testing.T, called, meta string) {
	const many = 100
	for name, where := range map[string]func(t *testing.T, l *lan, a, crowd *host) (ip string){
		"where no host is":      func(*testing.T, *lan, *host, *host) string { return subnet + "250" },
		"where nothing listens": func(_ *testing.T, _ *lan, _, crowd *host) string { return crowd.ip },
		"where everything is dropped": func(t *testing.T, l *lan, _, _ *host) string {
			h := l.host(t)
			h.filter(t, "-A INPUT -j DROP")
			return h.ip
		},
		"where a member is": func(_ *testing.T, _ *lan, a, _ *host) string { return a.ip },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLAN(t)
			a, b, c, crowd := l.host(t), l.host(t), l.host(t), l.host(t)
			all := []*host{a, b, c}
			openAll(t, nil, all...)
			for _, h := range all {
				h.call(t, request{Do: "forget"})
			}
			say := "\xf4\x03lan\x04\x86\xabIncarnation\x01\xa4Node" + called + "\xa4Addr\xa4" + string(net.ParseIP(where(t, l, a, crowd)).To4()) + "\xa4Port\xcd\x23\x86\xa4Meta" + meta + "\xa3Vsn\xa6\x01\x05\x02\x02\x05\x04"
			crowd.call(t, request{Do: "flood", Name: b.ip + ":9094", After: 10 * time.Second, Size: many, Say: []byte(say)})
			testkit.Eventually(t, 10*time.Second, func() error {
				if !slices.ContainsFunc(b.call(t, request{Do: "status"}).History, func(v string) bool { return len(v) > many/2 }) {
					return errors.New("few are believed")
				}
				return nil
			})
			began := time.Now()
			testkit.Eventually(t, 30*time.Second, func() error {
				for _, h := range all {
					if s := h.call(t, request{Do: "status"}); s.Members != "abc" {
						return fmt.Errorf("%s lists %d members", h.name(), len(s.Members))
					}
				}
				return nil
			})
			t.Logf("all have dropped them after %v", time.Since(began).Round(time.Millisecond))
			for _, h := range all {
				for _, v := range h.call(t, request{Do: "status"}).History {
					if !strings.HasSuffix(v, "abc attached") {
						t.Errorf("%s has seen %q", h.name(), v)
					}
				}
			}
		})
	}
}

// A process without descriptors accepts nobody. It says so now and then, takes no
// processor for it, and goes on when there are some.
func TestNoDescriptorsLeft(t *testing.T) {
	l := newLAN(t)
	a, b := l.host(t), l.host(t)
	openAll(t, nil, a, b)
	lines := func() int {
		return strings.Count(a.log.String(), "level=WARN") + strings.Count(a.log.String(), "level=ERROR")
	}
	a.call(t, request{Do: "descriptors", Size: 1})
	b.call(t, request{Do: "broadcast", Name: "large", Size: 5000}) // by a stream
	logged(t, a, "accepting a connection failed")
	before, worked := lines(), processor(t, a.cmd.Process.Pid)
	<-time.After(3 * time.Second)
	if n := lines() - before; n > 6 {
		t.Errorf("%d lines in three seconds", n)
	}
	if d := processor(t, a.cmd.Process.Pid) - worked; d > time.Second {
		t.Errorf("three seconds took %v of a processor", d)
	}
	a.call(t, request{Do: "descriptors", Size: 1000})
	has(t, a, "large")
	agreed(t, a, b)
}

// processor is the time of a processor that a process has taken.
func processor(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	const user, system = 11, 12 // after the name, which may hold spaces
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := 0
	for _, f := range []string{fields[user], fields[system]} {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
