// Package scheduler is the alert generator: it evaluates rules in Prometheus's
// rule-file format and sends the alerts to the node's own receiver.
// Prometheus's package rules does the evaluation (for, keep_firing_for,
// templates, intervals); the expressions are sent as instant queries to any
// Prometheus-compatible HTTP API. There is no storage: recording rules are
// skipped, and the series ALERTS is that of the queried server. That package
// adds some 3 MB to a program that has Alertmanager's packages, and evaluates a
// rule file exactly as Prometheus does.
//
// # Every node evaluates
//
// This is the default. As long as one node lives, rules are evaluated. The
// nodes share nothing here; the receivers make sure that an alert is delivered
// once. [Options].ReceiveOnly stops evaluation on one node only.
//
// # One node evaluates
//
// With [Options].SingleEvaluation a group has an order of members, by rendezvous
// hashing of their names, and a member evaluates it when none before it has been
// heard evaluating it for three intervals. So the first in order evaluates
// while it lives; the groups spread over the members. After each evaluation
// that succeeded the member broadcasts the group's alerts as the state
// "scheduler:groups". The others use it for three things: it shows that the
// group is evaluated, it brings alerts for their receivers, and when they take
// over they continue from it, so that neither for nor keep_firing_for begins
// again.
//
// In doubt a node evaluates rather than not. It evaluates everything while its
// View is not Attached, or Settling. A member that cannot evaluate, because it
// has no rules, another path of the rule file, no working query, or no such
// package, is not heard, and the next one evaluates. A group whose alerts
// exceed the payload limit of the cluster is evaluated by all. A hand-over
// leaves no gap: the former node stops once it has heard the new one.
//
// The path of a rule file as matched and the name of the group identify it: the
// paths should be the same on all nodes.
//
// # Restarts
//
// With [Options].StateFile a node saves the state of its rules, every ten
// seconds and at the end, and continues from there when it starts again.
//
// # State history
//
// Each node keeps the latest transitions of the alerts that it evaluates itself,
// and serves them under its name: see [Scheduler.History]. They are not
// replicated. If every node evaluates, a transition is in each node's history;
// if one does, it is in one: this shows which of the two is in use.
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
