package clienttls_test

import (
	"fmt"

	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backend/params/clienttls"
)

// A backend embeds the keys of TLS in its own parameters.
func ExampleParams() {
	type relay struct {
		Address string `param:"address"`
		clienttls.Params
	}
	decode := func(raw map[string]string) (p relay, err error) {
		if err := params.Decode(raw, &p); err != nil {
			return p, err
		}
		return p, p.CheckTLS(raw)
	}
	p, err := decode(map[string]string{"address": "relay:7000", "tls": "true", "tls_server_name": "relay.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	config, err := p.TLSConfig("1.2")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(config.ServerName)

	_, err = decode(map[string]string{"address": "relay:7000", "tls_server_name": "relay.example"})
	fmt.Println(err)
	// Output:
	// relay.example
	// bad configuration: tls_server_name: is given, but tls is false, so nothing would be encrypted; set tls to true, or leave it out
}
