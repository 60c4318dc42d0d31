package main

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// The rules: what a pod of streamctl needs to survive, and what it must not have.

// leastGrace is kafka.rebalance_timeout: a shorter grace kills a pod in its last commit.
const leastGrace = 61

func (b *bundle) checkMeta(o object) {
	for _, problem := range validation.IsDNS1123Subdomain(o.meta.Name) {
		b.find(o.where, "name %q: %s", o.meta.Name, problem)
	}
	for key, value := range o.meta.Labels {
		for _, problem := range append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...) {
			b.find(o.where, "label %s=%s: %s", key, value, problem)
		}
	}
	if o.meta.Labels["app.kubernetes.io/name"] == "" {
		b.find(o.where, "no label app.kubernetes.io/name")
	}
}

func (b *bundle) checkStatefulSet(where string, s *appsv1.StatefulSet) {
	spec := s.Spec
	b.selects(where, "selector", spec.Selector, spec.Template.Labels)
	if spec.PodManagementPolicy != appsv1.ParallelPodManagement {
		b.find(where, "podManagementPolicy %q: pods need not wait for each other", spec.PodManagementPolicy)
	}
	if service := named[*corev1.Service](b, spec.ServiceName); service == nil || service.Spec.ClusterIP != corev1.ClusterIPNone {
		b.find(where, "serviceName %q is no headless service", spec.ServiceName)
	}
	pod := spec.Template.Spec
	if grace := pod.TerminationGracePeriodSeconds; grace == nil || *grace < leastGrace {
		b.find(where, "terminationGracePeriodSeconds is less than the rebalance timeout")
	}
	if len(pod.TopologySpreadConstraints) == 0 {
		b.find(where, "no topologySpreadConstraints")
	}
	for _, c := range pod.TopologySpreadConstraints {
		b.selects(where, "topologySpreadConstraints", c.LabelSelector, spec.Template.Labels)
	}
	b.checkPod(where, pod)
	for _, c := range pod.Containers {
		if c.LivenessProbe == nil || c.ReadinessProbe == nil {
			b.find(where, "container %s lacks a probe", c.Name)
		} else {
			b.checkProbe(where, c, c.LivenessProbe, "/livez")
			b.checkProbe(where, c, c.ReadinessProbe, "/readyz")
		}
	}
	var claims []string
	for _, claim := range spec.VolumeClaimTemplates {
		claims = append(claims, claim.Name)
	}
	if len(claims) == 0 {
		b.find(where, "no volumeClaimTemplates: every restart would restore in full")
	}
	b.checkMounts(where, pod, claims)
}

func (b *bundle) checkProbe(where string, c corev1.Container, p *corev1.Probe, path string) {
	if p.HTTPGet == nil || p.HTTPGet.Path != path {
		b.find(where, "container %s: the probe does not ask %s", c.Name, path)
		return
	}
	for _, port := range c.Ports {
		if port.Name == p.HTTPGet.Port.StrVal || port.ContainerPort == p.HTTPGet.Port.IntVal {
			return
		}
	}
	b.find(where, "container %s: the probe of %s asks port %s, which it does not have", c.Name, path, p.HTTPGet.Port.String())
}

// checkPod wants a pod that may do nothing but its work.
func (b *bundle) checkPod(where string, pod corev1.PodSpec) {
	sec := pod.SecurityContext
	if sec == nil || sec.RunAsNonRoot == nil || !*sec.RunAsNonRoot {
		b.find(where, "runs as root")
	}
	if sec == nil || sec.SeccompProfile == nil || sec.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		b.find(where, "no seccompProfile RuntimeDefault")
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		b.find(where, "mounts a token of the Kubernetes API that it does not need")
	}
	if pod.HostNetwork || pod.HostPID || pod.HostIPC {
		b.find(where, "shares namespaces with the host")
	}
	for _, v := range pod.Volumes {
		if v.HostPath != nil {
			b.find(where, "volume %s is a path of the host", v.Name)
		}
	}
	for _, c := range pod.Containers {
		b.checkContainer(where, c)
	}
}

