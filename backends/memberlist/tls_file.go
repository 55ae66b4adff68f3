package memberlist

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

// tlsFile is a file for Alertmanager's --cluster.tls-config. The format of its
// two halves is that of Prometheus's web and HTTP client configurations.
type tlsFile struct {
	Server *tlsServer `yaml:"tls_server_config"`
	Client *tlsClient `yaml:"tls_client_config"`
}

// tlsServer is how connections are accepted.
type tlsServer struct {
	Cert       string      `yaml:"cert"`
	Key        string      `yaml:"key"`
	CertFile   string      `yaml:"cert_file"`
	KeyFile    string      `yaml:"key_file"`
	CA         string      `yaml:"client_ca"`
	CAFile     string      `yaml:"client_ca_file"`
	Auth       string      `yaml:"client_auth_type"`
	SANs       []string    `yaml:"client_allowed_sans"`
	Ciphers    []tlsCipher `yaml:"cipher_suites"`
	Curves     []tlsCurve  `yaml:"curve_preferences"`
	MinVersion tlsProtocol `yaml:"min_version"`
	MaxVersion tlsProtocol `yaml:"max_version"`
	Order      bool        `yaml:"prefer_server_cipher_suites"` // has no effect: Go orders them itself
}

// tlsClient is how connections are made.
type tlsClient struct {
	Cert       string      `yaml:"cert"`
	Key        string      `yaml:"key"`
	CertFile   string      `yaml:"cert_file"`
	KeyFile    string      `yaml:"key_file"`
	CA         string      `yaml:"ca"`
	CAFile     string      `yaml:"ca_file"`
	ServerName string      `yaml:"server_name"`
	SkipVerify bool        `yaml:"insecure_skip_verify"`
	MinVersion tlsProtocol `yaml:"min_version"`
	MaxVersion tlsProtocol `yaml:"max_version"`
}

// readTLSFile returns nil without a path. Files named in the file are looked for
// in its directory.
func readTLSFile(path string) (*tlsFile, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := &tlsFile{Client: &tlsClient{}}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case f.Server == nil:
		return nil, fmt.Errorf("%s has no tls_server_config", path)
	case f.Client == nil:
		return nil, fmt.Errorf("%s has no tls_client_config", path)
	}
	for _, name := range []*string{
		&f.Server.CertFile, &f.Server.KeyFile, &f.Server.CAFile, &f.Client.CertFile, &f.Client.KeyFile, &f.Client.CAFile,
	} {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(filepath.Dir(path), *name)
		}
	}
	return f, nil
}

// configs returns the TLS configurations of the two ends of a connection. What the
// file names is read again for each one that is accepted; for one that is made,
// ask for its configuration again. While files cannot be used, as when they are
// being replaced, what was read before goes on.
func (f *tlsFile) configs() (server, client *tls.Config, err error) {
	if server, err = f.Server.config(); err != nil {
		return nil, nil, fmt.Errorf("tls_server_config: %w", err)
	}
	if client, err = f.Client.config(); err != nil {
		return nil, nil, fmt.Errorf("tls_client_config: %w", err)
	}
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		again, err := f.Server.config()
		if err != nil {
			return nil, nil
		}
		return again, nil
	}
	return server, client, nil
}

var clientAuth = map[string]tls.ClientAuthType{
	"": tls.NoClientCert, "NoClientCert": tls.NoClientCert,
	"RequestClientCert":    tls.RequestClientCert,
	"RequireAnyClientCert": tls.RequireAnyClientCert, "RequireClientCert": tls.RequireAnyClientCert,
	"VerifyClientCertIfGiven":    tls.VerifyClientCertIfGiven,
	"RequireAndVerifyClientCert": tls.RequireAndVerifyClientCert,
}

func (s *tlsServer) config() (*tls.Config, error) {
	pair := tlsPair{s.Cert, s.Key, s.CertFile, s.KeyFile}
	if pair.certFile != "" { // as Alertmanager has it, a file wins over a text
		pair.cert = ""
	}
	if pair.keyFile != "" {
		pair.key = ""
	}
	if given, err := pair.check(); err != nil {
		return nil, err
	} else if !given {
		return nil, errors.New("cert_file and key_file are missing")
	}
	c := &tls.Config{
		MinVersion: uint16(s.MinVersion), MaxVersion: uint16(s.MaxVersion),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.read() },
	}
	for _, suite := range s.Ciphers {
		c.CipherSuites = append(c.CipherSuites, uint16(suite))
	}
	for _, curve := range s.Curves {
		c.CurvePreferences = append(c.CurvePreferences, tls.CurveID(curve))
	}
	var ok bool
	if c.ClientAuth, ok = clientAuth[s.Auth]; !ok {
		return nil, fmt.Errorf("client_auth_type: %q is unknown", s.Auth)
	}
	var err error
	if s.CAFile != "" {
		c.ClientCAs, err = authorities("client_ca", "", s.CAFile)
	} else {
		c.ClientCAs, err = authorities("client_ca", s.CA, "")
	}
	if err != nil {
		return nil, err
	}
	if c.ClientCAs != nil && c.ClientAuth == tls.NoClientCert {
		return nil, errors.New("client_ca_file has no effect without a client_auth_type")
	}
	if s.SANs != nil {
		c.VerifyPeerCertificate = s.allowed
	}
	return c, nil
}

