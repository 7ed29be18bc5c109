package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/ui/browsertest"
)

// proxy is a real nginx, before a node.
type proxy struct {
	t     *testing.T
	port  string
	roots *x509.CertPool
}

// needTool returns where a command is. Without it the test is skipped, but not in CI.
func needTool(t *testing.T, name, what string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	missing := fmt.Sprintf("no %s here: %s was NOT tested (apt-get install %[1]s)", name, what)
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// documented returns what docs/remote-ui.md says to configure.
func documented(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/remote-ui.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "```nginx\n")
	block, _, closed := strings.Cut(block, "```")
	if !found || !closed {
		t.Fatal("the document has no configuration for nginx")
	}
	return block
}

// startProxy starts nginx, as documented, before the UI at address, with a few locations
// more: proxies that take something away, and one to the socket.
func startProxy(t *testing.T, address, socket string) *proxy {
	t.Helper()
	nginx := needTool(t, "nginx", "the UI behind a proxy")
	dir := t.TempDir()
	p := &proxy{t: t, port: freePort(t), roots: x509.NewCertPool()}
	p.certify(dir)
	if err := os.WriteFile(filepath.Join(dir, "farewell.users"), []byte("op:{PLAIN}secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const upgrade = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;"
	var more strings.Builder
	for name, directives := range map[string]string{
		"no-host":     upgrade,
		"no-origin":   upgrade + ` proxy_set_header Host $host; proxy_set_header Origin "";`,
		"no-upgrade":  "proxy_set_header Host $host;",
		"no-protocol": upgrade + ` proxy_set_header Host $host; proxy_set_header Sec-WebSocket-Protocol "";`,
		"other-name":  upgrade + " proxy_set_header Host other.example;",
	} {
		fmt.Fprintf(&more, "location /%s/ { proxy_pass http://%s/; %s }\n", name, address, directives)
	}
	fmt.Fprintf(&more, "location /socket/ { proxy_pass http://unix:%s:/; %s proxy_set_header Host localhost:8080; }\n", socket, upgrade)
	site := strings.NewReplacer(
		"listen 443 ssl", "listen 127.0.0.1:"+p.port+" ssl", "127.0.0.1:5333", address, "/etc/nginx", dir,
		"    location /farewell/", more.String()+"    location /farewell/",
	).Replace(documented(t))
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // the socket is ours alone
	}
	config := fmt.Sprintf(`%[1]s daemon off; master_process off; pid %[2]s/pid; error_log %[2]s/error.log;
		events {} http { access_log off; client_body_temp_path %[2]s/1; proxy_temp_path %[2]s/2; fastcgi_temp_path %[2]s/3;
		uwsgi_temp_path %[2]s/4; scgi_temp_path %[2]s/5; %[3]s }`, user, dir, site)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	c := exec.Command(nginx, "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", file)
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		if log, _ := os.ReadFile(filepath.Join(dir, "error.log")); t.Failed() {
			t.Logf("nginx: %s\n%s", said.String(), log)
		}
	})
	for deadline := time.Now().Add(patience); ; <-time.After(pollPause) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+p.port)
		if err == nil {
			_ = conn.Close()
			return p
		}
		if time.Now().After(deadline) {
			t.Fatal(err, said.String())
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// certify makes the proxy's certificate.
func (p *proxy) certify(dir string) {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ui.example"}, DNSNames: []string{"ui.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		p.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ui.example.crt": {Type: "CERTIFICATE", Bytes: certificate}, "ui.example.key": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		p.t.Fatal(err)
	}
	p.roots.AddCert(parsed)
}

// header is what a browser sends at the proxy's name.
func (p *proxy) header() http.Header {
	return http.Header{"Origin": {"https://ui.example:" + p.port}, "Authorization": {"Basic b3A6c2VjcmV0"}} // op:secret
}

// dial finds the proxy, whatever its name.
func (p *proxy) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, "127.0.0.1:"+p.port)
}

// open opens a WebSocket, as a browser does. The status is that of the handshake.
func (p *proxy) open(location string, header http.Header) (ws *websocket.Conn, status int) {
	p.t.Helper()
	dialer := websocket.Dialer{
		Subprotocols: []string{"MASQNode-UIv2"}, TLSClientConfig: &tls.Config{RootCAs: p.roots},
		NetDialContext: p.dial,
	}
	ws, response, err := dialer.DialContext(p.t.Context(), "wss://ui.example:"+p.port+location, header)
	if err != nil && !errors.Is(err, websocket.ErrBadHandshake) {
		p.t.Fatal(err)
	}
	if ws != nil {
		_ = ws.SetReadDeadline(time.Now().Add(patience))
		p.t.Cleanup(func() { _ = ws.Close() })
	}
	return ws, response.StatusCode
}

