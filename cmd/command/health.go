package command

import (
	"cmp"
	"context"
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
	client, url := http.DefaultClient, c.URL
	if url == "" {
		node, err := findNode(c.PID)
		if err != nil {
			return fmt.Errorf("health: of process %d: %w; give the URL to ask", c.PID, err)
		}
		client, url = node.client, node.url
	}
	if c.HTTPConfig != "" {
		var err error
		if client, err = clientOf(c.HTTPConfig); err != nil {
			return fmt.Errorf("health: %w: --http.config.file: %w", backend.ErrConfig, err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usageError{fmt.Errorf("health: %w", err)}
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	_ = response.Body.Close() // the status says all
	switch {
	case response.StatusCode == http.StatusOK:
		return nil
	case response.StatusCode == http.StatusUnauthorized && cmp.Or(c.URL, c.HTTPConfig) == "":
		return nil // it answers, and nobody has said with which credentials to ask
	}
	return fmt.Errorf("health: %s answers %s", url, response.Status)
}

// clientOf returns a client of the configuration in file, whose relative paths are
// relative to it.
func clientOf(file string) (*http.Client, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	config, err := promconfig.LoadHTTPConfig(string(text))
	if err != nil {
		return nil, err
	}
	config.SetDirectory(filepath.Dir(file))
	return promconfig.NewClientFromConfig(*config, "health")
}
