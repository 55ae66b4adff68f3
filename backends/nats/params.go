package nats

import (
	"cmp"
	"net/url"
	"strings"
	"unicode"

	"github.com/nats-io/nats.go"

	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backend/params/clienttls"
)

// Params are the keys of the block of parameters.
type Params struct {
	// Servers are the servers to connect to, as host:port; the port is 4222 where
	// none is given, and nats:// may stand before it. One that answers is enough;
	// it announces the others of its cluster.
	Servers []string `param:"servers" alias:"address" default:"127.0.0.1:4222"`

	// Prefix is the subject below which each cluster has its own.
	Prefix string `param:"prefix" default:"clusterchannel"`

	// ClientName is what the server's monitoring shows of the connection. The
	// default is the node's name.
	ClientName string `param:"client_name"`

	// Username and Password are those of a user of the server's configuration.
	Username string `param:"username"`
	Password string `param:"password" secret:"true"`

	// Token is for servers that ask for a token alone.
	Token string `param:"token" secret:"true"`

	// NkeyFile holds the seed of a user's nkey.
	NkeyFile string `param:"nkey_file"`

	// CredsFile holds a user's JWT and the seed of its nkey.
	CredsFile string `param:"creds_file"`

	// With TLS, the node refuses a server that does not encrypt.
	clienttls.Params

	// TLSMinVersion is the oldest version of TLS to speak.
	TLSMinVersion string `param:"tls_min_version" default:"1.2" oneof:"1.2,1.3"`
}

const (
	defaultPort    = "4222"
	maxPrefixBytes = 200
)

// settings are checked parameters.
type settings struct {
	Params
	subject string        // of the cluster
	access  []nats.Option // credentials and TLS
}

func parse(raw map[string]string, cluster, name string) (settings, error) {
	var s settings
	if err := params.Decode(raw, &s.Params); err != nil {
		return s, err
	}
	for i, server := range s.Servers {
		s.Servers[i] = strings.TrimPrefix(server, "nats://")
	}
	if err := params.HostPorts("servers", s.Servers, defaultPort); err != nil {
		return s, err
	}
	if !isSubject(s.Prefix) {
		return s, params.Bad("prefix", "%q is no subject: want words separated by dots, of up to %d bytes in all, without spaces, * and >, not beginning with $", s.Prefix, maxPrefixBytes)
	}
	s.subject = s.Prefix + "." + token(cluster)
	s.ClientName = cmp.Or(s.ClientName, name)
	credentials, err := s.credentials()
	if err != nil {
		return s, err
	}
	encryption, err := s.encryption(raw)
	if err != nil {
		return s, err
	}
	s.access = append(credentials, encryption...)
	return s, nil
}

// token returns cluster as one token of a subject: no two clusters share one,
// and nothing in it is a wildcard or a separator.
func token(cluster string) string {
	return strings.ReplaceAll(url.QueryEscape(cluster), ".", "%2E")
}

func isSubject(s string) bool {
	if len(s) > maxPrefixBytes || strings.HasPrefix(s, "$") {
		return false
	}
	for word := range strings.SplitSeq(s, ".") {
		if word == "" || strings.ContainsAny(word, "*>") || strings.ContainsFunc(word, unsubject) {
			return false
		}
	}
	return true
}

func unsubject(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
