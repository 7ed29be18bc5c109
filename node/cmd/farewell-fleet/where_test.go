package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// accounts are those of docs/fleet.md.
const accounts = "../../../fsm/remote/testdata/accounts.conf"

func withAccounts(t testing.TB, file string) func(*server.Options) {
	return func(o *server.Options) {
		config, err := server.ProcessConfigFile(file)
		if err != nil {
			t.Fatal(err)
		}
		config.Host, config.Port, config.JetStream, config.StoreDir, config.NoLog, config.NoSigs = o.Host, o.Port, true, o.StoreDir, true, true
		*o = *config
	}
}

// A server that is not there is one clear line, soon.
func TestNoServer(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	for _, line := range []string{"ls", "status edge", "watch"} {
		for _, test := range []struct{ server, want string }{
			{"nats://127.0.0.1:1", "no NATS server is at nats://127.0.0.1:1"},
			{"127.0.0.1:1,127.0.0.1:2", "no NATS server is at nats://127.0.0.1:1, nats://127.0.0.1:2"},
			{mute.Addr().String(), mute.Addr().String()},
			{"nats.invalid", "no NATS server is at nats://nats.invalid: "},
			{"127.0.0.1:1,nats.invalid", "no NATS server is at nats://127.0.0.1:1, nats://nats.invalid"},
		} {
			code, stdout, stderr := command(t, append(strings.Fields(line), "--nats", test.server)...)
			if code != cli.ExitFailed || stdout != "" || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s, %s: exit code %d: %s%s", line, test.server, code, stdout, stderr)
			}
		}
	}
}

// What is secret is in no message.
func TestSecretsAreNotSaid(t *testing.T) {
	const secret = "hunter2"
	s := startNATS(t, func(o *server.Options) { o.Username, o.Password = "ana", "else" })
	address := strings.TrimPrefix(s.url(), "nats://")
	t.Setenv(passwordVariable, secret)
	for _, server := range []string{
		"nats://ana:" + secret + "@" + address, "nats://" + secret + "@" + address, "nats://ana:" + secret + "@127.0.0.1:1",
		"nats://" + secret + "@127.0.0.1:1", "nats://ana:" + secret + "@:1:2", "nats://ana:" + secret + "%zz@127.0.0.1:1",
		"http://ana:" + secret + "@127.0.0.1:1", "nats://ana:" + secret + "@", "ana:" + secret + "@127.0.0.1:1", "nats://ana:" + secret + "@127.0.0.1:port",
		"tls://ana:" + secret + "@" + address,
	} {
		for _, flag := range []bool{true, false} {
			args := []string{"ls"}
			if flag {
				args = append(args, "--nats", server)
			} else {
				t.Setenv("FAREWELL_NATS", server)
			}
			code, stdout, stderr := command(t, args...)
			if code == cli.ExitOK || strings.Contains(stdout+stderr, secret) || stderr == "" {
				t.Errorf("%s: exit code %d: %s%s", server, code, stdout, stderr)
			}
		}
	}
}

