package chart

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/yubin-mail/yubin/tools/kube/internal/program"
)

const chart = "../../../charts/yubin"

// foreign are the kinds whose types are not Kubernetes' own.
var foreign = map[string]bool{
	"cert-manager.io/v1/Issuer": true, "cert-manager.io/v1/Certificate": true,
	"monitoring.coreos.com/v1/PodMonitor": true, "monitoring.coreos.com/v1/PrometheusRule": true,
	"keda.sh/v1alpha1/ScaledObject": true,
}

func sets(t *testing.T) []string {
	files, err := filepath.Glob(chart + "/ci/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 5 {
		t.Fatalf("only %d sets of values", len(files))
	}
	return append(files, chart+"/values.yaml", chart+"/values-production.yaml", program.Root+"/deploy/examples/values.yaml")
}

// render runs helm, which make builds.
func render(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	return renderChart(t, chart, args...)
}

func renderChart(t *testing.T, chart string, args ...string) ([]byte, error) {
	t.Helper()
	helm := os.Getenv("HELM")
	if helm == "" {
		helm = "../../../.cache/helm"
	}
	args = append([]string{"template", "mail", chart, "--namespace", "post", "--kube-version", "1.34.0"}, args...)
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), helm, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.Bytes(), nil
}

// objects decodes strictly: a field that the API does not know, or that is there twice, is an error.
func objects(t *testing.T, args ...string) map[string]runtime.Object {
	t.Helper()
	return objectsOf(t, chart, args...)
}

func objectsOf(t *testing.T, chart string, args ...string) map[string]runtime.Object {
	t.Helper()
	text, err := renderChart(t, chart, args...)
	if err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	out := map[string]runtime.Object{}
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		var u unstructured.Unstructured
		if err := sigsyaml.UnmarshalStrict(document, &u.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(u.Object) == 0 {
			continue
		}
		id := u.GetAPIVersion() + "/" + u.GetKind() + "/" + u.GetName()
		if out[id] != nil {
			t.Errorf("%s is there twice", id)
		}
		if u.GetNamespace() != "post" {
			t.Errorf("%s has namespace %q", id, u.GetNamespace())
		}
		if foreign[u.GetAPIVersion()+"/"+u.GetKind()] {
			out[id] = &u
			continue
		}
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		out[id] = object
	}
}

// pods gives the pod templates among objects.
func pods(all map[string]runtime.Object) map[string]corev1.PodSpec {
	out := map[string]corev1.PodSpec{}
	for id, o := range all {
		switch o := o.(type) {
		case *appsv1.Deployment:
			out[id] = o.Spec.Template.Spec
		case *appsv1.StatefulSet:
			spec := o.Spec.Template.Spec
			for _, claim := range o.Spec.VolumeClaimTemplates {
				spec.Volumes = append(spec.Volumes, corev1.Volume{Name: claim.Name})
			}
			out[id] = spec
		case *batchv1.Job:
			out[id] = o.Spec.Template.Spec
		case *batchv1.CronJob:
			out[id] = o.Spec.JobTemplate.Spec.Template.Spec
		case *corev1.Pod:
			out[id] = o.Spec
		}
	}
	return out
}

func TestObjects(t *testing.T) {
	for _, values := range sets(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			all := objects(t, "-f", values)
			if len(all) < 13 {
				t.Fatalf("only %d objects", len(all))
			}
			for id, pod := range pods(all) {
				checkPod(t, id, pod)
			}
			for id, o := range all {
				if service, ok := o.(*corev1.Service); ok && len(service.Spec.Ports) == 0 {
					t.Errorf("%s has no ports", id)
				}
			}
		})
	}
}

// checkPod holds a pod against the Pod Security Standard "restricted", and what else pods of ours must say.
func checkPod(t *testing.T, id string, pod corev1.PodSpec) {
	t.Helper()
	s := pod.SecurityContext
	if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: pod's security context is not restricted: %+v", id, s)
	}
	if pod.HostNetwork || pod.HostPID || pod.HostIPC {
		t.Errorf("%s: uses the host's namespaces", id)
	}
	if token := pod.AutomountServiceAccountToken; token == nil || *token != strings.Contains(id, "-certificates") {
		t.Errorf("%s: service account's token: %v", id, token)
	}
	mounted := map[string]bool{}
	for _, v := range pod.Volumes {
		if v.HostPath != nil || mounted[v.Name] {
			t.Errorf("%s: volume %s", id, v.Name)
		}
		mounted[v.Name] = true
	}
	for _, c := range pod.Containers {
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
			s.Capabilities == nil || !reflect.DeepEqual(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
			t.Errorf("%s: container's security context is not restricted: %+v", id, s)
		}
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() {
			t.Errorf("%s: resources are missing: %+v", id, c.Resources)
		}
		for _, m := range c.VolumeMounts {
			if !mounted[m.Name] {
				t.Errorf("%s: mounts %s, which is no volume", id, m.Name)
			}
		}
		for _, p := range c.Ports {
			if p.ContainerPort < 1024 {
				t.Errorf("%s: port %d needs a capability", id, p.ContainerPort)
			}
		}
	}
}

