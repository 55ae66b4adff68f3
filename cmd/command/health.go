package command

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/clusterchannel/clusterchannel/backend"
)

// healthCmd asks a node for its health, where no other program can, as in the
// image.
type healthCmd struct {
	URL        string        `arg:"" optional:"" name:"url" help:"URL to ask: http://localhost:9093/-/healthy or /-/ready. Default: whether the node of --pid is healthy, with the address, prefix and certificate in its command line."`
	HTTPConfig string        `name:"http.config.file" help:"File with certificate authority, client certificate and credentials for the request, in amtool's format."`
	PID        int           `name:"pid" default:"1" help:"Process of the node to ask without a URL; 1 in a container. Only on Linux."`
	Timeout    time.Duration `name:"timeout" default:"3s" help:"How long to wait for the answer."`
}

// Run returns an error unless the answer is 200.
func (c *healthCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	node := &ownNode{url: c.URL}
	if c.URL == "" {
		var err error
		if node, err = findNode(c.PID); err != nil {
			return fmt.Errorf("health: of process %d: %w; give the URL to ask", c.PID, err)
		}
	}
	if c.URL != "" || c.HTTPConfig != "" {
		if err := node.askAs(c.HTTPConfig); err != nil {
			return fmt.Errorf("health: %w: --http.config.file: %w", backend.ErrConfig, err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, node.url, nil)
	if err != nil {
		return usageError{fmt.Errorf("health: %w", err)}
	}
	anonymous := cmp.Or(c.URL, c.HTTPConfig) == "" // nobody has said with which credentials to ask
	response, err := node.client.Do(request)
	// Its refusal is an alert, or a closed connection where that comes first.
	refused := err != nil && ctx.Err() == nil && node.wantsCertificate.Load()
	switch {
	case refused && anonymous:
		return nil // it answers
	case refused:
		return fmt.Errorf("health: %s asks for a client's certificate; give one below tls_config in --http.config.file: %w", node.url, err)
	case err != nil:
		return fmt.Errorf("health: %w", err)
	}
	_ = response.Body.Close() // the status says all
	if response.StatusCode == http.StatusOK || anonymous && response.StatusCode == http.StatusUnauthorized {
		return nil
	}
	return fmt.Errorf("health: %s answers %s", node.url, response.Status)
}

// askAs lets the node be asked with the configuration in file, whose relative paths
// are relative to it; without a file with none.
func (n *ownNode) askAs(file string) error {
	config := &promconfig.DefaultHTTPClientConfig
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if config, err = promconfig.LoadHTTPConfig(string(text)); err != nil {
			return err
		}
		config.SetDirectory(filepath.Dir(file))
	}
	var err error
	n.client, err = promconfig.NewClientFromConfig(*config, "health", promconfig.WithNewTLSConfigFunc(
		func(ctx context.Context, c *promconfig.TLSConfig, options ...promconfig.TLSConfigOption) (*tls.Config, error) {
			trust, err := promconfig.NewTLSConfigWithContext(ctx, c, options...)
			if err == nil && trust.GetClientCertificate == nil && len(trust.Certificates) == 0 {
				trust.GetClientCertificate = n.noCertificate
			}
			return trust, err
		}))
	return err
}
