package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// ErrReplica is what CheckRole returns when the server is not a master.
var ErrReplica = errors.New("the server is a replica: what is published there does not reach its master; give the master's address, or the Sentinels' and master_name")

// What Diagnose may find.
var (
	errPlain    = errors.New("the endpoint answers without TLS")
	errTLS      = errors.New("the endpoint answers a TLS handshake")
	errNoPubSub = errors.New("the endpoint answers PING, but not SUBSCRIBE: a proxy without pub/sub, such as nutcracker, stands in front")
)

// Explain says what err means for a user, and whether another attempt may heal
// it.
func (c *Config) Explain(what string, err error) error {
	if errors.Is(err, driver.ErrConfig) {
		return err
	}
	if f := c.atFault(err); f.key != "" {
		return params.Bad(f.key, "%s: %w; %s", what, err, f.hint)
	}
	return fmt.Errorf("redis: %w: %s%s: %w", driver.ErrUnavailable, params.Unnamed("address", err), what, err)
}

// The stages of an opening, in order.
const (
	StageProtocol = "protocol"
	StageAuth     = "auth"
	StageACL      = "acl"
	StagePubSub   = "pubsub"
)

// Stage returns the stage at which an opening failed with err.
func (c *Config) Stage(err error) string { return c.atFault(err).stage }

// fault is what an error says of the configuration.
type fault struct {
	stage string // at which an opening fails
	key   string // the parameter at fault; empty if there is none
	hint  string // what to do
}

// atFault finds out which setting caused err.
func (c *Config) atFault(err error) fault {
	text := err.Error()
	says := func(texts ...string) bool {
		for _, t := range texts {
			if strings.Contains(text, t) {
				return true
			}
		}
		return false
	}
	password, username := "password", "username"
	if _, sentinel := errors.AsType[*sentinelError](err); sentinel {
		password, username = "sentinel_password", "sentinel_username"
	}
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, ErrReplica):
		return fault{stage: StagePubSub}
	case errors.Is(err, errNoPubSub):
		return fault{StagePubSub, "address", "give the address of the server itself, or of a proxy that passes connections on as they are"}
	case c.Options.MasterName != "" && errors.Is(err, goredis.Nil):
		return fault{StageProtocol, "master_name", fmt.Sprintf("the Sentinels know no master %q", c.Options.MasterName)}
	case says("WRONGPASS", "invalid password", "invalid username-password"):
		return fault{StageAuth, password, "the server refuses it; check also " + username}
	case says("without any password configured", "no password is set"):
		return fault{StageAuth, password, "leave it out: the default user has none"}
	case says("NOAUTH"):
		return fault{StageAuth, password, "the server asks for one"}
	case says("client|setname"):
		return fault{StageACL, "client_name", "leave it out, or allow it: ACL SETUSER … +client|setname"}
	case says("'select' command"):
		return fault{StageACL, "db", "leave it out, since all databases share their channels, or allow it: ACL SETUSER … +select"}
	case says("NOPERM"):
		return fault{StageACL, username, "allow it: ACL SETUSER … resetchannels &" + c.Prefix + "* +subscribe +publish"}
	case says("DB index", "SELECT is not allowed"):
		return fault{StagePubSub, "db", "the server has no such database"}
	case says("cluster support disabled"):
		return fault{StageProtocol, "mode", "the server is no Redis Cluster; mode single is for it"}
	case says("Only HELLO messages are accepted by Sentinel"):
		return fault{StageProtocol, "address", "a Sentinel listens there; give master_name too"}
	case says("unknown command", "unknown sub command", "not supported", "unsupported command"):
		return fault{StagePubSub, "address", "the endpoint lacks the command: a proxy without pub/sub, or no Redis; give the address of the server itself"}
	case says("invalid reply", "can't parse"):
		return fault{StageProtocol, "address", "what listens there does not speak Redis's protocol"}
	case errors.As(err, &record), errors.Is(err, errPlain):
		return fault{StageProtocol, "tls", "what listens there does not speak TLS; set it to false"}
	case errors.Is(err, errTLS):
		return fault{StageProtocol, "tls", "what listens there speaks TLS; set it to true"}
	case errors.As(err, &certificate):
		return fault{StageProtocol, "tls_ca_file", "the server's certificate cannot be verified; check also tls_server_name"}
	}
	return fault{stage: StageProtocol}
}
