package container

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// sweepLimit bounds the removal of what dead runs have left.
const sweepLimit = 2 * time.Minute

// leftovers are containers and networks of this package, by id, each with the
// value of its label.
type leftovers struct{ containers, networks map[string]string }

// owned lists all containers and networks of this package.
func (e *engine) owned(ctx context.Context) (leftovers, error) {
	defer e.Close() //nolint:errcheck // it closes idle connections, no more
	all := leftovers{map[string]string{}, map[string]string{}}
	filter := client.Filters{}.Add("label", Label)
	containers, err := e.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filter})
	if err != nil {
		return all, err
	}
	for _, c := range containers.Items {
		all.containers[c.ID] = c.Labels[Label]
	}
	networks, err := e.NetworkList(ctx, client.NetworkListOptions{Filters: filter})
	if err != nil {
		return all, err
	}
	for _, n := range networks.Items {
		all.networks[n.ID] = n.Labels[Label]
	}
	return all, nil
}

// sweep removes what processes that are dead have left. Others may sweep at the
// same time.
func (e *engine) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepLimit)
	defer cancel()
	all, err := e.owned(ctx)
	if err != nil {
		return fmt.Errorf("cannot list what earlier runs have left: %w", err)
	}
	defer e.Close() //nolint:errcheck // it closes idle connections, no more
	var errs []error
	for id, label := range all.containers {
		if o, err := parseOwner(label); err == nil && o.dead() {
			_, err := e.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			errs = append(errs, unlessGone(err))
		}
	}
	for id, label := range all.networks {
		if o, err := parseOwner(label); err == nil && o.dead() {
			_, err := e.NetworkRemove(ctx, id, client.NetworkRemoveOptions{})
			errs = append(errs, unlessGone(err))
		}
	}
	return errors.Join(errs...)
}

// unlessGone drops an error that says that another has removed it, or is at it.
func unlessGone(err error) error {
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	return err
}
