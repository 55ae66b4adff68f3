package redis

import (
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backend/params/clienttls"
	"github.com/clusterchannel/clusterchannel/backends/redis/internal/server"
)

// Params are the keys of the block of parameters.
type Params struct {
	// Address lists the servers, as host or host:port: one server, some nodes of a
	// Redis Cluster, or the Sentinels. The port is 6379 where none is given, that
	// of a Sentinel 26379.
	Address []string `param:"address" default:"localhost:6379"`

	// Mode says what Address names. With auto it is Sentinels if MasterName is
	// given, a Cluster if there is more than one address, else one server.
	Mode string `param:"mode" default:"auto" oneof:"auto,single,sentinel,cluster"`

	// MasterName is the name under which the Sentinels know the master.
	MasterName string `param:"master_name"`

	// Username and Password are for the servers; without a name the password is
	// the default user's. SentinelUsername and SentinelPassword are for the
	// Sentinels.
	Username         string `param:"username"`
	Password         string `param:"password" secret:"true"`
	SentinelUsername string `param:"sentinel_username"`
	SentinelPassword string `param:"sentinel_password" secret:"true"`

	// DB is the logical database. It separates nothing: all databases of a server
	// share their channels.
	DB int `param:"db" alias:"path" default:"0"`

	// Prefix comes before the names of channels. A colon is added if it does not
	// end in one.
	Prefix string `param:"prefix" default:"clusterchannel"`

	// PoolSize is how many connections for commands there may be to one server.
	PoolSize int `param:"pool_size" default:"5"`

	// ClientName is what CLIENT LIST shows for this node's connections. With one,
	// an ACL must allow client|setname.
	ClientName string `param:"client_name"`

	// TLS is for both servers and Sentinels.
	clienttls.Params

	// TLSMinVersion is the oldest TLS version allowed.
	TLSMinVersion string `param:"tls_min_version" default:"1.2" oneof:"1.0,1.1,1.2,1.3"`

	// TLSCipherSuites are Go's names of the suites allowed up to TLS 1.2; none means
	// Go's choice.
	TLSCipherSuites []string `param:"tls_cipher_suites"`

	// Wire is the protocol on the channels: native among own nodes, or grafana in
	// a cluster shared with Grafana's peers.
	Wire string `param:"wire" default:"native" oneof:"native,grafana"`
}

// parse decodes and checks the parameters, and completes those that depend on
// others.
func parse(raw map[string]string) (Params, error) {
	var p Params
	if err := params.Decode(raw, &p); err != nil {
		return p, err
	}
	if _, given := raw["prefix"]; !given && p.Wire == "grafana" {
		p.Prefix = ""
	}
	for _, check := range []func(*Params) error{(*Params).checkMode, (*Params).checkAddress, (*Params).checkServer} {
		if err := check(&p); err != nil {
			return p, err
		}
	}
	if err := p.CheckTLS(raw); err != nil {
		return p, err
	}
	_, err := p.cipherSuites()
	return p, err
}

func (p *Params) checkMode() error {
	switch {
	case p.Mode == "cluster" && p.MasterName != "":
		return params.Bad("master_name", "is for Sentinel, but mode is cluster; leave out one of the two")
	case p.Mode == "single" && p.MasterName != "":
		return params.Bad("master_name", "is for Sentinel, but mode is single; leave out one of the two")
	case p.Mode == "sentinel" && p.MasterName == "":
		return params.Bad("master_name", "is required where mode is sentinel")
	case p.Mode == "single" && len(p.Address) > 1:
		return params.Bad("address", "lists %d servers, but mode is single; a list is for mode cluster or sentinel", len(p.Address))
	case p.Mode != "auto":
	case p.MasterName != "":
		p.Mode = "sentinel"
	case len(p.Address) > 1:
		p.Mode = "cluster"
	default:
		p.Mode = "single"
	}
	if p.Mode != "sentinel" {
		for key, value := range map[string]string{"sentinel_username": p.SentinelUsername, "sentinel_password": p.SentinelPassword} {
			if value != "" {
				return params.Bad(key, "is for Sentinel; give master_name too, or leave it out")
			}
		}
	}
	return nil
}

func (p *Params) checkAddress() error {
	port := "6379"
	if p.Mode == "sentinel" {
		port = "26379"
	}
	return params.HostPorts("address", p.Address, port)
}

func (p *Params) checkServer() error {
	switch {
	case p.DB < 0:
		return params.Bad("db", "%d is negative", p.DB)
	case p.DB > 0 && p.Mode == "cluster":
		return params.Bad("db", "is %d, but a Redis Cluster has database 0 only", p.DB)
	case p.PoolSize < 1:
		return params.Bad("pool_size", "%d is too small; at least 1 is valid", p.PoolSize)
	case strings.ContainsAny(p.Prefix, `*?[]\`):
		return params.Bad("prefix", `%q holds one of * ? [ ] \, wildcards in ACLs and KEYS; choose another`, p.Prefix)
	case strings.ContainsFunc(p.Prefix, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return params.Bad("prefix", "%q holds a space or a control character; choose another", p.Prefix)
	case strings.ContainsFunc(p.ClientName, func(r rune) bool { return r <= ' ' || r > '~' }):
		return params.Bad("client_name", "%q holds a character that is not visible ASCII, which Redis refuses; choose another", p.ClientName)
	case p.Username != "" && p.Password == "":
		return params.Bad("password", "is empty, though username is %q; for a user without a password, give any", p.Username)
	}
	if p.Prefix != "" && !strings.HasSuffix(p.Prefix, ":") {
		p.Prefix += ":"
	}
	return nil
}

// server returns the configuration that both wires connect by. credentials may be
// nil.
func (p *Params) server(credentials Credentials) *server.Config {
	c := &server.Config{
		Options: goredis.UniversalOptions{
			Addrs: p.Address, MasterName: p.MasterName, IsClusterMode: p.Mode == "cluster",
			Username: p.Username, Password: p.Password, CredentialsProviderContext: credentials,
			SentinelUsername: p.SentinelUsername, SentinelPassword: p.SentinelPassword,
			DB: p.DB, ClientName: p.ClientName, PoolSize: p.PoolSize,
		},
		Prefix: p.Prefix,
	}
	if p.TLS {
		c.TLS = p.serverTLS
	}
	return c
}
