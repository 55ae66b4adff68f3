// Package status is a page about one node of a cluster, for people: who is a
// member and at which position, what each member last sent, whether this node
// is attached and why not, its states, its traffic, and what has happened
// lately.
//
//	page := status.New(status.Options{Channel: channel, Gatherer: registry})
//	defer page.Close()
//	mux.Handle("/status", page)
//
// The page is one URL of any path. It answers with HTML, which keeps itself up
// to date; with JSON, if the request accepts that first, has the parameter
// format=json, or a path that ends in .json; and with a stream of server-sent
// events, which the HTML requests.
//
// It loads nothing from elsewhere, and its Content-Security-Policy allows
// nothing else. It answers only GET and HEAD, and changes nothing. It shows
// addresses and names to all who can read it, so serve it where /metrics is
// served. No request makes the cluster do anything.
package status