// allowed refuses a certificate that is for none of the names listed.
func (s *tlsServer) allowed(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 {
		return errors.New("the client shows no certificate; client_allowed_sans requires one")
	}
	c, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return err
	}
	names := slices.Concat(c.DNSNames, c.EmailAddresses)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(s.SANs, name) }) {
		return fmt.Errorf("the client's certificate is for %q, none of client_allowed_sans, %q", names, s.SANs)
	}
	return nil
}

func (s *tlsClient) config() (*tls.Config, error) {
	pair := tlsPair{s.Cert, s.Key, s.CertFile, s.KeyFile}
	given, err := pair.check()
	if err != nil {
		return nil, err
	}
	if s.MaxVersion != 0 && s.MaxVersion < s.MinVersion {
		return nil, errors.New("max_version is below min_version")
	}
	c := &tls.Config{
		InsecureSkipVerify: s.SkipVerify, ServerName: s.ServerName,
		MinVersion: uint16(s.MinVersion), MaxVersion: uint16(s.MaxVersion),
	}
	if given {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.read() }
	}
	c.RootCAs, err = authorities("ca", s.CA, s.CAFile)
	return c, err
}

// tlsPair is a certificate and its key, each as text or as the path of a file.
type tlsPair struct{ cert, key, certFile, keyFile string }

// check reports whether there is a pair, and refuses one that cannot be used.
func (p tlsPair) check() (given bool, err error) {
	switch {
	case p.cert != "" && p.certFile != "":
		return false, errors.New("cert and cert_file are both given")
	case p.key != "" && p.keyFile != "":
		return false, errors.New("key and key_file are both given")
	case p == tlsPair{}:
		return false, nil
	case p.cert+p.certFile == "":
		return false, errors.New("cert_file is missing, though there is a key")
	case p.key+p.keyFile == "":
		return false, errors.New("key_file is missing, though there is a certificate")
	}
	_, err = p.read()
	return true, err
}

func (p tlsPair) read() (*tls.Certificate, error) {
	cert, err := textOrFile("cert_file", p.cert, p.certFile)
	if err != nil {
		return nil, err
	}
	key, err := textOrFile("key_file", p.key, p.keyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s are no pair: %w", cmp.Or(p.certFile, "cert"), cmp.Or(p.keyFile, "key"), err)
	}
	return &pair, nil
}

// expired returns an error for each own certificate that the others refuse by now.
func (f *tlsFile) expired() error {
	pairs := map[string]tlsPair{}
	if s := f.Server; s != nil {
		pairs["tls_server_config"] = tlsPair{s.Cert, s.Key, s.CertFile, s.KeyFile}
	}
	if c := f.Client; c != nil {
		pairs["tls_client_config"] = tlsPair{c.Cert, c.Key, c.CertFile, c.KeyFile}
	}
	var errs []error
	for _, section := range slices.Sorted(maps.Keys(pairs)) {
		pair, err := pairs[section].read()
		if err == nil && pair.Leaf != nil && time.Now().After(pair.Leaf.NotAfter) {
			errs = append(errs, fmt.Errorf("tls_config_file: the certificate of %s has expired at %s: replace it; it is read again",
				section, pair.Leaf.NotAfter.Format(time.RFC3339)))
		}
	}
	return errors.Join(errs...)
}

// authorities returns nil if none are given.
func authorities(key, text, file string) (*x509.CertPool, error) {
	if text != "" && file != "" {
		return nil, fmt.Errorf("%s and %[1]s_file are both given", key)
	}
	if text == "" && file == "" {
		return nil, nil
	}
	b, err := textOrFile(key+"_file", text, file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", cmp.Or(file, key))
	}
	return pool, nil
}

func textOrFile(key, text, file string) ([]byte, error) {
	if file == "" {
		return []byte(text), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return b, nil
}

// tlsProtocol is a version of TLS, zero for Go's default.
type tlsProtocol uint16

func (v *tlsProtocol) UnmarshalText(text []byte) error {
	return pick(v, map[string]tlsProtocol{
		"TLS10": tls.VersionTLS10, "TLS11": tls.VersionTLS11, "TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13,
	}, "version of TLS", string(text))
}

// tlsCurve is a mechanism by which a key is agreed on.
type tlsCurve tls.CurveID

func (c *tlsCurve) UnmarshalText(text []byte) error {
	return pick(c, map[string]tlsCurve{
		"CurveP256": tlsCurve(tls.CurveP256), "CurveP384": tlsCurve(tls.CurveP384), "CurveP521": tlsCurve(tls.CurveP521), "X25519": tlsCurve(tls.X25519),
	}, "curve", string(text))
}

// tlsCipher is a cipher suite that Go considers secure.
type tlsCipher uint16

func (c *tlsCipher) UnmarshalText(text []byte) error {
	suites := map[string]tlsCipher{}
	for _, s := range tls.CipherSuites() {
		suites[s.Name] = tlsCipher(s.ID)
	}
	return pick(c, suites, "cipher suite", string(text))
}

func pick[T any](v *T, known map[string]T, what, name string) error {
	found, ok := known[name]
	if !ok {
		return fmt.Errorf("%q is no %s that is known", name, what)
	}
	*v = found
	return nil
}
