package command

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// healthCmd asks a node how it is, where there is no other program to ask with,
// as in the image.
type healthCmd struct {
	URL     string        `arg:"" name:"url" help:"What to ask: http://localhost:9093/-/healthy or /-/ready."`
	Timeout time.Duration `name:"timeout" default:"3s" help:"How long to wait for the answer."`
}

// Run returns an error unless the answer is 200.
func (c *healthCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return usageError{fmt.Errorf("health: %w", err)}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	_ = response.Body.Close() // the status says all
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s answers %s", c.URL, response.Status)
	}
	return nil
}
