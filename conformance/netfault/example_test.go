package netfault_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/clusterchannel/clusterchannel/conformance/netfault"
)

// A client reaches its server through a proxy, until the proxy refuses.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	defer server.Close()
	proxy, err := netfault.Listen(func() string { return server.Listener.Addr().String() })
	if err != nil {
		fmt.Println(err)
		return
	}
	defer proxy.Close()
	get := func() string {
		conn, err := net.Dial("tcp", proxy.Addr())
		if err != nil {
			return "cut off"
		}
		defer conn.Close()
		if _, err := fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			return "cut off"
		}
		b, err := io.ReadAll(conn)
		if err != nil || len(b) == 0 {
			return "cut off"
		}
		return string(b[len(b)-5:])
	}

	fmt.Println(get())
	proxy.Set(netfault.Refuse)
	fmt.Println(get())
	proxy.Set(netfault.Pass)
	fmt.Println(get())
	// Output:
	// hello
	// cut off
	// hello
}
