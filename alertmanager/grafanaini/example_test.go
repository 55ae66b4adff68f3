package grafanaini_test

import (
	"fmt"

	"github.com/clusterchannel/clusterchannel/alertmanager/grafanaini"
)

// The keys of Grafana select a backend and its parameters.
func ExampleSources_Parse() {
	settings, err := grafanaini.Sources{}.Parse("grafana.ini", []byte(`
[unified_alerting]
ha_redis_address = "redis:6379"
ha_redis_prefix = "alerts"
ha_peers = "grafana-2:9094"
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(settings.Config.Backend, settings.Config.Params["address"], settings.Config.Params["prefix"])
	for _, ignored := range settings.Ignored {
		fmt.Println("ignored:", ignored.Key)
	}
	// Output:
	// redis redis:6379 alerts
	// ignored: ha_peers
}
