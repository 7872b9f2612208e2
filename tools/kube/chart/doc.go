// Package chart checks the Helm chart without a cluster: what it makes of several sets of values is read as strictly as the API server would.
// It is here, and not among the tests, for the sake of the types of Kubernetes, which only this module knows.
package chart
