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

// parse checks the parameters, all before anything is dialled.
func parse(o driver.Options) (*pgx.ConnConfig, error) {
	var p Params
	if err := params.Decode(o.Params, &p); err != nil {
		return nil, err
	}
	if err := params.RequireCluster(o.Cluster); err != nil {
		return nil, err
	}
	hosts, ports, err := hostsAndPorts(p.Address)
	if err := cmp.Or(err, p.readable()); err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(settings{
		{"host", hosts}, {"port", ports}, {"dbname", p.Database}, {"user", p.Username},
		{"sslmode", p.SSLMode}, {"sslrootcert", p.SSLRootCert}, {"sslcert", p.SSLCert}, {"sslkey", p.SSLKey},
		{"application_name", channel(o.Cluster)},
		{"target_session_attrs", "read-write"}, // a standby takes no NOTIFY
	}.String())
	if err != nil {
		return nil, fmt.Errorf("%w: sslmode, sslrootcert, sslcert and sslkey cannot be used together: %w", driver.ErrConfig, err)
	}
	config.Password = cmp.Or(p.Password, config.Password)
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { o.Logger.Debug("the server says", "notice", n.Message) }
	return config, nil
}

// hostsAndPorts returns those of addresses, each as a list of libpq.
func hostsAndPorts(addresses []string) (hosts, ports string, err error) {
	if len(addresses) == 0 {
		return "", "", fmt.Errorf("%w: address: is empty; want host:port", driver.ErrConfig)
	}
	var h, p []string
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err == nil && host != "" {
			_, err = net.LookupPort("tcp", port)
		}
		if err != nil || host == "" || strings.Contains(host, "/") {
			return "", "", fmt.Errorf("%w: address: %q is not host:port", driver.ErrConfig, a)
		}
		h, p = append(h, host), append(p, port)
	}
	return strings.Join(h, ","), strings.Join(p, ","), nil
}

// readable tells which of the files cannot be read.
func (p Params) readable() error {
	for key, file := range map[string]string{"sslrootcert": p.SSLRootCert, "sslcert": p.SSLCert, "sslkey": p.SSLKey} {
		if file == "" {
			continue
		}
		if _, err := os.ReadFile(file); err != nil {
			return fmt.Errorf("%w: %s: %w", driver.ErrConfig, key, err)
		}
	}
	if (p.SSLCert == "") != (p.SSLKey == "") {
		return fmt.Errorf("%w: sslcert and sslkey are given together or not at all", driver.ErrConfig)
	}
	return nil
}

// settings are key and value pairs that libpq understands.
type settings [][2]string

// String returns a connection string of those that are set.
func (s settings) String() string {
	var b strings.Builder
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	for _, kv := range s {
		if kv[1] != "" {
			fmt.Fprintf(&b, "%s='%s' ", kv[0], quote.Replace(kv[1]))
		}
	}
	return b.String()
}

// channel is where a cluster's frames go. A name in PostgreSQL has at most 63
// bytes and a cluster's has 200 of any kind, so it is a hash.
func channel(cluster string) string {
	sum := sha256.Sum256([]byte(cluster))
	return "clusterchannel_" + hex.EncodeToString(sum[:16])
}

// refused tells what the user can mend from what may pass by itself.
func refused(err error) error {
	e, is := errors.AsType[*pgconn.PgError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case is && strings.HasPrefix(e.Code, "28"): // invalid authorization
		return fmt.Errorf("%w: username, password, sslmode: the server refuses them: %w", driver.ErrConfig, err)
	case is && e.Code == "3D000": // invalid catalog name
		return fmt.Errorf("%w: database: the server has none of that name: %w", driver.ErrConfig, err)
	}
	return fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
}