func (b *bundle) checkContainer(where string, c corev1.Container) {
	sec := c.SecurityContext
	if sec == nil || sec.ReadOnlyRootFilesystem == nil || !*sec.ReadOnlyRootFilesystem {
		b.find(where, "container %s can write to its root", c.Name)
	}
	if sec == nil || sec.AllowPrivilegeEscalation == nil || *sec.AllowPrivilegeEscalation {
		b.find(where, "container %s may gain privileges", c.Name)
	}
	if sec == nil || sec.Capabilities == nil || len(sec.Capabilities.Drop) != 1 || sec.Capabilities.Drop[0] != "ALL" {
		b.find(where, "container %s keeps capabilities", c.Name)
	}
	if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
		b.find(where, "container %s lacks a memory limit or a CPU request", c.Name)
	}
	if _, tag, ok := strings.Cut(c.Image[strings.LastIndex(c.Image, "/")+1:], ":"); !ok || tag == "latest" || tag == "" {
		b.find(where, "container %s: image %q has no version", c.Name, c.Image)
	}
	defined := make(map[string]bool)
	for _, e := range c.Env {
		defined[e.Name] = true
		for _, secret := range []string{"PASSWORD", "TOKEN", "SECRET"} {
			if e.Value != "" && strings.Contains(strings.ToUpper(e.Name), secret) {
				b.find(where, "container %s: %s is written in the manifest", c.Name, e.Name)
			}
		}
	}
	for _, arg := range c.Args {
		for rest := arg; ; {
			_, after, ok := strings.Cut(rest, "$(")
			if !ok {
				break
			}
			name, tail, _ := strings.Cut(after, ")")
			if !defined[name] {
				b.find(where, "container %s: argument %s: no variable %s", c.Name, arg, name)
			}
			rest = tail
		}
	}
}

// checkMounts wants every mount to have its volume, the objects behind them to be there.
func (b *bundle) checkMounts(where string, pod corev1.PodSpec, claims []string) {
	volumes := make(map[string]bool)
	for _, name := range claims {
		volumes[name] = true
	}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil && named[*corev1.ConfigMap](b, v.ConfigMap.Name) == nil {
			b.find(where, "volume %s: there is no ConfigMap %s", v.Name, v.ConfigMap.Name)
		}
	}
	for _, c := range pod.Containers {
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				b.find(where, "container %s mounts %s, which is no volume", c.Name, m.Name)
			}
		}
	}
}

func (b *bundle) checkBudget(where string, p *policyv1.PodDisruptionBudget) {
	if p.Spec.MaxUnavailable == nil && p.Spec.MinAvailable == nil {
		b.find(where, "the budget allows what it likes")
	}
	b.selectsPods(where, p.Spec.Selector)
}

func (b *bundle) checkService(where string, s *corev1.Service) {
	b.selectsPods(where, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
}

// selectsPods wants a selector that finds the pods of a StatefulSet.
func (b *bundle) selectsPods(where string, selector *metav1.LabelSelector) {
	for _, o := range b.objects {
		if s, ok := o.value.(*appsv1.StatefulSet); ok {
			b.selects(where, "selector", selector, s.Spec.Template.Labels)
			return
		}
	}
	b.find(where, "there is no StatefulSet to select")
}

func (b *bundle) selects(where, what string, selector *metav1.LabelSelector, pod map[string]string) {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		b.find(where, "%s: %v", what, err)
	} else if s.Empty() || !s.Matches(labels.Set(pod)) {
		b.find(where, "%s %s does not select the pods", what, s)
	}
}

// named finds an object of type T in the bundle.
func named[T any](b *bundle, name string) T {
	for _, o := range b.objects {
		if v, ok := o.value.(T); ok && o.meta.Name == name {
			return v
		}
	}
	var none T
	return none
}
