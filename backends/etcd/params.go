package etcd

import (
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backend/params/clienttls"
)

// Params are the keys of the block of parameters.
type Params struct {
	// Endpoints lists servers of one etcd cluster, as host, host:port or
	// http://host:port, where https:// wants TLS; the port is 2379 where none is
	// given. One is used at a time, and the next one when it fails. Members that
	// the cluster announces are not used.
	Endpoints []string `param:"endpoints" alias:"address" default:"localhost:2379"`

	// Username and Password are those of a user who may read and write below
	// Prefix. Both or neither are given.
	Username string `param:"username"`
	Password string `param:"password" secret:"true"`

	// Prefix comes before the names of all keys; see Server footprint.
	Prefix string `param:"prefix" default:"/clusterchannel"`

	// LeaseTTL is how long the server keeps a node that is silent, in whole
	// seconds. The server has a minimum, 2s by default, and takes half a second
	// more to look.
	LeaseTTL time.Duration `param:"lease_ttl" default:"2s"`

	// MaxFrame is the largest frame put into one key; larger payloads go in pieces.
	// It bounds what etcd keeps in memory; see Server footprint. It stays below what
	// the server takes as a request, --max-request-bytes, which is 1.5MiB by default,
	// by 4KiB or more.
	MaxFrame params.Bytes `param:"max_frame" default:"64KiB"`

	// DialTimeout bounds connecting to one endpoint, up to the point where the
	// node is attached.
	DialTimeout time.Duration `param:"dial_timeout" default:"5s"`

	clienttls.Params

	// TLSMinVersion is the oldest TLS version allowed.
	TLSMinVersion string `param:"tls_min_version" default:"1.2" oneof:"1.2,1.3"`
}

// requestOverhead is what a request holds beside a frame: the key, the lease and
// the user's name.
const requestOverhead = 4 << 10

// parse decodes and checks the parameters.
func parse(raw map[string]string) (Params, error) {
	var p Params
	if err := params.Decode(raw, &p); err != nil {
		return p, err
	}
	for _, check := range []func(*Params) error{(*Params).checkEndpoints, (*Params).checkServer} {
		if err := check(&p); err != nil {
			return p, err
		}
	}
	if err := p.CheckTLS(raw); err != nil {
		return p, err
	}
	return p, nil
}

func (p *Params) checkEndpoints() error {
	for i, text := range p.Endpoints {
		scheme, addr, ok := strings.Cut(text, "://")
		switch {
		case !ok:
			addr = text
		case scheme != "http" && scheme != "https":
			return params.Bad("endpoints", "%q begins with neither http:// nor https://", params.Shown(text))
		case (scheme == "https") != p.TLS:
			return params.Bad("endpoints", "%q does not go with tls %v; set tls to %v, or leave out the scheme", params.Shown(text), p.TLS, !p.TLS)
		}
		p.Endpoints[i] = strings.TrimSuffix(addr, "/")
	}
	return params.HostPorts("endpoints", p.Endpoints, "2379")
}

const (
	minLease = time.Second
	maxLease = time.Hour
	minFrame = 4 << 10
	maxFrame = 64 << 20
)

func (p *Params) checkServer() error {
	p.Prefix = strings.TrimRight(p.Prefix, "/")
	switch {
	case p.Username == "" && p.Password != "":
		return params.Bad("username", "is empty, though password is given; give both or neither")
	case p.Username != "" && p.Password == "":
		return params.Bad("password", "is empty, though username is %q; give both or neither", p.Username)
	case strings.ContainsFunc(p.Prefix, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return params.Bad("prefix", "%q holds a control character; choose another", p.Prefix)
	case len(p.Prefix) > 512:
		return params.Bad("prefix", "has %d bytes; at most 512 are valid", len(p.Prefix))
	case p.LeaseTTL%time.Second != 0 || p.LeaseTTL < minLease || p.LeaseTTL > maxLease:
		return params.Bad("lease_ttl", "%v is not whole seconds from %v to %v", p.LeaseTTL, minLease, maxLease)
	case p.MaxFrame < minFrame || p.MaxFrame > maxFrame:
		return params.Bad("max_frame", "%v is not from %v to %v", p.MaxFrame, params.Bytes(minFrame), params.Bytes(maxFrame))
	case p.DialTimeout < 100*time.Millisecond:
		return params.Bad("dial_timeout", "%v is too short; at least 100ms is valid", p.DialTimeout)
	}
	return nil
}