func (p *proxy) get(path string) (status int, body string) {
	p.t.Helper()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.roots}, DisableKeepAlives: true,
		DialContext: p.dial,
	}
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "https://ui.example:"+p.port+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header = p.header()
	response, err := transport.RoundTrip(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func say(t *testing.T, ws *websocket.Conn, text string) (answer string) {
	t.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_, data, err := ws.ReadMessage()
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// The UI behind a real proxy, configured as the document says, and behind proxies that
// take something away.
func TestProxy(t *testing.T) {
	tokenFile := filepath.Join(t.TempDir(), "token")
	n := nodeProcess(t, "--ui-token-file", tokenFile, "--ui-host", "ui.example")
	socket := nodeProcess(t, "--ui", "unix:"+shortPath(t))
	p := startProxy(t, n.UI, strings.TrimPrefix(socket.UI, "unix:"))
	secret, err := os.ReadFile(tokenFile)
	if err != nil {
		t.Fatal(err)
	}
	token := fmt.Sprintf(`{"opcode":"token","contextId":1,"payload":{"token":"%s"}}`, bytes.TrimSpace(secret))

	without := p.header()
	without.Del("Authorization")
	if _, status := p.open("/farewell/ws", without); status != http.StatusUnauthorized {
		t.Errorf("who does not authenticate gets %d", status)
	}
	evil := p.header()
	evil.Set("Origin", "https://evil.example")
	for _, test := range []struct {
		location string
		header   http.Header
		want     int
	}{
		{"/farewell/ws", p.header(), 101},
		{"/farewell/ws", evil, 403},
		{"/no-host/ws", p.header(), 101},
		{"/no-host/ws", evil, 403},
		{"/no-origin/ws", p.header(), 101},
		{"/no-upgrade/ws", p.header(), 404}, // that of a file of the page, which there is not
		{"/no-protocol/ws", p.header(), 400},
		{"/other-name/ws", p.header(), 403},
	} {
		ws, status := p.open(test.location, test.header)
		if status != test.want {
			t.Errorf("%s from %s: %d, want %d", test.location, test.header["Origin"], status, test.want)
		}
		if ws == nil || status != 101 {
			continue
		}
		if answer := say(t, ws, token); !strings.Contains(answer, `"payload":{}`) {
			t.Errorf("%s: the token is answered with %s", test.location, answer)
		}
		if answer := say(t, ws, `{"opcode":"status","contextId":2,"payload":{}}`); !strings.Contains(answer, `"Running"`) {
			t.Errorf("%s: %s", test.location, answer)
		}
	}
	if ws, _ := p.open("/farewell/ws", p.header()); !strings.Contains(say(t, ws, `{"opcode":"shutdown","contextId":1,"payload":{}}`), "must be shown its token") {
		t.Error("a request without the token is not refused")
	}
	for path, want := range map[string]int{
		"/farewell/": 200, "/farewell/main.js": 200, "/farewell/readyz": 200, "/other-name/readyz": 200, "/other-name/": 403,
		"/farewell/metrics": 401, "/no-upgrade/": 200,
	} {
		if status, body := p.get(path); status != want {
			t.Errorf("%s: %d, want %d: %.200s", path, status, want, body)
		}
	}
	if _, body := p.get("/other-name/"); !strings.Contains(body, `"other.example"`) || !strings.Contains(body, "--ui-host") {
		t.Errorf("a proxy whose name is not allowed is told %q", body)
	}

	t.Run("a Unix socket", func(t *testing.T) {
		header := p.header()
		header.Set("Origin", "http://localhost:8080") // as ssh forwards it
		ws, status := p.open("/socket/ws", header)
		if status != 101 || !strings.Contains(say(t, ws, `{"opcode":"status","contextId":2,"payload":{}}`), `"Running"`) {
			t.Errorf("status %d", status)
		}
	})

	t.Run("the page", func(t *testing.T) { pageBehindProxy(t, p, "/farewell/#"+string(bytes.TrimSpace(secret))) })
	if code := n.awaitExit(t); code != cli.ExitOK {
		t.Errorf("the node that was shut down through a proxy exits with %d", code)
	}
	if status, _ := p.get("/farewell/readyz"); status != http.StatusBadGateway {
		t.Errorf("the proxy says %d of a node that is gone", status)
	}
}

// pageBehindProxy opens the page in a browser and shuts the node down; without one it
// asks for that itself.
func pageBehindProxy(t *testing.T, p *proxy, path string) {
	if _, err := exec.LookPath("chromium"); err != nil && os.Getenv("CI") != "true" {
		ws, _ := p.open("/farewell/ws", p.header())
		_, token, _ := strings.Cut(path, "#")
		say(t, ws, fmt.Sprintf(`{"opcode":"token","contextId":1,"payload":{"token":%q}}`, token))
		if answer := say(t, ws, `{"opcode":"shutdown","contextId":2,"payload":{}}`); !strings.Contains(answer, `"exitCode":0`) {
			t.Error(answer)
		}
	}
	needTool(t, "chromium", "the page behind a proxy")
	b := browsertest.Open(t, chromedp.Flag("host-resolver-rules", "MAP ui.example 127.0.0.1"), chromedp.Flag("ignore-certificate-errors", true))
	b.Do(chromedp.Navigate("https://op:secret@ui.example:" + p.port + "/no-upgrade/"))
	b.Until(`document.querySelector("#notice").textContent.includes("no WebSocket")`)
	b.Do(chromedp.Navigate("https://op:secret@ui.example:" + p.port + path))
	b.Until(`document.querySelector("#state").textContent === "Running"`)
	b.Do(chromedp.Click(chromedp.CSS("#ask")), chromedp.SendKeys(chromedp.CSS("#reason"), "from afar"), chromedp.KeyEvent("\r"))
	b.Until(`document.querySelector("#summary").textContent.includes("from afar")`)
	b.Until(`document.querySelector("#notice").textContent.includes("Exit code 0")`)
}
