package etcd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// fake is an etcd that stores nothing: a node's lease lives, its watch hears nothing, and
// its puts are answered as the test likes.
type fake struct {
	etcdserverpb.UnimplementedKVServer
	etcdserverpb.UnimplementedLeaseServer
	etcdserverpb.UnimplementedWatchServer
	put func(key string) error
}

func (f *fake) Range(context.Context, *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	return &etcdserverpb.RangeResponse{Header: &etcdserverpb.ResponseHeader{}}, nil
}

func (f *fake) Txn(context.Context, *etcdserverpb.TxnRequest) (*etcdserverpb.TxnResponse, error) {
	return &etcdserverpb.TxnResponse{Header: &etcdserverpb.ResponseHeader{}}, nil
}

func (f *fake) Put(_ context.Context, r *etcdserverpb.PutRequest) (*etcdserverpb.PutResponse, error) {
	if err := f.put(string(r.Key)); err != nil {
		return nil, err
	}
	return &etcdserverpb.PutResponse{Header: &etcdserverpb.ResponseHeader{}}, nil
}

func (f *fake) LeaseRevoke(context.Context, *etcdserverpb.LeaseRevokeRequest) (*etcdserverpb.LeaseRevokeResponse, error) {
	return &etcdserverpb.LeaseRevokeResponse{}, nil
}

func (f *fake) LeaseKeepAlive(s etcdserverpb.Lease_LeaseKeepAliveServer) error {
	for {
		r, err := s.Recv()
		if err != nil {
			return err
		}
		if err := s.Send(&etcdserverpb.LeaseKeepAliveResponse{ID: r.ID, TTL: 2}); err != nil {
			return err
		}
	}
}

func (f *fake) Watch(s etcdserverpb.Watch_WatchServer) error {
	for {
		r, err := s.Recv()
		if err != nil {
			return err
		}
		if err := s.Send(&etcdserverpb.WatchResponse{Header: &etcdserverpb.ResponseHeader{}, Created: r.GetCreateRequest() != nil}); err != nil {
			return err
		}
	}
}

// attach opens a driver on the fake. What Serve returns comes by the channel.
func attach(t *testing.T, f *fake) (*conn, <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	etcdserverpb.RegisterKVServer(server, f)
	etcdserverpb.RegisterLeaseServer(server, f)
	etcdserverpb.RegisterWatchServer(server, f)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { server.Stop(); running.Wait() })
	d, err := Open(t.Context(), driver.Options{
		Cluster: "c", Self: driver.Member{Name: "a", Instance: "a1"}, Params: map[string]string{"endpoints": l.Addr().String()},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	running.Go(func() { served <- d.Serve(context.Background(), quiet{}) })
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return d.(*conn), served
}

// quiet is a Handler that takes what a node is told.
type quiet struct{ driver.Handler }

func (quiet) Link(error)                         {}
func (quiet) Members([]driver.Member)            {}
func (quiet) Probe(string, time.Duration, error) {}
func (quiet) Trouble(string, error)              {}

// A right to write that is taken away ends the link, though the lease is renewed and the
// watch goes on: the node would be a member that nobody hears.
func TestRightToWriteIsTakenAway(t *testing.T) {
	for name, c := range map[string]struct {
		key  string
		send func(c *conn) error
	}{
		"for all": {"/clusterchannel/c/frames/a1", func(c *conn) error { return c.Broadcast(t.Context(), []byte("x")) }},
		"for one": {"/clusterchannel/c/to/b1", func(c *conn) error { return c.sendTo(t.Context(), "b1", []byte("x")) }},
	} {
		t.Run(name, func(t *testing.T) {
			d, served := attach(t, &fake{put: func(key string) error {
				if key == c.key {
					return rpctypes.ErrGRPCPermissionDenied
				}
				return nil
			}})
			says := "may not write " + c.key
			if err := c.send(d); !errors.Is(err, driver.ErrConfig) || !strings.Contains(err.Error(), says) {
				t.Errorf("%v, want it to say %q", err, says)
			}
			select {
			case err := <-served:
				if !errors.Is(err, driver.ErrUnavailable) || !strings.Contains(err.Error(), says) {
					t.Errorf("the link ends with %v, want it to say %q", err, says)
				}
			case <-time.After(5 * time.Second):
				t.Error("the link goes on")
			}
		})
	}
}
