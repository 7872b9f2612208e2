package chart

import (
	"reflect"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/yubin-mail/yubin/tools/kube/internal/program"
)

// previous is the chart of the release before this one, as it was released.
const previous = program.Root + "/tests/kube/testdata/yubin-0.1.0.tgz"

// An upgrade touches nothing that the API server does not let be changed.
func TestUpgradeChangesNothingThatCannotBeChanged(t *testing.T) {
	for _, values := range [][]string{nil, {"-f", chart + "/values-production.yaml"}} {
		before, after := objectsOf(t, previous, values...), objects(t, values...)
		compared := 0
		for id, old := range before {
			switch old := old.(type) {
			case *appsv1.Deployment:
				if now, ok := after[id].(*appsv1.Deployment); ok {
					compared++
					same(t, id, "selector", old.Spec.Selector, now.Spec.Selector)
				}
			case *appsv1.StatefulSet:
				if now, ok := after[id].(*appsv1.StatefulSet); ok {
					compared++
					same(t, id, "selector", old.Spec.Selector, now.Spec.Selector)
					same(t, id, "service", old.Spec.ServiceName, now.Spec.ServiceName)
					same(t, id, "claims", old.Spec.VolumeClaimTemplates, now.Spec.VolumeClaimTemplates)
				}
			case *corev1.Service:
				if now, ok := after[id].(*corev1.Service); ok {
					compared++
					same(t, id, "cluster address", old.Spec.ClusterIP, now.Spec.ClusterIP)
				}
			case *batchv1.Job:
				if now, ok := after[id].(*batchv1.Job); ok {
					compared++
					same(t, id, "pod", old.Spec.Template, now.Spec.Template)
				}
			}
		}
		if compared < 12 {
			t.Errorf("%v: only %d objects compared", values, compared)
		}
	}
}

func same(t *testing.T, id, what string, old, now any) {
	t.Helper()
	if !reflect.DeepEqual(old, now) {
		t.Errorf("%s: %s was %+v and is %+v", id, what, old, now)
	}
}
