package command

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2"
)

// ownNode is where a node on this machine answers, and what asks it.
type ownNode struct {
	url    string
	client *http.Client

	// wantsCertificate is set when a node that has shown its own certificate asks
	// for one, which client does not have.
	wantsCertificate atomic.Bool
}

// noCertificate is a client's answer to a node that asks for its certificate.
func (n *ownNode) noCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	n.wantsCertificate.Store(true)
	return &tls.Certificate{}, nil
}

// findNode reads the command line of a process.
func findNode(pid int) (*ownNode, error) {
	proc := fmt.Sprintf("/proc/%d", pid)
	line, err := os.ReadFile(filepath.Join(proc, "cmdline"))
	if err != nil {
		return nil, err
	}
	given := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	if i := slices.Index(given, "--"); i >= 0 && i+1 < len(given) {
		given = given[i+1:] // behind an init, as of docker run --init
	}
	args, err := arguments(given[1:])
	if err != nil {
		return nil, err
	}
	var c cli
	k, err := newParser(&c).Parse(args)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", given, err)
	}
	if k.Selected() == nil || k.Selected().Name != "alertmanager" {
		return nil, fmt.Errorf("%q runs no node", given)
	}
	return c.Alertmanager.Web.node(filepath.Join(proc, "cwd"))
}

// node returns where f says that the API is; dir is what its paths are relative to.
func (f *webFlags) node(dir string) (*ownNode, error) {
	host, port, err := net.SplitHostPort(f.ListenAddress[0])
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	external, err := f.externalURL()
	if err != nil {
		return nil, err
	}
	prefix := external.Path
	if f.RoutePrefix != "" {
		prefix = "/" + strings.Trim(f.RoutePrefix, "/")
	}
	scheme, transport := "http", &http.Transport{}
	found := &ownNode{client: &http.Client{Transport: transport}}
	if f.ConfigFile != "" {
		file := f.ConfigFile
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		trust, err := trustOf(file)
		if err != nil {
			return nil, fmt.Errorf("--web.config.file: %w", err)
		}
		if trust != nil {
			scheme = "https"
			trust.GetClientCertificate = found.noCertificate
		}
		transport.TLSClientConfig = trust
	}
	found.url = scheme + "://" + net.JoinHostPort(host, port) + strings.TrimRight(prefix, "/") + "/-/healthy"
	return found, nil
}

// trustOf returns what trusts the certificate of a server with this configuration,
// for whichever name it is, and no other; nil where the server has none.
func trustOf(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var config web.Config
	if err := yaml.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	config.TLSConfig.SetDirectory(filepath.Dir(file))
	certificate := []byte(config.TLSConfig.TLSCert)
	if path := config.TLSConfig.TLSCertPath; path != "" {
		if certificate, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	if len(certificate) == 0 {
		return nil, nil
	}
	block, _ := pem.Decode(certificate)
	if block == nil {
		return nil, errors.New("the certificate is not in PEM")
	}
	return &tls.Config{
		InsecureSkipVerify: true, // in favour of the following, which takes one certificate alone
		VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, block.Bytes) {
				return errors.New("who answers has another certificate than --web.config.file says")
			}
			return nil
		},
	}, nil
}
