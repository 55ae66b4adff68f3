// Package clienttls has the parameters by which a backend encrypts its
// connections to servers. A backend embeds [Params] in its own struct, calls
// [Params.CheckTLS] after params.Decode, and [Params.TLSConfig] for each
// connection. It adds one key itself, since the TLS versions differ from one
// kind of server to another:
//
//	TLSMinVersion string `param:"tls_min_version" default:"1.2" oneof:"1.2,1.3"`
package clienttls

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// Params are the keys of TLS. Files are in PEM, and read again for each
// connection, so that they can be replaced while a node runs.
type Params struct {
	// TLS encrypts the connections. The other keys of TLS need it.
	TLS bool `param:"tls" default:"false"`

	// TLSCAFile holds the authorities that may sign a server's certificate; none
	// means those of the system.
	TLSCAFile string `param:"tls_ca_file"`

	// TLSCertFile and TLSKeyFile are the pair that this node shows. Both or neither
	// are given.
	TLSCertFile string `param:"tls_cert_file"`
	TLSKeyFile  string `param:"tls_key_file"`

	// TLSServerName is the name that a server's certificate must be for, instead
	// of the host that is dialled.
	TLSServerName string `param:"tls_server_name"`

	// TLSSkipVerify accepts any certificate of a server: the connection is
	// encrypted, but the other end may be anybody. Use it only in tests.
	TLSSkipVerify bool `param:"tls_skip_verify" default:"false"`
}

// CheckTLS refuses what cannot be used in raw, from which p was decoded: bad
// files, and without TLS any key that begins with tls_. Its errors wrap
// driver.ErrConfig and name the key.
func (p Params) CheckTLS(raw map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		given := raw[key] != "" && (key != "tls_skip_verify" || p.TLSSkipVerify)
		if !p.TLS && given && strings.HasPrefix(key, "tls_") {
			return params.Bad(key, "is given, but tls is false, so nothing would be encrypted; set tls to true, or leave it out")
		}
	}
	_, err := p.TLSConfig("")
	return err
}

var versions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// TLSConfig returns a client's configuration, nil without TLS. oldest is the
// lowest version, from 1.0 to 1.3, or empty for Go's default. The configuration
// reads this node's pair again at each handshake; to read the authorities
// again, call TLSConfig again. Its errors are like those of CheckTLS.
func (p Params) TLSConfig(oldest string) (*tls.Config, error) {
	if !p.TLS {
		return nil, nil
	}
	c := &tls.Config{ServerName: p.TLSServerName, MinVersion: versions[oldest], InsecureSkipVerify: p.TLSSkipVerify}
	if p.TLSCAFile != "" {
		pem, err := os.ReadFile(p.TLSCAFile)
		if err != nil {
			return nil, params.Bad("tls_ca_file", "%w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, params.Bad("tls_ca_file", "%s holds no certificate in PEM", p.TLSCAFile)
		}
	}
	switch {
	case p.TLSCertFile == "" && p.TLSKeyFile == "":
		return c, nil
	case p.TLSCertFile == "":
		return nil, params.Bad("tls_cert_file", "is empty, though tls_key_file is given; give both or neither")
	case p.TLSKeyFile == "":
		return nil, params.Bad("tls_key_file", "is empty, though tls_cert_file is given; give both or neither")
	}
	c.GetClientCertificate = p.current
	_, err := p.pair()
	return c, err
}

// TLSConfigFor is TLSConfig for a connection to host: the server's certificate
// must be for host, or for TLSServerName if that is set.
func (p Params) TLSConfigFor(host, oldest string) (*tls.Config, error) {
	c, err := p.TLSConfig(oldest)
	if c != nil && c.ServerName == "" {
		c.ServerName = host
	}
	return c, err
}

// pair reads the pair that this node shows.
func (p Params) pair() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(p.TLSCertFile, p.TLSKeyFile)
	if err != nil {
		return nil, params.Bad("tls_cert_file", "cannot be used with tls_key_file: %w", err)
	}
	return &pair, nil
}

// current is what a server gets that asks for a certificate: the pair, unless that
// has expired, which servers refuse for a reason that few of them tell.
func (p Params) current(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := p.pair()
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err == nil && time.Now().After(leaf.NotAfter) {
		return nil, params.Bad("tls_cert_file", "%s has expired, on %s; renew it", p.TLSCertFile, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return pair, nil
}
