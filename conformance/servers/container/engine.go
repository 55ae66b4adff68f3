package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// How long the engine may take: to answer, to pull an image that only cleans
// up, and to pull one that a test needs.
const (
	greetingLimit = 10 * time.Second
	reaperLimit   = 15 * time.Second
	pullLimit     = 5 * time.Minute
)

// reaperDisabled is the variable by which testcontainers does without its reaper.
const reaperDisabled = "TESTCONTAINERS_RYUK_DISABLED"

// reaperImage is what testcontainers will pull.
//
//lint:ignore SA1019 nothing else tells its name
var reaperImage = testcontainers.ReaperDefaultImage

// engine is the container engine of this machine.
type engine struct {
	*testcontainers.DockerClient
	name string // with its version
}

// connected is the engine, found once per process. What dead runs have left on
// it is removed then.
var connected = sync.OnceValues(connect)

// Engine returns the name and version of the container engine of this machine,
// or why there is none.
func Engine() (string, error) {
	e, err := connected()
	if err != nil {
		return "", err
	}
	return e.name, nil
}

func connect() (*engine, error) {
	log.SetDefault(log.NewNoopLogger())
	settleReaper()
	ctx, cancel := context.WithTimeout(context.Background(), greetingLimit)
	defer cancel()
	e, err := dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("no container engine answers: %w", err)
	}
	if err := e.sweep(context.Background()); err != nil { // it takes room, and is in nobody's way
		fmt.Fprintf(os.Stderr, "container: something stays of earlier runs: %v\n", err)
	}
	return e, nil
}

// dial finds the engine as testcontainers does, with two differences, which are
// errors here: testcontainers panics if it finds none, and if the engine of
// DOCKER_HOST is away it uses another one, where nobody wants the tests to run.
func dial(ctx context.Context) (e *engine, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, err = nil, fmt.Errorf("%v", r)
		}
	}()
	if os.Getenv("DOCKER_HOST") != "" {
		named, err := client.New(client.FromEnv)
		if err != nil {
			return nil, err
		}
		defer named.Close() //nolint:errcheck // it has greeted, no more
		if _, err := named.Ping(ctx, client.PingOptions{}); err != nil {
			return nil, fmt.Errorf("DOCKER_HOST: %w", err)
		}
	}
	cli, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, err
	}
	defer cli.Close() //nolint:errcheck // it closes idle connections, no more
	version, err := cli.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return nil, err
	}
	name := "Docker"
	if len(version.Components) > 0 && version.Components[0].Name == "Podman Engine" {
		name = "Podman"
	}
	return &engine{cli, name + " " + version.Version}, nil
}

// settleReaper turns testcontainers' reaper off if the reaper's image is not
// available. testcontainers reads the setting once, and pulls the image at the
// first container, so this is decided before, with another client.
func settleReaper() {
	if os.Getenv(reaperDisabled) != "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), reaperLimit)
	defer cancel()
	cli, err := client.New(client.FromEnv)
	if err == nil {
		defer cli.Close() //nolint:errcheck // nothing was written
		image := reaperImage
		if prefix := os.Getenv("TESTCONTAINERS_HUB_IMAGE_NAME_PREFIX"); prefix != "" {
			image = prefix + "/" + image
		}
		err = obtain(ctx, cli, image)
	}
	if err != nil {
		_ = os.Setenv(reaperDisabled, "true")
	}
}

// obtain pulls an image that the engine does not have yet.
func obtain(ctx context.Context, cli client.APIClient, image string) error {
	if _, err := cli.ImageInspect(ctx, image); err == nil {
		return nil
	}
	pull, err := cli.ImagePull(ctx, image, client.ImagePullOptions{})
	if err != nil {
		return err
	}
	return errors.Join(pull.Wait(ctx), pull.Close())
}

// ErrImage is wrapped by the error of [Obtain].
var ErrImage = errors.New("the image is not available")

// Obtain pulls an image, unless the engine has it. Its error wraps [ErrImage]
// if there is an engine.
func Obtain(image string) error {
	e, err := connected()
	if err != nil {
		return err
	}
	defer e.Close() //nolint:errcheck // it closes idle connections, no more
	ctx, cancel := context.WithTimeout(context.Background(), pullLimit)
	defer cancel()
	if err := obtain(ctx, e, image); err != nil {
		return fmt.Errorf("%w: %s (%w); conformance/images/build makes one of that name", ErrImage, image, err)
	}
	return nil
}
