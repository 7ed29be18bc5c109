package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// lastSteps is what a process takes after its alarm, and the kubelet to notice.
const lastSteps = 2 * time.Second

// pods returns what each workload of a manifest makes pods from. Every document
// must be of a known kind and have no field that this kind has not.
func pods(t *testing.T, file string) map[string]core.PodSpec {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]core.PodSpec{}
	for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal(document, &kind); err != nil {
			t.Fatal(err)
		}
		switch kind.Kind {
		case "Deployment":
			var d apps.Deployment
			err = yaml.UnmarshalStrict(document, &d)
			found[d.Name] = d.Spec.Template.Spec
		case "StatefulSet":
			var s apps.StatefulSet
			err = yaml.UnmarshalStrict(document, &s)
			found[s.Name] = s.Spec.Template.Spec
		case "Service":
			err = yaml.UnmarshalStrict(document, new(core.Service))
		default:
			t.Fatalf("%s has a %q", file, kind.Kind)
		}
		if err != nil {
			t.Fatalf("%s: %s: %v", file, kind.Kind, err)
		}
	}
	return found
}

// workload returns the pod of a manifest, and its container.
func workload(t *testing.T, file, name string) (core.PodSpec, core.Container) {
	t.Helper()
	pod, found := pods(t, file)[name]
	if !found || len(pod.Containers) != 1 {
		t.Fatalf("%s has no %s with one container", file, name)
	}
	return pod, pod.Containers[0]
}

func env(c core.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

func parse(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var manifests = map[string]string{"service": "service.yaml", "farewell": "node.yaml"}

// The alarm and what comes after it fit into the kubelet's patience, of which nothing is spent before SIGTERM.
func TestTheAlarmFitsIntoTheGracePeriod(t *testing.T) {
	for name, file := range manifests {
		pod, container := workload(t, file, name)
		grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
		alarm := parse(t, env(container, "FAREWELL_ALARM"))
		if alarm+lastSteps > grace {
			t.Errorf("%s: an alarm of %v does not fit into %v", file, alarm, grace)
		}
		if container.Lifecycle != nil {
			t.Errorf("%s: a preStop hook spends the grace period", file)
		}
		if drain := env(container, "DRAIN"); drain != "" && parse(t, drain) > alarm/4 {
			t.Errorf("%s: of an alarm of %v, %v to drain leave too little", file, alarm, drain)
		}
	}
}

// A liveness probe that fails while leaving must not bring SIGKILL before the alarm.
func TestLivenessIsMorePatientThanTheAlarm(t *testing.T) {
	for name, file := range manifests {
		_, container := workload(t, file, name)
		probe := container.LivenessProbe
		if probe.HTTPGet != nil {
			continue // stays well: TestServiceAsKubernetesStopsIt
		}
		patience := time.Duration(probe.PeriodSeconds*(probe.FailureThreshold-1)) * time.Second
		if alarm := parse(t, env(container, "FAREWELL_ALARM")); patience < alarm+lastSteps {
			t.Errorf("%s: liveness lasts %v, the alarm is %v", file, patience, alarm)
		}
	}
}

func TestNotRootAndNoMoreThanNeeded(t *testing.T) {
	for name, file := range manifests {
		_, container := workload(t, file, name)
		s := container.SecurityContext
		for what, fine := range map[string]bool{
			"runAsNonRoot":             *s.RunAsNonRoot && *s.RunAsUser == 65532,
			"readOnlyRootFilesystem":   *s.ReadOnlyRootFilesystem,
			"allowPrivilegeEscalation": !*s.AllowPrivilegeEscalation,
			"capabilities":             fmt.Sprint(s.Capabilities.Drop) == "[ALL]" && len(s.Capabilities.Add) == 0,
		} {
			if !fine {
				t.Errorf("%s: %s", file, what)
			}
		}
	}
}

// What a container writes to is mounted: everything else is read-only.
func TestFlagsPointToVolumes(t *testing.T) {
	_, container := workload(t, "node.yaml", "farewell")
	var mounts []string
	for _, m := range container.VolumeMounts {
		mounts = append(mounts, m.MountPath)
	}
	for _, arg := range container.Args {
		_, file, found := strings.Cut(arg, "=/")
		if !found {
			_, file, found = strings.Cut(arg, "=unix:/")
		}
		if dir := path.Dir("/" + file); found && !strings.Contains(strings.Join(mounts, " ")+" ", dir+" ") {
			t.Errorf("%s is in none of %v", arg, mounts)
		}
	}
}
