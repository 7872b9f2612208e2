//go:build kube

package kube

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/tests/harness"
)

var (
	registry   = flag.String("kube.registry", "", "registry and path of the images")
	tag        = flag.String("kube.tag", "", "their tag")
	host       = flag.String("kube.host", "", "address of this machine by which pods reach it, for the production form; empty: that of the first node")
	production = flag.Bool("kube.production", true, "also test the production form, with PostgreSQL and MinIO on this machine")
	killing    = flag.Duration("kube.killing", 20*time.Second, "how long pods are killed")
)

// patience bounds every wait: a cluster on a busy machine takes its time.
const patience = 5 * time.Minute

// window is over how long sessions are asked to leave.
const window = 6 * time.Second

// accounts that each release has.
const (
	alice    = "alice@example.com"
	bob      = "bob@example.com"
	password = "correct horse battery"
)

// release is an installation of the chart in a namespace of its own.
type release struct {
	t         *testing.T
	namespace string
	values    []string // arguments of helm
	node      string   // address of a node
	begin     time.Time
	known     map[string]bool // what has been seen in the mailbox of copies
}

// newRelease makes the namespace, in which only restricted pods may run. It goes with the test.
func newRelease(t *testing.T, values ...string) *release {
	t.Helper()
	if *registry == "" || *tag == "" {
		t.Fatal("name the images: make test-kube REGISTRY=… VERSION=…, or -args -kube.registry … -kube.tag …")
	}
	r := &release{t: t, namespace: "yubin-test-" + strings.ToLower(rand.Text()[:8]), begin: time.Now(), known: map[string]bool{}}
	r.kubectl("create", "namespace", r.namespace)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("pods:\n%s", r.try("get", "pods", "-o", "wide"))
			t.Logf("events:\n%s", r.try("get", "events", "--sort-by=.lastTimestamp"))
			t.Logf("logs:\n%s", r.try("logs", "-l", "app.kubernetes.io/instance=yubin", "--tail=30", "--prefix", "--max-log-requests=50"))
		}
		_ = r.try("delete", "namespace", r.namespace, "--wait=false")
	})
	r.kubectl("label", "namespace", r.namespace, "pod-security.kubernetes.io/enforce=restricted")
	r.node = r.kubectl("get", "nodes", "-o", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`)
	r.values = append([]string{
		"--set", "image.registry=" + *registry, "--set", "image.tag=" + *tag,
		"--set", "defaults.service.type=NodePort", "--set", "defaults.service.externalTrafficPolicy=Cluster",
		"--set", "defaults.resources.requests.cpu=5m", "--set", "defaults.resources.requests.memory=32Mi",
		"--set", "defaults.drain.delay=3", "--set", fmt.Sprintf("defaults.drain.window=%.0f", window.Seconds()),
		"--set", "accounts.domains[0].name=example.com",
		"--set", "accounts.accounts[0].address=" + alice, "--set", "accounts.accounts[0].password=" + password,
		"--set", "accounts.accounts[1].address=" + bob, "--set", "accounts.accounts[1].password=" + password,
	}, values...)
	return r
}

// context ends before the test's binary does, and outlives the test for cleanups.
func (r *release) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.t.Context()), 2*patience)
}

func (r *release) run(name string, args ...string) (string, error) {
	ctx, cancel := r.context()
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (r *release) try(args ...string) string {
	out, err := r.run("kubectl", append([]string{"--namespace", r.namespace}, args...)...)
	if err != nil {
		out += "\n" + err.Error()
	}
	return out
}

func (r *release) kubectl(args ...string) string {
	r.t.Helper()
	out, err := r.run("kubectl", append([]string{"--namespace", r.namespace}, args...)...)
	if err != nil {
		r.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r *release) helm(args ...string) string {
	r.t.Helper()
	helm := os.Getenv("HELM")
	if helm == "" {
		helm = "helm"
	}
	out, err := r.run(helm, append([]string{"--namespace", r.namespace}, args...)...)
	if err != nil {
		r.t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// step logs how long the test has taken so far.
func (r *release) step(what string) {
	r.t.Logf("%4.0f s: %s", time.Since(r.begin).Seconds(), what)
}

// host is the address of this machine by which pods reach it.
func (r *release) host() string {
	if *host != "" {
		return *host
	}
	return r.node
}

// install brings a release of the chart up, or to other values, and waits for all of it.
func (r *release) install(chart string, more ...string) {
	r.t.Helper()
	args := append([]string{"upgrade", "--install", "yubin", chart, "--timeout", patience.String()}, r.values...)
	r.helm(append(args, more...)...)
	r.settled()
	r.reachable()
}

// upgrade installs the chart of this repository.
func (r *release) upgrade(more ...string) {
	r.t.Helper()
	r.install(harness.Root(r.t)+"/charts/yubin", more...)
}

func (r *release) rollback() {
	r.t.Helper()
	r.helm("rollback", "yubin")
	r.settled()
}

func (r *release) helmTest() {
	r.t.Helper()
	r.helm("test", "yubin", "--timeout", patience.String())
	r.t.Log(r.kubectl("logs", "yubin-test"))
}

// restart replaces the pods of services, one service after the other.
func (r *release) restart(services ...string) {
	r.t.Helper()
	for _, service := range services {
		kind := "deployment"
		if r.try("get", "statefulset", "yubin-"+service, "-o", "name") == "statefulset.apps/yubin-"+service {
			kind = "statefulset"
		}
		r.kubectl("rollout", "restart", kind+"/yubin-"+service)
		r.settled()
	}
}

// settled waits until every workload runs as it should.
func (r *release) settled() {
	r.t.Helper()
	for _, workload := range strings.Fields(r.kubectl("get", "deployments,statefulsets", "-o", "name")) {
		r.kubectl("rollout", "status", workload, "--timeout="+patience.String())
	}
	r.drained()
	r.kubectl("wait", "--for=condition=complete", "job", "-l", "app.kubernetes.io/component=accounts", "--timeout="+patience.String())
}

// drained waits until no pod is about to end: a rollout is over before the pods that it replaced have let their sessions go.
func (r *release) drained() {
	r.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		leaving := strings.Fields(r.kubectl("get", "pods", "-l", "app.kubernetes.io/instance=yubin", "-o", "jsonpath={.items[?(@.metadata.deletionTimestamp)].metadata.name}"))
		if len(leaving) == 0 {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("pods do not end: %v", leaving)
		}
	}
}

// reachable waits until each NodePort leads to a pod: the cluster's network learns of a pod only after it is ready.
func (r *release) reachable() {
	r.t.Helper()
	var d net.Dialer
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for _, port := range strings.Fields(r.kubectl("get", "services", "-l", "app.kubernetes.io/instance=yubin", "-o", "jsonpath={.items[*].spec.ports[*].nodePort}")) {
		for {
			conn, err := d.DialContext(ctx, "tcp", r.node+":"+port)
			if err == nil {
				_ = conn.Close()
				break
			}
			if ctx.Err() != nil {
				r.t.Fatalf("NodePort %s does not answer: %v", port, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// generations tell which workloads were changed.
func (r *release) generations() map[string]int64 {
	r.t.Helper()
	var list struct {
		Items []struct {
			Metadata struct {
				Name       string `json:"name"`
				Generation int64  `json:"generation"`
			} `json:"metadata"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(r.kubectl("get", "deployments,statefulsets", "-o", "json")), &list); err != nil {
		r.t.Fatal(err)
	}
	out := map[string]int64{}
	for _, item := range list.Items {
		out[item.Metadata.Name] = item.Metadata.Generation
	}
	return out
}

// pods of a component that run and are not about to end.
func (r *release) pods(component string) []string {
	r.t.Helper()
	var list struct {
		Items []struct {
			Metadata struct {
				Name              string  `json:"name"`
				DeletionTimestamp *string `json:"deletionTimestamp"`
			} `json:"metadata"`
		} `json:"items"`
	}
	out := r.kubectl("get", "pods", "-l", "app.kubernetes.io/component="+component, "--field-selector=status.phase=Running", "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, item := range list.Items {
		if item.Metadata.DeletionTimestamp == nil {
			names = append(names, item.Metadata.Name)
		}
	}
	return names
}

// port is the address of a gateway's NodePort.
func (r *release) port(service, name string) string {
	r.t.Helper()
	return r.node + ":" + r.kubectl("get", "service", "yubin-"+service, "-o", `jsonpath={.spec.ports[?(@.name=="`+name+`")].nodePort}`)
}
