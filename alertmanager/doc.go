// Package alertmanager is the reference application: Prometheus Alertmanager's
// own packages (dispatch, notify, silence, nflog, inhibit, API v2) over a
// backend.ClusterChannel in place of Alertmanager's gossip.
//
// Every instance must receive every alert. The notification log and the
// silences are replicated, and an instance's position decides how long it waits
// before it sends: an alert is delivered once when all is well, and at least
// once when it is not. The page at / is this package's own; its addresses, the API
// and amtool are Alertmanager's.
package alertmanager
