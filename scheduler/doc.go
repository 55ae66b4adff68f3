// Package scheduler is the alert generator: it evaluates rules in Prometheus's
// rule-file format and hands the alerts to the node's own receiver. Prometheus's
// package rules does the evaluation (for, keep_firing_for, templates, intervals);
// the expressions are sent as instant queries to any Prometheus-compatible HTTP
// API. There is no storage: recording rules are skipped, and the series ALERTS
// is that of the queried server. The package was weighed against own code: it adds
// some 3 MB to a program that has Alertmanager's packages, and evaluates a rule
// file exactly as Prometheus does.
//
// # Every node evaluates
//
// This is the default. As long as one node lives, rules are evaluated. The nodes
// share nothing here; the receivers see to it that an alert is delivered once.
// [Options].ReceiveOnly stops evaluation on one node only.
//
// # One node evaluates
//
// With [Options].SingleEvaluation a group has an order of members, by rendezvous
// hashing of their names, and a member evaluates it when none before it has been
// heard evaluating it for three intervals. The first in order therefore does,
// whenever it lives; the groups spread over the members. After each evaluation
// that succeeded the member broadcasts the group's alerts as the state
// "scheduler:groups". It is three things to the others: the sign that the group
// is looked after, alerts for their receivers, and what they go on from when they
// take over, so that neither for nor keep_firing_for begins again.
//
// What is uncertain ends in evaluation, not in silence. A node evaluates
// everything while its View is not Attached, or Settling. A member that cannot
// evaluate, because it has no rules, another path of the rule file, no working
// query, or no such package, is not heard, and the next does it. A group whose
// alerts exceed the payload limit of the cluster is evaluated by all. A hand-over
// makes before it breaks: the former node stops once it has heard the new one.
//
// The path of a rule file as matched and the name of the group identify it: the
// paths should be the same on all nodes.
//
// # Restarts
//
// With [Options].StateFile a node saves how its rules stand, every ten seconds and
// at the end, and goes on from there when it starts again.
//
// # State history
//
// Each node keeps the latest transitions of the alerts that it evaluates itself,
// and serves them under its name: see [Scheduler.History]. They are not
// replicated. Where every node evaluates, a transition stands in each node's
// history, and where one does, in one: this shows which of both is at work.
//
// # Metrics
//
// Those of package rules have the names that Prometheus gives them, such as
// prometheus_rule_evaluations_total, prometheus_rule_evaluation_failures_total
// and prometheus_rule_group_iterations_missed_total, and the label rule_group.
// With them come
//
//	clusterchannel_scheduler_groups                   groups loaded
//	clusterchannel_scheduler_groups_evaluated         groups that this node evaluated last time
//	clusterchannel_scheduler_takeovers_total          times it went on with another node's group
//	clusterchannel_scheduler_slow_evaluations_total   evaluations that outlasted the interval, by rule_group
//	clusterchannel_scheduler_publish_failures_total   group states that could not be broadcast
//	clusterchannel_scheduler_send_failures_total      times the receiver refused alerts
//	clusterchannel_scheduler_reload_successful        whether the last load of the rule files was
package scheduler
