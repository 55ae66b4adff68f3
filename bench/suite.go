package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// role is a contender's column in a table.
type role string

const (
	theirRole  role = "theirs" // what is used today
	formerRole role = "former" // ours, of another commit
	ourRole    role = "ours"
	lightRole  role = "light" // ours, with a state that keeps nothing that arrives
	rawRole    role = "raw"   // the client library, whose nodes keep what arrives, as ours do
	bareRole   role = "bare"  // the same, but nothing that arrives is copied or kept
)

// suite is what is measured for a backend.
type suite struct {
	contenders map[role]contender
	nodes      string // sizes of the comparison, where none are given
	growth     string // sizes of the growth
	hundreds   string // the largest sizes
	rows       []aim
}

// aim is the goal of a row; zero means none.
type aim struct {
	row        string
	faster     float64 // faster than theirs, by at least this factor
	below      string  // this value
	ofTheRaw   float64 // no more than this multiple of the raw client's time
	throughput float64 // at least this multiple of the raw client's throughput
}

var suites = map[string]suite{
	"memberlist": {
		contenders: map[role]contender{theirRole: alertmanager, ourRole: ours, lightRole: light, rawRole: bareMemberlist.keeping(), bareRole: bareMemberlist.counting()},
		nodes:      "3,5", growth: "3,10,30,50,100", hundreds: "50,150",
		rows: []aim{
			{row: rowP50, faster: 200, ofTheRaw: 1.5},
			{row: rowP99, faster: 50},
			{row: rowBurst, below: "< 1s"},
			{row: rowLarge, faster: 5},
			{row: rowBareP50}, {row: rowBareLarge},
			{row: rowJoin, below: "< 1s"},
			{row: rowLeave, below: "< 1s"},
			{row: rowCrash, below: "< 3s"},
			{row: rowCPU, faster: 1},
			{row: rowBytes, faster: 1},
		},
	},
	"redis": {
		contenders: map[role]contender{theirRole: grafana, ourRole: ours, lightRole: light, rawRole: rawRedis.keeping(), bareRole: rawRedis.counting()},
		nodes:      "10", growth: "3,10,30,50", hundreds: "100,300",
		rows: brokerRows(
			aim{row: rowP50, faster: 100, ofTheRaw: 1.5},
			aim{row: rowBurst, throughput: 0.5},
			aim{row: rowBareLarge, ofTheRaw: 1.5},
			aim{row: rowServer, below: "< 1"},
		),
	},
	"nats": {
		contenders: map[role]contender{ourRole: ours, lightRole: light, rawRole: rawNATS.keeping(), bareRole: rawNATS.counting()},
		nodes:      "10", growth: "3,10,30,50,100", hundreds: "100,300",
		rows: brokerRows(
			aim{row: rowP50, ofTheRaw: 1.5},
			aim{row: rowBurst, throughput: 0.5},
			aim{row: rowBareLarge, ofTheRaw: 1.5},
			aim{row: rowServer},
		),
	},
	"etcd": {
		contenders: map[role]contender{ourRole: ours, lightRole: light, rawRole: rawEtcd.keeping(), bareRole: rawEtcd.counting()},
		nodes:      "10", growth: "3,10,30,50,100", hundreds: "100,300",
		rows: brokerRows(
			aim{row: rowP50, ofTheRaw: 1.5},
			aim{row: rowBurst, throughput: 5},
			aim{row: rowBareLarge},
			aim{row: rowServer},
		),
	},
}

// largeAlone is what is measured of large messages beside the client library.
func (s suite) largeAlone() suite {
	s.contenders = maps.Clone(s.contenders)
	delete(s.contenders, theirRole)
	s.rows = slices.DeleteFunc(slices.Clone(s.rows), func(a aim) bool { return a.row != rowLarge && a.row != rowBareLarge })
	return s
}

// besideFormer is what is measured beside the same of another commit.
func (s suite) besideFormer() suite {
	s.contenders = map[role]contender{formerRole: {title: "former"}, ourRole: ours}
	s.rows = slices.DeleteFunc(slices.Clone(s.rows), func(a aim) bool { return a.row == rowBareP50 || a.row == rowBareLarge })
	return s
}

// brokerRows are the rows of a backend with a server.
func brokerRows(p50, burst, large, server aim) []aim {
	return []aim{
		p50, {row: rowP99}, burst, {row: rowLarge}, {row: rowBareP50}, large,
		{row: rowJoin, below: "< 1s"}, {row: rowLeave, below: "< 1s"}, {row: rowCrash, below: "< 3s"},
		server, {row: rowIn}, {row: rowOut}, {row: rowTraffic}, {row: rowCPU},
	}
}

// suiteOf looks up a suite.
func suiteOf(backend string) (suite, error) {
	s, ok := suites[backend]
	if !ok {
		return s, fmt.Errorf("-backend: %q is none of %s", backend, strings.Join(slices.Sorted(maps.Keys(suites)), ", "))
	}
	return s, nil
}
