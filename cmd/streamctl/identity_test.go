package main

import (
	"strings"
	"testing"
)

// TestIdentity: who a process is, and what it does when it stops, from flags,
// environment and machine.
func TestIdentity(t *testing.T) {
	kube := map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
	for _, c := range []struct {
		name     string
		flags    identityFlags
		env      map[string]string
		host     string
		instance string // "" = derived
		keep     bool
		rack     string
		fault    string
	}{
		{name: "nothing given", host: "machine"},
		{name: "a number in the name of a machine", host: "web-1"},
		{name: "flag", flags: identityFlags{instance: "a"}, host: "machine", instance: "a", keep: true},
		{name: "environment", env: map[string]string{"STREAMCTL_INSTANCE": "b", "STREAMCTL_RACK": "r1"}, host: "machine", instance: "b", keep: true, rack: "r1"},
		{name: "flags go before the environment", flags: identityFlags{instance: "a", rack: "r2"}, env: map[string]string{"STREAMCTL_INSTANCE": "b", "STREAMCTL_RACK": "r1"}, host: "machine", instance: "a", keep: true, rack: "r2"},
		{name: "stateful set", env: kube, host: "views-12", instance: "views-12", keep: true},
		{name: "deployment", env: kube, host: "views-5d4f9c7b68-24567"},
		{name: "hand over all the same", flags: identityFlags{onStop: "hand-over"}, env: kube, host: "views-0", instance: "views-0"},
		{name: "keep the place all the same", flags: identityFlags{onStop: "keep-place"}, host: "machine", keep: true},
		{name: "no such way", flags: identityFlags{onStop: "wait"}, host: "machine", fault: "--on-stop"},
		{name: "no name for Kafka", flags: identityFlags{instance: "a/b"}, host: "machine", fault: "--instance"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := c.flags
			err := f.complete(func(key string) string { return c.env[key] }, func() (string, error) { return c.host, nil }, "data")
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Errorf("got %v, want a fault of %s", err, c.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.instance == "" {
				if len(f.instance) != 12 || f.instance == c.host {
					t.Errorf("instance %q is not derived", f.instance)
				}
			} else if f.instance != c.instance {
				t.Errorf("instance %q, want %q", f.instance, c.instance)
			}
			if f.keepPlace() != c.keep || f.rack != c.rack {
				t.Errorf("keeps its place: %v, rack %q; want %v, %q", f.keepPlace(), f.rack, c.keep, c.rack)
			}
		})
	}
}
