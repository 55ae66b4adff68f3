package conformance

const (
	metricLeft            = "alertmanager_cluster_peers_left_total"
	metricFailed          = "clusterchannel_members_failed_total"
	metricRejected        = "clusterchannel_frames_rejected_total"
	metricPublishFailures = "alertmanager_cluster_messages_publish_failures_total"
)

func metricsSameNames(e *env) {}
