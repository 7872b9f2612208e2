// Package kube installs the Helm chart on a real cluster and uses it as operators and users do. Its tests want a cluster, which most
// machines have not, so they are built with the tag "kube" only: `make test-kube REGISTRY=…` runs them on the cluster of KUBECONFIG,
// after `make images REGISTRY=… PUSH=1`. They need kubectl, the ports of the cluster's nodes in reach, and for the production form and
// the autoscaler an address of this machine that the cluster reaches (-kube.host; by default that of the first node).
//
// Load (load_test.go) goes on while things are done: mail comes in by SMTP, is kept by IMAP, and fetched by POP3. Afterwards what
// clients were told is held against what is there; and where the operator was polite, clients must have seen nothing but being asked to
// connect again.
//
// testdata/yubin-0.1.0.tgz is the chart of the release before this one, from which the tests upgrade. Whoever releases replaces it:
// helm package charts/yubin.
package kube
