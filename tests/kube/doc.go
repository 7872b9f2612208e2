// Package kube installs the Helm chart on a real cluster and uses it as operators and users do. Its tests want a cluster, which most
// machines have not, so they are built with the tag "kube" only: `make test-kube REGISTRY=…` runs them on the cluster of KUBECONFIG,
// after `make images REGISTRY=… PUSH=1`. They need kubectl, and the ports of the cluster's nodes in reach.
package kube
