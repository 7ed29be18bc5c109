package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// unitFile is the unit that the documentation tells people to install.
const unitFile = "../../../docs/farewell.service"

// machine is a real systemd that runs as PID 1 of namespaces of its own.
type machine struct {
	init   string // its process ID here
	dir    string
	output *os.File
}

// needSystemd skips the test where no systemd can be run. In CI it may not skip.
func needSystemd(t *testing.T) {
	t.Helper()
	missing := ""
	switch _, err := os.Stat("/lib/systemd/systemd"); {
	case err != nil:
		missing = "systemd is not installed"
	case os.Geteuid() != 0:
		missing = "only root can run a systemd of its own"
	default:
		if out, err := exec.Command("unshare", "--mount", "--pid", "--net", "--fork", "true").CombinedOutput(); err != nil {
			missing = "no namespaces here: " + string(out)
		}
	}
	switch {
	case missing == "":
	case os.Getenv("CI") != "":
		t.Fatal(missing)
	default:
		t.Skip(missing)
	}
}

// boot starts systemd with these units, and ends it with the test.
func boot(t *testing.T, units map[string]string) *machine {
	t.Helper()
	needSystemd(t)
	m := &machine{dir: t.TempDir()}
	units["test.target"] = "[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n"
	for name, text := range units {
		file := filepath.Join(m.dir, "units", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if m.output, err = os.Create(filepath.Join(m.dir, "output")); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("unshare", "--mount", "sh", "testdata/systemd.sh", m.dir, builtCommand(t))
	c.Stdout, c.Stderr = m.output, m.output
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.end(t, c) })
	m.awaitBoot(t, c.Process.Pid)
	return m
}

func (m *machine) awaitBoot(t *testing.T, parent int) {
	t.Helper()
	children := filepath.Join("/proc", strconv.Itoa(parent), "task", strconv.Itoa(parent), "children")
	eventually(t, "systemd boots", func() bool {
		child, _ := os.ReadFile(children)
		m.init = strings.TrimSpace(string(child))
		return m.init != "" && m.run(t, "systemctl", "is-system-running") == "running"
	})
}

// end kills the machine with all that runs in it, and removes its control group.
func (m *machine) end(t *testing.T, c *exec.Cmd) {
	_ = c.Process.Kill()
	_ = c.Wait()
	if t.Failed() {
		log, _ := os.ReadFile(m.output.Name())
		t.Logf("systemd says:\n%s", log)
	}
	_ = m.output.Close()
	group := filepath.Join(m.dir, "cgroup", "farewell-test-"+strconv.Itoa(c.Process.Pid))
	script := `mount -t cgroup2 none "$1/cgroup" && { find "$2" -depth -type d -exec rmdir {} + 2>/dev/null; test ! -e "$2"; }`
	eventually(t, "its control group goes", func() bool {
		return exec.Command("unshare", "--mount", "sh", "-c", script, "sh", m.dir, group).Run() == nil
	})
}

// run runs a command in the machine and returns what it printed.
func (m *machine) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	enter := []string{"--target", m.init, "--mount", "--pid", "--net", "--cgroup", "--wd=/"}
	out, _ := exec.CommandContext(ctx, "nsenter", append(enter, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out))
}

// show returns properties of a unit, as "Name=value" lines.
func (m *machine) show(t *testing.T, unit string, properties ...string) string {
	t.Helper()
	return m.run(t, "systemctl", "show", unit, "--property", strings.Join(properties, ","))
}

// eventually polls until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); <-time.After(pollPause) {
		if time.Now().After(deadline) {
			t.Fatalf("in %v it did not come to this: %s", patience, what)
		}
	}
}

// builtCommand builds the command as a release does: static, without the race detector.
func builtCommand(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "farewell")
	build := exec.Command("go", "build", "-trimpath", "-o", file, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return file
}

// testUnits returns the documented unit under several names, each with the lines
// that its test is about, and what it needs of the system: a message bus.
func testUnits(t *testing.T, variants map[string]string) map[string]string {
	t.Helper()
	unit, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	bare := "[Unit]\nDefaultDependencies=no\n"
	units := map[string]string{
		"network-online.target": bare,
		"basic.target":          bare,
		"sysinit.target":        bare,
		"dbus.socket":           bare + "[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
		"dbus.service": bare + "[Service]\nType=notify\nExecStart=/usr/bin/dbus-daemon --system --address=systemd: " +
			"--nofork --nopidfile --systemd-activation --syslog-only\n",
	}
	for name, lines := range variants {
		// the folders are named after the first unit in the file; each test has its own
		text := strings.NewReplacer("%S/farewell", "%S/"+name, "%t/farewell", "%t/"+name,
			"StateDirectory=farewell", "StateDirectory="+name, "RuntimeDirectory=farewell", "RuntimeDirectory="+name,
		).Replace(string(unit))
		units[name+".service"] = text
		units[name+".service.d/test.conf"] = bare + "Requires=dbus.socket\nAfter=dbus.socket\n" +
			"[Service]\nStandardOutput=file:/run/" + name + ".out\nStandardError=file:/run/" + name + ".err\n" + lines
	}
	return units
}

