package etcd

import (
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

var (
	errLeaseLost = errors.New("the lease is gone: it expired or was revoked")
	errKeyLost   = errors.New("somebody deleted or changed this node's key")
	errNoAnswer  = errors.New("no answer")
)

// lackError says which right a user lacks.
type lackError struct {
	right, key string
	err        error
}

func (e *lackError) Error() string {
	return fmt.Sprintf("%v: this user may not %s %s", plain(e.err), e.right, e.key)
}

func (e *lackError) Unwrap() error { return e.err }

// lacking adds to err which right is lacking, if it is about that.
func lacking(right, key string, err error) error {
	if err == nil || !strings.Contains(err.Error(), rpctypes.ErrPermissionDenied.Error()) {
		return err
	}
	return &lackError{right, key, rpctypes.ErrPermissionDenied}
}

const (
	makeRoom    = "etcdctl compact, etcdctl defrag, etcdctl alarm disarm; keep room by --auto-compaction-retention"
	noSpaceHint = "the server is out of quota and takes no writes: members and what they know stay, updates are lost until " +
		"its operator makes room (" + makeRoom + ")"
)

// explain says what err means for a user, and whether trying again can help.
func (p *Params) explain(endpoint string, err error) error {
	if errors.Is(err, driver.ErrConfig) {
		return err
	}
	key, hint := p.atFault(err)
	switch {
	case key != "":
		return params.Bad(key, "%s: %w; %s", endpoint, plain(err), hint)
	case hint != "":
		return fmt.Errorf("etcd: %w: %s: %w; %s", driver.ErrUnavailable, endpoint, plain(err), hint)
	}
	return fmt.Errorf("etcd: %w: %s%s: %w", driver.ErrUnavailable, params.Unnamed("endpoints", err), endpoint, plain(err))
}

// plain is err without what gRPC puts around it.
func plain(err error) error {
	err = rpctypes.Error(err)
	if s, ok := status.FromError(err); ok && err != nil {
		return errors.New(s.Message())
	}
	return err
}

// atFault returns the key at fault, if the configuration is, and what to do.
func (p *Params) atFault(err error) (key, hint string) {
	err = rpctypes.Error(err)
	text := err.Error()
	says := func(texts ...string) bool {
		for _, t := range texts {
			if strings.Contains(text, t) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return "", noSpaceHint
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return "password", "the server refuses it; check also username"
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return "username", "the server asks for a user; give username and password"
	case errors.Is(err, rpctypes.ErrPermissionDenied), says("permission denied"):
		return "username", "allow it: etcdctl role grant-permission ROLE readwrite --prefix " + p.Prefix + "/"
	case says("tls_cert_file:"):
		return "tls_cert_file", "nodes read it at each connection"
	case says("x509:"):
		return "tls_ca_file", "the server's certificate cannot be verified; check also tls_server_name"
	case says("first record does not look like a TLS handshake"):
		return "tls", "what listens there does not speak TLS; set it to false"
	case says("certificate required", "bad certificate", "unknown certificate", "certificate unknown"):
		return "tls_cert_file", "the server wants a certificate that it can verify"
	case says("authentication handshake failed"):
		return "", "if this stays, what listens there does not speak TLS, or is no etcd"
	case status.Code(err) == codes.Unimplemented, says("frame too large", "unexpected HTTP status code", "content-type", "bogus greeting", "malformed HTTP"):
		return "endpoints", "what listens there does not speak etcd's protocol" + p.maybeTLS()
	case says("error reading server preface", "use of closed network connection"):
		return "", "if this stays, what listens there is no etcd" + p.maybeTLS()
	}
	return "", ""
}

func (p *Params) maybeTLS() string {
	if p.TLS {
		return ""
	}
	return ", or wants tls"
}

// needsLogin reports whether the server has forgotten the token.
func needsLogin(err error) bool {
	err = rpctypes.Error(err)
	return errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(err, rpctypes.ErrUserEmpty) || errors.Is(err, rpctypes.ErrAuthOldRevision)
}