func TestLettingIn(t *testing.T) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	password := startNATS(t, func(o *server.Options) { o.Username, o.Password = "ana", "secret" })
	token := startNATS(t, func(o *server.Options) { o.Authorization = "secret" })
	nkey := startNATS(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })

	in := func(s *natsAt, want int, args ...string) {
		t.Helper()
		code, _, stderr := command(t, append([]string{"ls", "--nats", s.url()}, args...)...)
		if code != want || want == cli.ExitFailed && !strings.Contains(stderr, "does not let this command in") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	}
	for _, s := range []*natsAt{password, token, nkey} {
		in(s, cli.ExitFailed)
	}
	in(nkey, cli.ExitOK, "--nkey", file)
	in(password, cli.ExitOK, "--nats", strings.Replace(password.url(), "//", "//ana:secret@", 1))
	t.Run("variables", func(t *testing.T) {
		t.Setenv(userVariable, "ana")
		t.Setenv(passwordVariable, "secret")
		in(password, cli.ExitOK)
	})
	for _, several := range []string{"127.0.0.1:1,%s", "127.0.0.1:1 %s", "127.0.0.1:1, %s"} {
		t.Run("several servers", func(t *testing.T) {
			t.Setenv("FAREWELL_NATS", fmt.Sprintf(several, nkey.url()))
			if code, _, stderr := command(t, "ls", "--nkey", file); code != cli.ExitOK {
				t.Errorf("%s: exit code %d: %s", several, code, stderr)
			}
		})
	}
	t.Run("a token", func(t *testing.T) {
		t.Setenv(tokenVariable, "secret")
		in(token, cli.ExitOK)
	})
	if code, _, stderr := command(t, "ls", "--nkey", file+".no"); code != cli.ExitFailed || !strings.Contains(stderr, "no such file") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, stderr := command(t, "ls", "--nkey", accounts); code != cli.ExitFailed || !strings.Contains(stderr, "holds no seed") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, stderr := command(t, "ls", "--creds", accounts, "--nats", nkey.url()); code != cli.ExitFailed {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// certificate makes files with a certificate for 127.0.0.1, which is its own authority, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	s := startNATS(t, func(o *server.Options) {
		config, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: cert, KeyFile: key, CaFile: cert, Verify: true})
		if err != nil {
			t.Fatal(err)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
		o.TLS, o.TLSConfig, o.TLSTimeout = true, config, patience.Seconds()
	})
	at := []string{"ls", "--nats", strings.Replace(s.url(), "nats://", "tls://", 1)}
	for _, test := range []struct {
		args []string
		code int
	}{
		{nil, cli.ExitFailed},
		{[]string{"--tls-ca", cert}, cli.ExitFailed},
		{[]string{"--tls-ca", cert, "--tls-cert", cert, "--tls-key", key}, cli.ExitOK},
	} {
		if code, _, stderr := command(t, append(at, test.args...)...); code != test.code || !strings.Contains(stderr, "tls") && code != cli.ExitOK {
			t.Errorf("%v: exit code %d: %s", test.args, code, stderr)
		}
	}
}

// Who may not see the fleet is told so, at once.
func TestPermissions(t *testing.T) {
	s := startNATS(t, withAccounts(t, accounts))
	setup := s.connect(nats.UserInfo("setup", "setup"), nats.CustomInboxPrefix("_INBOX.setup"))
	if err := remote.Setup(t.Context(), setup, remote.Registry{}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"ls", "status store", "watch"} {
		t.Setenv(userVariable, "stranger")
		t.Setenv(passwordVariable, "stranger")
		args := append(strings.Fields(line), "--nats", s.url(), "--inbox-prefix")
		code, _, stderr := command(t, append(args, "_INBOX.stranger")...)
		if code != cli.ExitFailed || !strings.Contains(stderr, "does not permit this to who asks") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d: %s", line, code, stderr)
		}
	}
	t.Setenv(userVariable, "operator")
	t.Setenv(passwordVariable, "operator")
	for line, want := range map[string]int{"ls": cli.ExitOK, "status store": cli.ExitFailed, "status store/store-1": cli.ExitFailed} {
		code, stdout, stderr := command(t, append(strings.Fields(line), "--nats", s.url(), "--inbox-prefix", "_INBOX.operator")...)
		if code != want || !strings.Contains(strings.ToLower(stdout+stderr), "nobody") || strings.Contains(stderr, "permit") {
			t.Errorf("%s: exit code %d: %s%s", line, code, stdout, stderr)
		}
	}
	r := begin(t, "watch", "--nats", s.url(), "--inbox-prefix", "_INBOX.operator")
	says(t, &r.stderr, following)
	if code := r.ended(t); code != cli.ExitOK {
		t.Errorf("exit code %d: %s", code, &r.stderr)
	}
}

