package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
)

// dockerfile is what the documentation tells people to build.
const dockerfile = "../../../docs/Dockerfile"

// image is the last stage of a Dockerfile, laid out in a folder.
type image struct {
	root       string
	uid, gid   uint32
	entrypoint []string
	cmd        []string
}

// needNamespaces skips the test where no process can be PID 1. In CI it may not skip.
func needNamespaces(t *testing.T) {
	t.Helper()
	c := exec.Command("/proc/self/exe", "--version")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	err := c.Start()
	switch {
	case err == nil:
		_ = c.Wait()
	case os.Getenv("CI") != "":
		t.Fatalf("no namespaces here: %v", err)
	default:
		t.Skipf("no namespaces here: %v", err)
	}
}

// layOut does what the last stage of the Dockerfile says, with the command built here. An instruction that it does not
// know fails the test, so that the Dockerfile cannot say what is not tried.
func layOut(t *testing.T) *image {
	t.Helper()
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	_, last, found := strings.Cut(string(text), "\nFROM scratch\n")
	if !found {
		t.Fatal("the last stage is not from scratch")
	}
	built := map[string]string{"/out/farewell": builtCommand(t), "/out/state": ""}
	i := &image{root: t.TempDir()}
	for line := range strings.Lines(last) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch instruction {
		case "", "#":
		case "COPY":
			i.copy(t, strings.Fields(rest), built)
		case "USER":
			i.uid, i.gid = owner(t, rest)
		case "STOPSIGNAL":
			if rest != "SIGTERM" {
				t.Fatalf("STOPSIGNAL %s is not tried here", rest)
			}
		case "ENTRYPOINT":
			err = json.Unmarshal([]byte(rest), &i.entrypoint) // the shell form is no JSON: there is no shell
		case "CMD":
			err = json.Unmarshal([]byte(rest), &i.cmd)
		default:
			t.Fatalf("the Dockerfile says %q, which this test does not know", line)
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	if err := os.Chmod(i.root, 0o755); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *image) copy(t *testing.T, words []string, built map[string]string) {
	t.Helper()
	target := filepath.Join(i.root, words[len(words)-1])
	source, known := built[words[len(words)-2]]
	if !known {
		t.Fatalf("COPY %v: nothing builds that", words)
	}
	var err error
	if source == "" {
		err = os.Mkdir(target, 0o755)
	} else {
		err = os.Link(source, target)
	}
	for _, word := range words {
		if chown, found := strings.CutPrefix(word, "--chown="); found && err == nil {
			uid, gid := owner(t, chown)
			err = os.Chown(target, int(uid), int(gid))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// owner parses uid:gid. Names mean nothing where there is no /etc/passwd.
func owner(t *testing.T, text string) (uid, gid uint32) {
	t.Helper()
	first, second, _ := strings.Cut(text, ":")
	u, err := strconv.ParseUint(first, 10, 32)
	g, err2 := strconv.ParseUint(second, 10, 32)
	if err != nil || err2 != nil || u == 0 || g == 0 {
		t.Fatalf("USER %s: want two numbers, not root", text)
	}
	return uint32(u), uint32(g)
}

// command is a command in the container; isolated, it is PID 1 of a container of its own.
func (i *image) command(isolated bool, args ...string) *exec.Cmd {
	c := exec.Command(i.entrypoint[0], append(i.entrypoint[1:], args...)...)
	c.Path, c.Dir, c.Env = i.entrypoint[0], "/", []string{}
	c.SysProcAttr = &syscall.SysProcAttr{
		Chroot: i.root, Credential: &syscall.Credential{Uid: i.uid, Gid: i.gid}, Pdeathsig: syscall.SIGKILL,
	}
	if isolated {
		c.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	}
	return c
}

// container is a node that runs as PID 1.
type container struct {
	*exec.Cmd
	image *image
	log   *bytes.Buffer
}

func (i *image) run(t *testing.T, args ...string) *container {
	t.Helper()
	k := &container{Cmd: i.command(true, append(slices.Clone(i.cmd), args...)...), image: i, log: new(bytes.Buffer)}
	k.Stderr = k.log
	stdout, err := k.StdoutPipe()
	if err == nil {
		err = k.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Process.Kill(); _ = k.Wait() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || !strings.Contains(line, "unix:/state/ui.sock") {
		t.Fatalf("it did not come up: %q, %v\n%s", line, err, k.log)
	}
	return k
}

// exit waits for its end.
func (k *container) exit(t *testing.T) int {
	t.Helper()
	stuck := time.AfterFunc(patience, func() { _ = k.Process.Kill() })
	defer stuck.Stop()
	_ = k.Wait()
	return k.ProcessState.ExitCode()
}

// address is where its UI is, from outside.
func (k *container) address() string {
	return "unix:" + filepath.Join(k.image.root, "state", "ui.sock")
}

// leaving waits until it is leaving.
func (k *container) leaving(t *testing.T) {
	t.Helper()
	statusWhen(t, dial(t, k.address()), func(s *ui.Status) bool { return s.Report.State != fsm.Running })
}

func (k *container) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := k.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func TestContainer(t *testing.T) {
	needNamespaces(t)
	i := layOut(t)
	t.Run("is PID 1, not root, and leaves at SIGTERM", func(t *testing.T) {
		k := i.run(t)
		status, err := os.ReadFile("/proc/" + strconv.Itoa(k.Process.Pid) + "/status")
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"NSpid:": "1", "Uid:": "65532", "CapEff:": "0000000000000000"} {
			_, rest, _ := strings.Cut(string(status), "\n"+name)
			line, _, _ := strings.Cut(rest, "\n")
			if fields := strings.Fields(line); len(fields) == 0 || fields[len(fields)-1] != want {
				t.Errorf("%s%s, want %s", name, line, want)
			}
		}
		k.signal(t, syscall.SIGTERM)
		if code := k.exit(t); code != fsm.ExitOK {
			t.Errorf("exit code %d:\n%s", code, k.log)
		}
	})
	t.Run("keeps its key, also after a kill", func(t *testing.T) {
		k := i.run(t)
		before := statusWhen(t, dial(t, k.address()), func(*ui.Status) bool { return true }).Node.Key
		k.signal(t, syscall.SIGKILL)
		k.exit(t)
		k = i.run(t)
		if after := statusWhen(t, dial(t, k.address()), func(*ui.Status) bool { return true }).Node.Key; after != before {
			t.Errorf("key %s, was %s", after, before)
		}
	})
	t.Run("names the culprit at the alarm", func(t *testing.T) {
		k := i.run(t, "--hang", "--alarm", "1s")
		k.signal(t, syscall.SIGTERM)
		if code := k.exit(t); code != fsm.ExitAlarm || !strings.Contains(k.log.String(), "1 hung: hang") {
			t.Errorf("exit code %d:\n%s", code, k.log)
		}
	})
	t.Run("a second signal forces", func(t *testing.T) {
		k := i.run(t, "--hang", "--alarm", "50s")
		k.signal(t, syscall.SIGTERM)
		k.leaving(t)
		<-time.After(200 * time.Millisecond) // one that comes at once is the same request
		k.signal(t, syscall.SIGTERM)
		if code := k.exit(t); code != 128+int(syscall.SIGTERM) {
			t.Errorf("exit code %d:\n%s", code, k.log)
		}
	})
	t.Run("a kubelet that is less patient than the alarm", func(t *testing.T) {
		k := i.run(t, "--hang", "--alarm", "50s")
		k.signal(t, syscall.SIGTERM)
		k.leaving(t)
		k.signal(t, syscall.SIGKILL)
		code, log := k.exit(t), k.log.String()
		if code != -1 || !strings.Contains(log, "Started") || strings.Contains(log, "hung") {
			t.Errorf("exit code %d:\n%s", code, log)
		}
	})
	t.Run("a command in the container asks", func(t *testing.T) {
		k := i.run(t)
		out, err := i.command(false, "shutdown", "--ui", "unix:/state/ui.sock").CombinedOutput()
		if code := k.exit(t); err != nil || code != fsm.ExitOK {
			t.Errorf("%v: %s\nexit code %d:\n%s", err, out, code, k.log)
		}
	})
}
