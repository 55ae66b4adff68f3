package params

// RequireCluster returns an error that wraps driver.ErrConfig if a cluster has
// no name. Backends on a server that other clusters may use call it.
func RequireCluster(name string) error {
	if name == "" {
		return Bad("cluster", "is empty; a server is shared, so a name is required")
	}
	return nil
}