// Who is to look, and not to touch, has enough in the rights of the page.
func TestPermissionsToLook(t *testing.T) {
	s := startNATS(t, withAccounts(t, "internal/page/testdata/page.conf"))
	s.user = "process"
	s.join("store", "store-1")
	t.Setenv(userVariable, "page")
	t.Setenv(passwordVariable, "page")
	for line, want := range map[string]int{
		"ls": cli.ExitOK, "status store": cli.ExitOK, "status store/store-2": cli.ExitFailed, "shutdown store --dry-run": cli.ExitOK,
		"shutdown store": cli.ExitFailed,
	} {
		code, stdout, stderr := command(t, append(strings.Fields(line), "--nats", s.url(), "--inbox-prefix", "_INBOX.page")...)
		if code != want || strings.Contains(stderr, "permit") != (line == "shutdown store") {
			t.Errorf("%s: exit code %d: %s%s", line, code, stdout, stderr)
		}
	}
	r := begin(t, "watch", "--nats", s.url(), "--inbox-prefix", "_INBOX.page")
	says(t, &r.stderr, following)
	if code := r.ended(t); code != cli.ExitOK {
		t.Errorf("exit code %d: %s", code, &r.stderr)
	}
	if left := s.there("store"); len(left) != 1 {
		t.Errorf("still there are %q", left)
	}
}

// What a user of docs/fleet.md may forget is said in words that help.
func TestWhatUsersForget(t *testing.T) {
	s := startNATS(t, withAccounts(t, accounts))
	for user, want := range map[string]string{
		"outsider": "the account of who asks has no JetStream",
		"operator": "--inbox-prefix says where to",
		"nobody":   "--creds, --nkey, or FAREWELL_NATS_USER and FAREWELL_NATS_PASSWORD say who asks",
	} {
		t.Setenv(userVariable, user)
		t.Setenv(passwordVariable, user)
		for _, line := range []string{"ls", "status store", "watch", "shutdown store"} {
			code, stdout, stderr := command(t, append(strings.Fields(line), "--nats", s.url())...)
			if code != cli.ExitFailed || stdout != "" || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s: %s: exit code %d: %s%s", user, line, code, stdout, stderr)
			}
		}
	}
}

func TestNoJetStream(t *testing.T) {
	s := startNATS(t, func(o *server.Options) { o.JetStream = false })
	for _, line := range []string{"ls", "status edge", "watch"} {
		code, _, stderr := command(t, append(strings.Fields(line), "--nats", s.url())...)
		if code != cli.ExitFailed || !strings.Contains(stderr, "has no JetStream") {
			t.Errorf("%s: exit code %d: %s", line, code, stderr)
		}
	}
}

func TestInterruptedWhileConnecting(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	r := begin(t, "ls", "--nats", mute.Addr().String())
	conn, err := mute.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if code := r.ended(t); code != cli.ExitFailed || !strings.Contains(r.stderr.String(), "interrupted; the fleet goes on") {
		t.Errorf("exit code %d: %s", code, &r.stderr)
	}
}

func TestCompletion(t *testing.T) {
	s := startNATS(t)
	s.join("edge", "edge-1")
	s.join("store", "store-1")
	for line, want := range map[string]string{
		"ls ":      "edge\nstore\n:4\n",
		"status ":  "edge\nedge/edge-1\nstore\nstore/store-1\n:4\n",
		"ls edge ": ":4\n",
		"watch --tls": "--tls-ca\t`file` with the authorities that the server's certificate may be of\n" +
			"--tls-cert\t`file` with the certificate to show; needs --tls-key\n--tls-key\t`file` with its key\n:4\n",
	} {
		t.Setenv("FAREWELL_NATS", s.url())
		if _, stdout, _ := command(t, append([]string{"__complete"}, strings.Split(line, " ")...)...); stdout != want {
			t.Errorf("%q: completed as %q", line, stdout)
		}
	}
	t.Setenv("FAREWELL_NATS", "127.0.0.1:1")
	if _, stdout, stderr := command(t, "__complete", "ls", ""); stdout != ":4\n" || strings.Contains(stderr, "NATS") {
		t.Errorf("no server: %q, %s", stdout, stderr)
	}
}
