package main

import (
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// object is a decoded manifest.
type object struct {
	where string
	meta  metav1.ObjectMeta
	value any
}

// bundle is what is applied together.
type bundle struct {
	name     string
	objects  []object
	findings []string
}

func newBundle(name string) *bundle { return &bundle{name: name} }

func (b *bundle) find(where, format string, args ...any) {
	b.findings = append(b.findings, fmt.Sprintf("%s/%s: %s", b.name, where, fmt.Sprintf(format, args...)))
}

// kinds are the types that may be deployed.
func kinds() map[string]func() (any, *metav1.ObjectMeta) {
	return map[string]func() (any, *metav1.ObjectMeta){
		"apps/v1/StatefulSet": func() (any, *metav1.ObjectMeta) { o := new(appsv1.StatefulSet); return o, &o.ObjectMeta },
		"v1/Service":          func() (any, *metav1.ObjectMeta) { o := new(corev1.Service); return o, &o.ObjectMeta },
		"v1/ConfigMap":        func() (any, *metav1.ObjectMeta) { o := new(corev1.ConfigMap); return o, &o.ObjectMeta },
		"v1/Pod":              func() (any, *metav1.ObjectMeta) { o := new(corev1.Pod); return o, &o.ObjectMeta },
		"policy/v1/PodDisruptionBudget": func() (any, *metav1.ObjectMeta) {
			o := new(policyv1.PodDisruptionBudget)
			return o, &o.ObjectMeta
		},
	}
}

// separator divides the documents of a file.
var separator = regexp.MustCompile(`(?m)^---\s*$`)

// add decodes a file: an unknown or repeated field, or a wrong type, is a finding.
func (b *bundle) add(where, text string) {
	for _, doc := range separator.Split(text, -1) {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		var head metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
			b.find(where, "%v", err)
			continue
		}
		make, known := kinds()[head.APIVersion+"/"+head.Kind]
		if !known {
			b.find(where, "%s %s is not among the kinds that are deployed", head.APIVersion, head.Kind)
			continue
		}
		value, meta := make()
		if err := strict(doc, value); err != nil {
			b.find(where, "%v", err)
			continue
		}
		b.objects = append(b.objects, object{where, *meta, value})
	}
}

// strict decodes as the API server does with strict validation: names of fields
// count with their case.
func strict(doc string, value any) error {
	data, err := yaml.YAMLToJSONStrict([]byte(doc))
	if err != nil {
		return err
	}
	problems, err := json.UnmarshalStrict(data, value)
	return errors.Join(append(problems, err)...)
}

// check applies the rules and gives all findings, sorted.
func (b *bundle) check() []string {
	for _, o := range b.objects {
		b.checkMeta(o)
		switch v := o.value.(type) {
		case *appsv1.StatefulSet:
			b.checkStatefulSet(o.where, v)
		case *corev1.Pod:
			b.checkPod(o.where, v.Spec)
		case *policyv1.PodDisruptionBudget:
			b.checkBudget(o.where, v)
		case *corev1.Service:
			b.checkService(o.where, v)
		}
	}
	if len(b.objects) == 0 {
		b.find("", "nothing to check")
	}
	sort.Strings(b.findings)
	return b.findings
}
