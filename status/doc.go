// Package status is a page about one node of a cluster, for people: who is a
// member and at which position, what each last said, whether this node is
// attached and why not, its states, its traffic, and what has happened lately.
//
//	page := status.New(status.Options{Channel: channel, Gatherer: registry})
//	defer page.Close()
//	mux.Handle("/status", page)
//
// The page is one URL of any path. It answers with HTML, which keeps itself up to
// date; with JSON, where the request accepts that first, has the parameter
// format=json, or a path that ends in .json; and with a stream of server-sent
// events, which the HTML asks for.
//
// It needs nothing from elsewhere, allows nothing else by its
// Content-Security-Policy, and changes nothing: GET and HEAD are all that it
// takes. It tells addresses and names to whoever may read it, so it belongs where
// /metrics does. No request makes the cluster do anything.
package status
