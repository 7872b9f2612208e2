//go:build kube

package kube

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/testserver/minio"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	"github.com/yubin-mail/yubin/tests/harness"
)

// previous is the chart of the release before this one.
func previous(t *testing.T) string { return harness.Root(t) + "/tests/kube/testdata/yubin-0.1.0.tgz" }

// An operator has the chart on an empty cluster, and upgrades, scales, restarts and loses pods, while users send and read mail.
func TestEmbedded(t *testing.T) {
	r := newRelease(t)
	r.step("install the previous release")
	r.install(previous(t))
	r.prepare(t)

	r.step("upgrade to this one under load")
	l := r.startLoad(t)
	r.upgrade()
	l.verify("upgrade from the previous release", roughly) // its gateways do not wait for the one pod of a store
	r.helmTest()
	r.mailArrives(t)
	r.tellsSettings(t)

	r.step("restart each gateway under load")
	r.restartsIMAP(t)
	l = r.startLoad(t)
	r.restart("imap", "smtp", "pop3", "autoconfig")
	l.verify("gateways restarted", politely)

	r.step("restart each store under load")
	l = r.startLoad(t)
	r.restart("storage", "quota", "directory")
	l.verify("stores restarted", politely)

	r.step("upgrade and roll back under load")
	l = r.startLoad(t)
	r.upgrade("--set", "logLevel=debug")
	r.rollback()
	l.verify("upgraded and rolled back", politely)

	r.step("scale each gateway up and down under load")
	l = r.startLoad(t)
	r.scales(t)
	r.upgrade("--set", "imap.replicas=1", "--set", "smtp.replicas=1", "--set", "pop3.replicas=1")
	l.verify("scaled up and down", politely)

	r.step("kill pods under load")
	l = r.startLoad(t)
	r.losesPods("smtp", "imap", "pop3", "storage", "quota", "directory")
	l.verify("pods killed", roughly)

	r.step("scale by a metric")
	r.scalesByConnections(t)

	r.step("uninstall")
	r.leaves(t, 3)
}

// The same with PostgreSQL and S3, and several replicas of everything: nobody notices an upgrade.
func TestProduction(t *testing.T) {
	if !*production {
		t.Log("left out by -kube.production=false")
		return
	}
	r := newRelease(t)
	r.useStores(t)
	r.step("install the previous release")
	r.install(previous(t))
	r.prepare(t)

	r.step("upgrade to this one under load")
	l := r.startLoad(t)
	r.upgrade()
	l.verify("upgrade from the previous release", politely)
	r.helmTest()

	r.step("restart everything under load")
	l = r.startLoad(t)
	r.restart("smtp", "imap", "pop3", "storage", "quota", "directory")
	l.verify("restarted", politely)

	r.step("kill pods under load")
	l = r.startLoad(t)
	r.losesPods("smtp", "imap", "pop3", "storage", "quota", "directory")
	l.verify("pods killed", roughly)

	r.step("uninstall")
	r.leaves(t, 0)
}

