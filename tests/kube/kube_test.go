//go:build kube

package kube

import (
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/testserver/minio"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
)

// An operator installs the chart on an empty cluster, and its users get mail.
func TestEmbedded(t *testing.T) {
	r := newRelease(t)
	r.upgrade()
	t.Log(r.helm("test", "yubin", "--timeout", patience.String()))
	r.mailArrives(t)
	r.scales(t)
	r.restartsUnderLoad(t, "smtp", "imap", "pop3")
	r.restartsUnderLoad(t, "storage", "quota", "directory")
	r.losesPods(t, "smtp", "imap", "pop3")
	r.upgradesAndRollsBack(t)
	r.leaves(t, 3)
}

// The same with PostgreSQL and S3, and several replicas of everything.
func TestProduction(t *testing.T) {
	if !*production {
		t.Log("left out by -kube.production=false")
		return
	}
	database, objects := postgres.Start(t), minio.Start(t)
	r := newRelease(t)
	if *host == "" {
		*host = r.node
	}
	at := forward(t, *host, database.Address())
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
	endpoint := forward(t, *host, objects.Addr)
	_, databasePort, _ := net.SplitHostPort(at)
	_, objectPort, _ := net.SplitHostPort(endpoint)
	r.values = append(r.values, "--set", "database.existingSecret=databases", "--set", "objectStore.s3.existingSecret=s3",
		"--set", "objectStore.s3.endpoint=http://"+endpoint, "--set", "objectStore.s3.bucket="+objects.Bucket(t), "--set", "objectStore.s3.region=us-east-1",
		"--set", "networkPolicy.external.databasePorts[0]="+databasePort, "--set", "networkPolicy.external.objectStorePorts[0]="+objectPort,
		"--set", "defaults.replicas=2")
	r.upgrade()
	t.Log(r.helm("test", "yubin", "--timeout", patience.String()))
	r.mailArrives(t)
	r.restartsUnderLoad(t, "smtp", "storage", "quota", "directory")
	r.losesPods(t, "smtp", "imap", "pop3", "storage", "quota", "directory")
	r.leaves(t, 0)
}

func (r *release) mailArrives(t *testing.T) {
	token := rand.Text()
	if err := deliver(r.port("smtp", "smtp"), token); err != nil {
		t.Fatal(err)
	}
	if r.subjects(t)[token] != 1 {
		t.Fatal("the mail is not there")
	}
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
		if pods := r.pods(step.service); len(pods) != step.replicas {
			t.Fatalf("%s has the pods %v", step.service, pods)
		}
	}
	addr := r.port("imap", "imaps")
	for range 30 {
		r.login(t, addr)
	}
	for range 20 {
		if err := deliver(r.port("smtp", "smtp"), rand.Text()); err != nil {
			t.Fatal(err)
		}
	}
	for _, service := range []string{"imap", "smtp"} {
		for _, pod := range r.pods(service) {
			metrics := r.kubectl("get", "--raw", "/api/v1/namespaces/"+r.namespace+"/pods/"+pod+":8080/proxy/metrics")
			if !slices.ContainsFunc(strings.Split(metrics, "\n"), func(line string) bool {
				return strings.HasPrefix(line, "yubin_"+service+"_commands_total") && !strings.HasSuffix(line, " 0")
			}) {
				t.Errorf("%s has had nothing to do", pod)
			}
		}
	}
}

// restartsUnderLoad replaces the pods of services one after the other while mail comes in.
func (r *release) restartsUnderLoad(t *testing.T, services ...string) {
	s := r.sendAlways(t, 4)
	for _, service := range services {
		kind := "deployment"
		if r.try("get", "statefulset", "yubin-"+service, "-o", "name") == "statefulset.apps/yubin-"+service {
			kind = "statefulset"
		}
		r.kubectl("rollout", "restart", kind+"/yubin-"+service)
		r.settled()
	}
	s.goesOn(t)
	s.verify(t, r)
}

// losesPods kills pods at random while mail comes in.
func (r *release) losesPods(t *testing.T, services ...string) {
	s := r.sendAlways(t, 4)
	for end := time.Now().Add(*load); time.Now().Before(end); {
		pods := r.pods(services[pick(t, len(services))])
		if len(pods) == 0 {
			continue
		}
		r.kubectl("delete", "pod", pods[pick(t, len(pods))], "--grace-period=0", "--force", "--ignore-not-found")
		r.settled()
	}
	s.goesOn(t)
	s.verify(t, r)
}

// goesOn waits until mail is accepted after all that was done.
func (s *sender) goesOn(t *testing.T) {
	t.Helper()
	n := s.count()
	for end := time.Now().Add(patience); s.count() < n+10; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no more mail is accepted")
		}
	}
}

// upgradesAndRollsBack changes what every pod is started with, and takes it back, while mail comes in.
func (r *release) upgradesAndRollsBack(t *testing.T) {
	s := r.sendAlways(t, 4)
	r.upgrade("--set", "logLevel=debug")
	r.helm("rollback", "yubin")
	r.settled()
	s.goesOn(t)
	s.verify(t, r)
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
}

func pick(t *testing.T, n int) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		t.Fatal(err)
	}
	return int(i.Int64())
}

// forward lets pods reach a server that listens on loopback only.
func forward(t *testing.T, host, target string) string {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatalf("listen where pods reach this machine (-kube.host): %v", err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				defer out.Close()
				go func() {
					_, _ = io.Copy(out, in)
					_ = out.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
	return listener.Addr().String()
}
