// Package runnertest reads what a step wrote as GitHub's runner reads it, so
// that tests can say what the runner would do. It follows actions/runner 2.336:
// OutputManager, ActionCommand and ActionCommandManager for the log, and
// EnvFileKeyValuePairs for outputs. It is for tests only.
package runnertest