// useStores starts PostgreSQL and MinIO on this machine and tells the release where they are.
func (r *release) useStores(t *testing.T) {
	database, objects := postgres.Start(t), minio.Start(t)
	at := forward(t, r.host(), database.Address())
	secret := []string{"create", "secret", "generic", "databases"}
	for _, service := range []string{"storage", "quota", "directory"} {
		u, err := url.Parse(database.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		u.Host = at
		secret = append(secret, "--from-literal="+service+"="+u.String())
	}
	r.kubectl(secret...)
	r.kubectl("create", "secret", "generic", "s3", "--from-literal=access-key="+objects.AccessKey, "--from-literal=secret-key="+objects.SecretKey)
	endpoint := forward(t, r.host(), objects.Addr)
	_, databasePort, _ := net.SplitHostPort(at)
	_, objectPort, _ := net.SplitHostPort(endpoint)
	r.values = append(r.values, "--set", "database.existingSecret=databases", "--set", "objectStore.s3.existingSecret=s3",
		"--set", "objectStore.s3.endpoint=http://"+endpoint, "--set", "objectStore.s3.bucket="+objects.Bucket(t), "--set", "objectStore.s3.region=us-east-1",
		"--set", "networkPolicy.external.databasePorts[0]="+databasePort, "--set", "networkPolicy.external.objectStorePorts[0]="+objectPort,
		"--set", "defaults.replicas=2")
	// The previous release lets calls wait for 2 seconds until another replica is found, which is little where a whole cluster shares a machine.
	for _, service := range []string{"smtp", "imap", "pop3", "storage", "quota"} {
		r.values = append(r.values, "--set", service+".settings.rpc-wait=20s")
	}
	for _, gateway := range []string{"smtp", "imap", "pop3"} {
		r.values = append(r.values, "--set", gateway+".settings."+gateway+"-call-timeout=40s")
	}
}

// restartsIMAP replaces the IMAP gateway's one pod, and sees sessions in IDLE leave one after the other and come back on the new one.
func (r *release) restartsIMAP(t *testing.T) {
	const sessions = 12
	i := r.startIdlers(t, sessions)
	r.restart("imap")
	i.wait(t, sessions)
	i.stop()
	times, over := i.left(t)
	if times < sessions {
		t.Errorf("%d sessions were asked to leave, not %d", times, sessions)
	}
	// A clock is looked at here only for what must not be: all of them at once.
	if over < window/3 {
		t.Errorf("sessions were asked to leave within %v, not over %v", over, window)
	}
	t.Logf("%d sessions in IDLE got BYE over %v", times, over)
}

// scales each gateway by itself, and sees sessions and deliveries spread.
func (r *release) scales(t *testing.T) {
	before := r.generations()
	for _, step := range []struct {
		service  string
		replicas int
	}{{"imap", 3}, {"smtp", 2}, {"pop3", 2}} {
		r.values = append(r.values, "--set", fmt.Sprintf("%s.replicas=%d", step.service, step.replicas))
		r.upgrade()
		after := r.generations()
		before["yubin-"+step.service]++
		if !maps.Equal(before, after) {
			t.Fatalf("scaling %s changed other workloads: %v, not %v", step.service, after, before)
		}
		pods := r.pods(step.service)
		if len(pods) != step.replicas {
			t.Fatalf("%s has the pods %v", step.service, pods)
		}
		r.spreads(t, step.service, pods)
	}
}

// spreads waits until each pod of a gateway has had connections, as the load makes them.
func (r *release) spreads(t *testing.T, service string, pods []string) {
	for end := time.Now().Add(patience); ; time.Sleep(time.Second) {
		var shares []string
		idle := 0
		for _, pod := range pods {
			connections, _ := r.metric(pod, "yubin_"+service+"_connections_total")
			if connections == 0 {
				idle++
			}
			shares = append(shares, fmt.Sprint(connections))
			if service == "imap" { // the load's session lasts, so there must be others
				r.login(t, alice).Close()
			}
		}
		if idle == 0 {
			t.Logf("connections of %s by pod: %s", service, strings.Join(shares, ", "))
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: connections by pod are %v", service, shares)
		}
	}
}

// scalesByConnections lets the autoscaler read how many connections the pods have.
func (r *release) scalesByConnections(t *testing.T) {
	r.serveMetrics(t, r.host())
	r.upgrade("--set", "imap.autoscaling.enabled=true", "--set", "imap.autoscaling.minReplicas=1", "--set", "imap.autoscaling.maxReplicas=3",
		"--set", "imap.autoscaling.targetCPU=0", "--set", "imap.autoscaling.targetConnections=10",
		"--set", "imap.autoscaling.behavior.scaleDown.stabilizationWindowSeconds=0", "--set", "imap.autoscaling.behavior.scaleDown.policies[0].periodSeconds=1",
		"--set", "imap.autoscaling.behavior.scaleDown.policies[0].type=Pods", "--set", "imap.autoscaling.behavior.scaleDown.policies[0].value=3")
	i := r.startIdlers(t, 25)
	r.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=3", "deployment/yubin-imap", "--timeout="+patience.String())
	t.Logf("25 connections:\n%s", r.kubectl("get", "horizontalpodautoscaler"))
	i.stop()
	r.kubectl("wait", "--for=jsonpath={.status.replicas}=1", "deployment/yubin-imap", "--timeout="+patience.String())
	i.left(t) // whoever was asked to leave meanwhile was told so
}

// losesPods kills pods at random.
func (r *release) losesPods(services ...string) {
	for end := time.Now().Add(*killing); time.Now().Before(end); {
		if pods := r.pods(services[pick(r.t, len(services))]); len(pods) > 0 {
			r.kubectl("delete", "pod", pods[pick(r.t, len(pods))], "--grace-period=0", "--force", "--ignore-not-found")
		}
		r.settled()
	}
}

// leaves uninstalls, and sees what is left: the volumes, and nothing else of the chart.
func (r *release) leaves(t *testing.T, volumes int) {
	r.helm("uninstall", "yubin", "--wait", "--timeout", patience.String())
	r.kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/instance=yubin,app.kubernetes.io/component notin (test)", "--timeout="+patience.String())
	left := strings.Fields(r.kubectl("get", "all,secrets,configmaps,networkpolicies,roles,rolebindings,serviceaccounts,poddisruptionbudgets,persistentvolumeclaims",
		"-l", "app.kubernetes.io/instance=yubin", "-o", "name"))
	claims := 0
	for _, name := range left {
		switch {
		case strings.HasPrefix(name, "persistentvolumeclaim/"):
			claims++
		case name == "pod/yubin-test": // Helm leaves tests, so that their logs can be read
		default:
			t.Errorf("%s is left", name)
		}
	}
	if claims != volumes {
		t.Errorf("%d volumes are left, not %d", claims, volumes)
	}
	t.Logf("left are %v", left)
}
