package chart

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/yubin-mail/yubin/tools/kube/internal/program"
)

// Every flag and variable that the chart gives to a service is one that it has.
func TestEverySettingExists(t *testing.T) {
	for _, values := range sets(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			for id, pod := range pods(objects(t, "-f", values)) {
				for _, c := range pod.Containers {
					checkSettings(t, id, c)
				}
			}
		})
	}
}

func checkSettings(t *testing.T, id string, c corev1.Container) {
	t.Helper()
	image, _, _ := strings.Cut(c.Image[strings.LastIndex(c.Image, "/")+1:], ":")
	var flags map[string]bool
	if image == "yubin" {
		flags = program.CommandFlags(t, c.Args[0])
	} else {
		flags = program.Flags(t, image)
	}
	var variables []string
	for _, env := range c.Env {
		variables = append(variables, env.Name)
	}
	if unknown := program.Unknown(flags, c.Args, variables); len(unknown) > 0 {
		t.Errorf("%s: %s has no %v", id, image, unknown)
	}
}

// arguments of a component's container.
func arguments(t *testing.T, component string, args ...string) []string {
	t.Helper()
	for id, pod := range pods(objects(t, args...)) {
		if strings.HasSuffix(id, "/mail-yubin-"+component) {
			return pod.Containers[0].Args
		}
	}
	t.Fatalf("there is no %s", component)
	return nil
}

func TestTokensAreCheckedAsTheValuesSay(t *testing.T) {
	got := arguments(t, "directory", "-f", filepath.Join(chart, "ci", "references-values.yaml"), "--set", "fullnameOverride=mail-yubin")
	for _, want := range []string{
		"--directory-oauth-issuer=https://login.example.com/realms/staff", "--directory-oauth-audience=mail,post", "--directory-oauth-scope=mail",
		"--directory-oauth-claim=preferred_username", "--directory-oauth-domain=example.com", "--directory-oauth-client-id=yubin",
		"--directory-oauth-introspection-url=https://login.example.com/introspect", "--directory-oauth-client-secret-file=/etc/yubin/oauth/client-secret",
		"--directory-oauth-ca=/etc/yubin/oauth-ca/ca.crt",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing from %v", want, got)
		}
	}
	for _, flag := range arguments(t, "directory") {
		if strings.Contains(flag, "oauth") {
			t.Errorf("without tokens there is %s", flag)
		}
	}
}

// Mail programs are told what the Services have, from the same values.
func TestMailProgramsAreToldThePorts(t *testing.T) {
	got := arguments(t, "autoconfig", "--set", "imap.ports.imaps=1993,pop3.ports.pop3=0,smtp.hostname=mx.example.com,hostname=mail.example.com")
	for _, want := range []string{
		"--autoconfig-hostname=mail.example.com", "--autoconfig-smtp-hostname=mx.example.com", "--autoconfig-imaps-port=1993", "--autoconfig-pop3-port=0",
		"--autoconfig-submissions-port=465",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %v", want, got)
		}
	}
}

// A store with one pod is called by an address that stays, and waited for; several are called by all of their addresses.
func TestCallersWaitForTheOnePodOfAStore(t *testing.T) {
	embedded := arguments(t, "smtp")
	for _, want := range []string{"--storage-target=dns:///mail-yubin-storage-rpc.post.svc:7103", "--rpc-wait=60s"} {
		if !slices.Contains(embedded, want) {
			t.Errorf("no %s in %v", want, embedded)
		}
	}
	several := arguments(t, "smtp", "-f", chart+"/values-production.yaml")
	if !slices.Contains(several, "--storage-target=dns:///mail-yubin-storage.post.svc:7103") || slices.Contains(several, "--rpc-wait=60s") {
		t.Errorf("got %v", several)
	}
}
