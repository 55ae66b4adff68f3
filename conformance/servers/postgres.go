package servers

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"
	"syscall"
)

//go:embed postgres.sh
var postgresScript string

// PostgresPassword is the password of the user postgres of [Postgres], unless
// Options.Env has another POSTGRES_PASSWORD.
const PostgresPassword = "conformance"

// Postgres is a PostgreSQL that reads the variables of its official image:
// POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB.
func Postgres() Kind {
	return Kind{
		Name: "postgres", Image: "postgres:15.18", Port: 5432, Binary: "postgres", Command: "postgres", Script: postgresScript,
		Args: func(p Place) []string {
			// No fsync: what a process has written outlives it anyway.
			return []string{
				"-p", fmt.Sprint(p.Port), "-c", "listen_addresses=" + p.Host, "-c", "fsync=off",
				"-c", "unix_socket_directories=" + p.Data + "/postgres",
			}
		},
		Env:   map[string]string{"PGDATA": "{data}/postgres", "POSTGRES_PASSWORD": PostgresPassword},
		Halt:  syscall.SIGQUIT, // which ends it at once, with its children
		Ready: postgresReady,
	}
}

// postgresReady asks to log in: a server that is still starting, or recovering,
// answers with an error in place of a demand for a password.
func postgresReady(ctx context.Context, addr string) error {
	const version = 3 << 16
	var hello bytes.Buffer
	for _, text := range []string{"user", "postgres", "database", "postgres", ""} {
		hello.WriteString(text + "\x00")
	}
	message := binary.BigEndian.AppendUint32(nil, uint32(8+hello.Len()))
	message = binary.BigEndian.AppendUint32(message, version)
	return exchange(ctx, addr, string(append(message, hello.Bytes()...)), func(r *bufio.Reader) error {
		kind, err := r.ReadByte()
		if err != nil || kind == 'R' {
			return err
		}
		rest, _ := io.ReadAll(io.LimitReader(r, 200))
		return fmt.Errorf("the server answers with %c %q", kind, rest)
	})
}
