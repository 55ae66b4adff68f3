// Command bench measures the backend memberlist beside Alertmanager's own
// cluster package and beside memberlist's bare sends, in one run on this
// machine's loopback, and prints a table with ratios. It judges nothing: the
// machine is shared and the numbers vary.
//
//	go run ./bench -nodes 3,5
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

// plan says how much to measure.
type plan struct {
	messages int           // one by one, at the pace of perSecond
	pace     time.Duration // between two
	burst    int
	patience time.Duration // for a burst to arrive
	idle     time.Duration
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "node" { // the process that will be killed
		runNode(os.Args[2], os.Args[3])
		return
	}
	nodes := flag.String("nodes", "3,5", "cluster sizes, by comma")
	quick := flag.Bool("quick", false, "measure less, for a first look")
	flag.Parse()
	p := plan{messages: 200, pace: 50 * time.Millisecond, burst: 20000, patience: 120 * time.Second, idle: 30 * time.Second}
	if *quick {
		p = plan{messages: 60, pace: 50 * time.Millisecond, burst: 20000, patience: 20 * time.Second, idle: 5 * time.Second}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fmt.Println("| nodes | measured | Alertmanager | clusterchannel | ratio | bare memberlist | ratio |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, s := range strings.Split(*nodes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 2 || n > 50 {
			fmt.Fprintf(os.Stderr, "bench: -nodes: %q is not within 2 to 50\n", s)
			os.Exit(2)
		}
		if err := compare(ctx, n, p); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
}

// compare measures clusters of n nodes and prints a row for each thing measured.
func compare(ctx context.Context, n int, p plan) error {
	theirs, err := measure(ctx, alertmanagers, n, p)
	if err != nil {
		return fmt.Errorf("alertmanager, %d nodes: %w", n, err)
	}
	ours, err := measure(ctx, channels, n, p)
	if err != nil {
		return fmt.Errorf("clusterchannel, %d nodes: %w", n, err)
	}
	bare, err := measureBare(n, p)
	if err != nil {
		return fmt.Errorf("memberlist, %d nodes: %w", n, err)
	}
	for _, name := range []string{rowP50, rowP99, rowBurst, rowLarge, rowJoin, rowCrash, rowCPU, rowBytes} {
		a, o := theirs[name], ours[name]
		third, ratio := "", ""
		if b, ok := bare[name]; ok {
			third, ratio = b.text, fmt.Sprintf("%.2f", o.value/b.value)
		}
		fmt.Printf("| %d | %s | %s | %s | %.1fx | %s | %s |\n", n, name, a.text, o.text, a.value/o.value, third, ratio)
	}
	return nil
}
