package servers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// oneTry bounds one exchange: a server may accept a connection and say nothing.
const oneTry = time.Second

// exchange dials addr, sends hello, and hands the connection to answer.
func exchange(ctx context.Context, addr, hello string, answer func(*bufio.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, oneTry)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answer counts
	if err := conn.SetDeadline(time.Now().Add(oneTry)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, hello); err != nil {
		return err
	}
	return answer(bufio.NewReader(conn))
}

func redisReady(ctx context.Context, addr string) error {
	return exchange(ctx, addr, "PING\r\n", func(r *bufio.Reader) error {
		line, err := r.ReadString('\n')
		if err == nil && !strings.HasPrefix(line, "+PONG") && !strings.HasPrefix(line, "-NOAUTH") {
			err = fmt.Errorf("PING is answered by %q", line)
		}
		return err
	})
}

// natsHello is what a NATS client sends first. Commands may follow.
const natsHello = "CONNECT {\"verbose\":false}\r\n"

func natsReady(ctx context.Context, addr string) error {
	return exchange(ctx, addr, natsHello+"PING\r\n", natsAnswer)
}

// natsAnswer reads the answers to natsHello and a PING.
func natsAnswer(r *bufio.Reader) error {
	info, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(info, "INFO {") {
		return errors.Join(fmt.Errorf("the server begins with %q", info), err)
	}
	line, err := r.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "PONG") && !strings.HasPrefix(line, "-ERR 'Authorization") {
		err = fmt.Errorf("PING is answered by %q", line)
	}
	return err
}

func etcdReady(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, oneTry)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/health", nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	var status struct{ Health string }
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		return err
	}
	if status.Health != "true" {
		return errors.New("etcd is not healthy")
	}
	return nil
}
