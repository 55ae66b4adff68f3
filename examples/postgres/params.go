package postgres

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// Params are the parameters of the backend.
type Params struct {
	Address     []string `param:"address" default:"localhost:5432"`
	Database    string   `param:"database" alias:"path" default:"postgres"`
	Username    string   `param:"username" default:"postgres"`
	Password    string   `param:"password" secret:"true"`
	SSLMode     string   `param:"sslmode" default:"prefer" oneof:"disable,prefer,require,verify-ca,verify-full"`
	SSLRootCert string   `param:"sslrootcert"`
	SSLCert     string   `param:"sslcert"`
	SSLKey      string   `param:"sslkey"`
}

// parse checks all parameters before anything is dialled.
func parse(o driver.Options) (*pgx.ConnConfig, error) {
	var p Params
	if err := cmp.Or(params.Decode(o.Params, &p), params.RequireCluster(o.Cluster)); err != nil {
		return nil, err
	}
	if err := params.HostPorts("address", p.Address, "5432"); err != nil {
		return nil, err
	}
	var hosts, ports []string
	for _, a := range p.Address {
		host, port, _ := net.SplitHostPort(a) // it was checked
		hosts, ports = append(hosts, host), append(ports, port)
	}
	for key, file := range map[string]string{"sslrootcert": p.SSLRootCert, "sslcert": p.SSLCert, "sslkey": p.SSLKey} {
		if _, err := os.ReadFile(file); file != "" && err != nil {
			return nil, params.Bad(key, "%w", err)
		}
	}
	config, err := pgx.ParseConfig(connString(map[string]string{
		"host": strings.Join(hosts, ","), "port": strings.Join(ports, ","), "dbname": p.Database, "user": p.Username,
		"sslmode": p.SSLMode, "sslrootcert": p.SSLRootCert, "sslcert": p.SSLCert, "sslkey": p.SSLKey,
		"application_name":     channel(o.Cluster),
		"target_session_attrs": "read-write", // a standby accepts no NOTIFY
	}))
	if err != nil {
		return nil, params.Bad("sslmode", "cannot be used with these sslrootcert, sslcert and sslkey: %w", err)
	}
	config.Password = cmp.Or(p.Password, config.Password)
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { o.Logger.Debug("the server says", "notice", n.Message) }
	return config, nil
}

// connString returns the settings that are not empty, as libpq reads them.
func connString(settings map[string]string) string {
	var b strings.Builder
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	for key, value := range settings {
		if value != "" {
			fmt.Fprintf(&b, "%s='%s' ", key, quote.Replace(value))
		}
	}
	return b.String()
}

// channel is the channel of a cluster's frames. A name in PostgreSQL has at
// most 63 bytes, and a cluster's may have 200 of any kind, so it is a hash.
func channel(cluster string) string {
	sum := sha256.Sum256([]byte(cluster))
	return "clusterchannel_" + hex.EncodeToString(sum[:16])
}

// inbox is the channel of what is for one node alone.
func inbox(cluster, instance string) string { return channel(channel(cluster) + " " + instance) }

// refused separates errors that the user can fix from those that may pass by
// themselves.
func refused(err error) error {
	e, is := errors.AsType[*pgconn.PgError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case is && strings.HasPrefix(e.Code, "28"): // invalid authorization
		return params.Bad("username", "the server refuses it, the password, or the sslmode: %w", err)
	case is && e.Code == "3D000": // invalid catalog name
		return params.Bad("database", "the server has none of that name: %w", err)
	}
	return fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
}
