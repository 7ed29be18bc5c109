package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/docs/recipes/internal/recipetest"
)

func TestMain(m *testing.M) { recipetest.Main(m, main) }

const handovers, clients = 5, 16

// requests is how many are sent at least: RECIPE_REQUESTS, or what takes some seconds.
func requests(t *testing.T) int64 {
	n, err := strconv.ParseInt(os.Getenv("RECIPE_REQUESTS"), 10, 64)
	if err != nil {
		return 10_000
	}
	return n
}

func TestNoRequestFails(t *testing.T) {
	dir := t.TempDir()
	pidFile, logFile := filepath.Join(dir, "pid"), filepath.Join(dir, "log")
	first := recipetest.Start(t, "-web", "127.0.0.1:0", "-pid", pidFile, "-log", logFile)
	address := await(t, logFile, `web=(\S+)`)
	total := requests(t)

	var sent, failed atomic.Int64
	var handedOver atomic.Bool // as often as it should
	var answered sync.Map      // by whom
	var load sync.WaitGroup
	for i := range clients {
		load.Go(func() {
			transport := &http.Transport{DisableKeepAlives: i%2 == 0} // those begin anew each time
			defer transport.CloseIdleConnections()
			for last := false; !last; {
				last = handedOver.Load() && sent.Load() >= total
				n := sent.Add(1)
				pid, err := post(transport, address, n)
				if err != nil {
					failed.Add(1)
					t.Errorf("request %d: %v", n, err)
				}
				answered.Store(pid, true)
			}
		})
	}
	pid := first.PID()
	for i := range int64(handovers) {
		for sent.Load() < (i+1)*total/(handovers+1) && failed.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		before := pid
		pid = replace(t, before, pidFile, logFile)
		await(t, logFile, fmt.Sprintf(`exit code 0" pid=%d`, before))
	}
	handedOver.Store(true)
	load.Wait()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(t, logFile, fmt.Sprintf(`signal terminated.*exit code 0" pid=%d`, pid))
	first.ExpectExit(t, 0)

	processes := 0
	answered.Range(func(any, any) bool { processes++; return true })
	if processes != handovers+1 {
		t.Errorf("%d processes answered", processes)
	}
	t.Logf("%d of %d requests failed", failed.Load(), sent.Load())
}

// post sends what no transport repeats by itself.
func post(transport *http.Transport, address string, n int64) (pid string, err error) {
	request, err := http.NewRequest(http.MethodPost, "http://"+address, io.NopCloser(strings.NewReader(fmt.Sprint(n))))
	if err != nil {
		return "", err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	pid, echo, _ := strings.Cut(string(text), " ")
	if response.StatusCode != http.StatusOK || echo != fmt.Sprint(n) {
		return "", fmt.Errorf("%s: %s", response.Status, text)
	}
	return pid, nil
}

func await(t *testing.T, file, pattern string) string {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, _ := os.ReadFile(file) // it is there soon
		if found := expression.FindSubmatch(text); found != nil {
			return string(found[len(found)-1])
		}
	}
	text, _ := os.ReadFile(file)
	t.Fatalf("%s has no %s:\n%s", file, pattern, text)
	return ""
}

// replace asks for the next process until there is one, and returns its number.
func replace(t *testing.T, before int, pidFile, logFile string) (pid int) {
	t.Helper()
	refused := regexp.MustCompile(fmt.Sprintf(`not replaced" pid=%d`, before))
	asked := 0
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		log, _ := os.ReadFile(logFile)
		if len(refused.FindAll(log, -1)) == asked { // as often as we have asked
			if err := syscall.Kill(before, syscall.SIGUSR2); err != nil {
				t.Fatal(err)
			}
			asked++
		}
		text, _ := os.ReadFile(pidFile)
		if pid, err := strconv.Atoi(string(text)); err == nil && pid != before {
			return pid
		}
	}
	log, _ := os.ReadFile(logFile)
	t.Fatalf("no process follows:\n%s", log)
	return 0
}