func TestScalingOneGatewayChangesNothingElse(t *testing.T) {
	before, after := objects(t), objects(t, "--set", "imap.replicas=3")
	for id := range after {
		changed := !reflect.DeepEqual(before[id], after[id])
		if changed != (id == "apps/v1/Deployment/mail-yubin-imap") {
			t.Errorf("%s: changed is %v", id, changed)
		}
	}
}

func TestAnotherChartVersionRestartsNothing(t *testing.T) {
	for id, o := range objects(t) {
		labels := map[string]string{}
		switch o := o.(type) {
		case *appsv1.Deployment:
			labels = o.Spec.Template.Labels
		case *appsv1.StatefulSet:
			labels = o.Spec.Template.Labels
		}
		for label := range labels {
			if label == "helm.sh/chart" || label == "app.kubernetes.io/version" {
				t.Errorf("%s: pods have the label %s", id, label)
			}
		}
	}
}

// The calls that may be made, as the architecture draws them.
func TestNetworkPoliciesAreThePicture(t *testing.T) {
	want := map[string][]string{
		"storage":   {"smtp", "pop3", "imap", "quota", "admin", "accounts", "test"},
		"quota":     {"smtp", "imap", "storage", "admin", "accounts", "test"},
		"directory": {"smtp", "pop3", "imap", "quota", "admin", "accounts", "test"},
	}
	all := objects(t, "--set", "accounts.domains[0].name=example.com")
	for service, callers := range want {
		policy := all["networking.k8s.io/v1/NetworkPolicy/mail-yubin-"+service].(*networkingv1.NetworkPolicy)
		got := map[string]bool{}
		for _, peer := range policy.Spec.Ingress[0].From {
			got[peer.PodSelector.MatchLabels["app.kubernetes.io/component"]] = true
		}
		if len(got) != len(callers) {
			t.Errorf("%s may be called by %v, not %v", service, got, callers)
		}
		for _, caller := range callers {
			if !got[caller] {
				t.Errorf("%s may not be called by %s", service, caller)
			}
		}
	}
	deny := all["networking.k8s.io/v1/NetworkPolicy/mail-yubin-deny"].(*networkingv1.NetworkPolicy)
	if len(deny.Spec.PolicyTypes) != 2 || len(deny.Spec.Ingress)+len(deny.Spec.Egress) != 0 {
		t.Errorf("the default is not to deny: %+v", deny.Spec)
	}
}

// Who checks tokens reaches the provider; without tokens nothing but names is asked outside.
func TestOnlyTokensLetTheDirectoryOut(t *testing.T) {
	ports := func(args ...string) (out []string) {
		policy := objects(t, args...)["networking.k8s.io/v1/NetworkPolicy/mail-yubin-directory"].(*networkingv1.NetworkPolicy)
		for _, rule := range policy.Spec.Egress {
			for _, p := range rule.Ports {
				out = append(out, p.Port.String())
			}
		}
		return out
	}
	if got := ports(); !slices.Equal(got, []string{"53", "53"}) {
		t.Errorf("without tokens it may go to the ports %v", got)
	}
	if got := ports("--set", "oauth.issuer=https://login.example.com,oauth.audiences[0]=mail"); !slices.Equal(got, []string{"53", "53", "443"}) {
		t.Errorf("with tokens it may go to the ports %v", got)
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for set, text := range map[string]string{
		"smtp.replcias=2":           "not allowed",
		"autoconfig.ingress.host=a": "not allowed",
		"autoconfig.ingress.enabled=true,autoconfig.ports.http=0":                  "needs autoconfig.ports.http",
		"oauth.issuer=https://login.example.com":                                   "oauth.audiences",
		"oauth.introspection.url=https://login.example.com/i":                      "oauth.audiences",
		"oauth.introspection.url=https://login.example.com/i,oauth.scopes[0]=mail": "clientID",
		"storage.replicas=2":                                   "embedded store has one replica",
		"imap.proxyProtocol.enabled=true":                      "trustedNetworks",
		"rpc.certificates=none":                                "rpc",
		"tls.certManager.enabled=true":                         "name the issuer",
		"defaults.service.type=Loadbalancer":                   "type",
		"accounts.existingSecret=a,accounts.domains[0].name=b": "not both",
	} {
		if _, err := render(t, "--set", set); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("--set %s: want an error about %q, got %v", set, text, err)
		}
	}
}
