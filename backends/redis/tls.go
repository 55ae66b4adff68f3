package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// openTLS is Open for URLs of the scheme rediss.
func openTLS(ctx context.Context, o driver.Options) (driver.Driver, error) {
	p, err := impliedTLS(o.Params)
	if err != nil {
		return nil, err
	}
	o.Params = p
	return Open(ctx, o)
}

// examineTLS is examine for URLs of the scheme rediss.
func examineTLS(ctx context.Context, e driver.Examination) {
	p, err := impliedTLS(e.Params)
	if err != nil {
		e.Fail("configuration", "decode the parameters", err, doctor.Advice(err, ""))
		return
	}
	e.Params = p
	examine(ctx, e)
}

// impliedTLS adds the parameter that the scheme rediss stands for.
func impliedTLS(raw map[string]string) (map[string]string, error) {
	if v, given := raw["tls"]; given && v != "true" {
		return nil, params.Bad("tls", "is %q, but rediss means TLS; leave it out, or write redis", v)
	}
	all := map[string]string{"tls": "true"}
	maps.Copy(all, raw)
	return all, nil
}

// serverTLS returns the TLS configuration for a server of that host, from the
// files as they are now; nil without TLS. Its error wraps driver.ErrConfig.
func (p *Params) serverTLS(host string) (*tls.Config, error) {
	c, err := p.TLSConfigFor(host, p.TLSMinVersion)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if c == nil {
		return nil, nil
	}
	if c.CipherSuites, err = p.cipherSuites(); err != nil {
		return nil, err
	}
	return c, nil
}

// cipherSuites returns the numbers of the allowed suites; none when Go chooses.
func (p *Params) cipherSuites() ([]uint16, error) {
	var allowed []uint16
	suites := slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites())
	for _, name := range p.TLSCipherSuites {
		i := slices.IndexFunc(suites, func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return nil, params.Bad("tls_cipher_suites", "%q is not one of %s", name, suiteNames())
		}
		allowed = append(allowed, suites[i].ID)
	}
	return allowed, nil
}

func suiteNames() string {
	var names []string
	for _, s := range tls.CipherSuites() {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}