// The unit file, hardening and all, under a real systemd.
func TestSystemd(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a systemd")
	}
	command := "ExecStart=\nExecStart=/usr/local/bin/farewell run --listen 127.0.0.1:0 --ui unix:%t/NAME/ui.sock --key %S/NAME/node.key "
	with := func(name, flags string) string { return strings.ReplaceAll(command, "NAME", name) + flags + "\n" }
	m := boot(t, testUnits(t, map[string]string{
		"polite":   with("polite", ""),
		"asked":    with("asked", ""),
		"hung":     with("hung", "--hang") + "TimeoutStopSec=3s\nDynamicUser=no\nUser=nobody\n", // no dynamic user gets on to dbus-daemon
		"extended": with("extended", "--hang --alarm 4s") + "TimeoutStopSec=1s\n",
		"stuck":    with("stuck", "") + "WatchdogSec=2s\nRestart=no\n",
	}))
	start := func(t *testing.T, name string) {
		t.Helper()
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(m.run(t, "systemctl", "status", "--no-pager", name), m.run(t, "sh", "-c", "cat /run/"+name+".*"))
			}
		})
		if out := m.run(t, "systemctl", "start", name); out != "" {
			t.Fatalf("start: %s", out)
		}
		got := m.show(t, name, "ActiveState", "StatusText")
		want := "StatusText=UI at unix:/run/" + name + "/ui.sock, neighbors at 127.0.0.1:"
		if !strings.Contains(got, "ActiveState=active") || !strings.Contains(got, want) {
			t.Fatalf("after start: %s", got)
		}
	}
	expect := func(t *testing.T, name string, want ...string) {
		t.Helper()
		properties := make([]string, len(want))
		for i, line := range want {
			properties[i], _, _ = strings.Cut(line, "=")
		}
		got := strings.Split(m.show(t, name, properties...), "\n")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}

	t.Run("stop is polite", func(t *testing.T) {
		start(t, "polite")
		m.run(t, "systemctl", "stop", "polite")
		expect(t, "polite", "Result=success", "ExecMainStatus=0", "ActiveState=inactive")
	})
	t.Run("a UI asks", func(t *testing.T) {
		start(t, "asked")
		m.run(t, "/usr/local/bin/farewell", "shutdown", "--ui", "unix:/run/asked/ui.sock")
		eventually(t, "the service ends", func() bool { return m.show(t, "asked", "ActiveState") == "ActiveState=inactive" })
		expect(t, "asked", "Result=success", "ExecMainStatus=0", "NRestarts=0")
	})
	// Nothing says how long the alarm is but TimeoutStopSec: without it the alarm would be 5 s, and systemd would
	// be asked for as much.
	t.Run("the alarm fits in TimeoutStopSec", func(t *testing.T) {
		start(t, "hung")
		m.run(t, "systemctl", "stop", "hung")
		expect(t, "hung", "Result=exit-code", "ExecMainCode=1", "ExecMainStatus=3")
		log := m.run(t, "cat", "/run/hung.err")
		if !strings.Contains(log, " after 2") || !strings.Contains(log, "1 hung: hang") { // the alarm is 2 s
			t.Error(log)
		}
	})
	t.Run("a longer alarm extends TimeoutStopSec", func(t *testing.T) {
		start(t, "extended")
		m.run(t, "systemctl", "stop", "--no-block", "extended")
		eventually(t, "the status says whom it waits for", func() bool {
			return strings.HasPrefix(m.show(t, "extended", "StatusText"), "StatusText=AwaitingAcks: waiting for hang; alarm at ")
		})
		eventually(t, "the service ends", func() bool { return m.show(t, "extended", "ActiveState") == "ActiveState=failed" })
		expect(t, "extended", "Result=exit-code", "ExecMainCode=1", "ExecMainStatus=3") // not Result=timeout
	})
	t.Run("the watchdog ends what is stuck", func(t *testing.T) {
		start(t, "stuck")
		<-time.After(5 * time.Second) // a node that is well outlives it
		expect(t, "stuck", "ActiveState=active", "NRestarts=0")
		m.run(t, "systemctl", "kill", "--signal", "STOP", "stuck")
		eventually(t, "the watchdog barks", func() bool { return m.show(t, "stuck", "Result") == "Result=watchdog" })
	})
}

// systemd-analyze knows every setting of the unit file, and finds little that the service could do and need not.
func TestUnitFile(t *testing.T) {
	needSystemd(t)
	for _, args := range [][]string{
		{"verify", unitFile},
		{"security", "--offline=true", "--threshold=15", "--no-pager", unitFile}, // 1.5 of 10
	} {
		c := exec.Command("systemd-analyze", args...)
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out
		err := c.Run()
		said := out.String()
		if _, missing := os.Stat("/usr/local/bin/farewell"); errors.Is(missing, fs.ErrNotExist) && args[0] == "verify" {
			// it also looks whether the command is installed
			said = strings.ReplaceAll(said, "farewell.service: Command /usr/local/bin/farewell is not executable: No such file or directory\n", "")
			if said == "" {
				err = nil
			}
		}
		if err != nil || args[0] == "verify" && said != "" {
			t.Errorf("systemd-analyze %s: %v:\n%s", strings.Join(args, " "), err, said)
		}
	}
}
