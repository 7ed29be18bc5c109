package identity_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/farewell-node/farewell/streams/identity"
)

func TestKeyFileRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	first, err := identity.LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	second, err := identity.LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	if first.PublicKey() != second.PublicKey() {
		t.Errorf("loaded %v, created %v", second, first)
	}
	if !first.PublicKey().Verify([]byte("x"), second.Sign([]byte("x"))) {
		t.Error("signature of the loaded key does not verify")
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("%d files left, want the key alone", len(entries))
	}
}

func TestKeyFileRefused(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good")
	if _, err := identity.LoadOrCreate(good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		text []byte
		mode os.FileMode
		want error
	}{
		{"writable by group", text, 0o660, identity.ErrTooOpen},
		{"readable by others", text, 0o604, identity.ErrTooOpen},
		{"writable by others", text, 0o602, identity.ErrTooOpen},
		{"empty", nil, 0o600, identity.ErrKeyFileDamaged},
		{"not PEM", []byte("hello"), 0o600, identity.ErrKeyFileDamaged},
		{"cut", text[:len(text)/2], 0o600, identity.ErrKeyFileDamaged},
		{"two keys", append(bytes.Clone(text), text...), 0o600, identity.ErrKeyFileDamaged},
		{"huge", bytes.Repeat(text, 100), 0o600, identity.ErrKeyFileDamaged},
		{"another algorithm", pemText(der), 0o600, identity.ErrKeyFileDamaged},
		{"damaged within", pemText([]byte{1, 2}), 0o600, identity.ErrKeyFileDamaged},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, c.text, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := identity.LoadOrCreate(path); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(after, c.text) {
				t.Error("the file was changed")
			}
		})
	}
	if _, err := identity.LoadOrCreate(t.TempDir()); !errors.Is(err, identity.ErrKeyFileDamaged) {
		t.Errorf("directory: got %v", err)
	}
	if _, err := identity.LoadOrCreate(filepath.Join(t.TempDir(), "no", "key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing directory: got %v", err)
	}
}

func pemText(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestRacingProcessesGetOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	outputs := make([]string, 8)
	var wait sync.WaitGroup
	for i := range outputs {
		wait.Go(func() {
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), childKeyFile+"="+path)
			output, err := child.CombinedOutput()
			if err != nil {
				t.Errorf("child: %v: %s", err, output)
			}
			outputs[i] = string(output)
		})
	}
	wait.Wait()
	id, err := identity.LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, output := range outputs {
		if output != id.PublicKey().String() {
			t.Errorf("a process got %q, the file holds %v", output, id)
		}
	}
}

func TestFromSeedIsDeterministic(t *testing.T) {
	a, b, c := identity.FromSeed([32]byte{1}), identity.FromSeed([32]byte{1}), identity.FromSeed([32]byte{2})
	if a.PublicKey() != b.PublicKey() || a.PublicKey() == c.PublicKey() {
		t.Error("the seed does not decide the key")
	}
	one, other := a.PublicKey(), c.PublicKey()
	if one.Compare(b.PublicKey()) != 0 || one.Compare(other) != -other.Compare(one) {
		t.Error("Compare is not an order")
	}
}

func TestFormatShowsNoSecret(t *testing.T) {
	id := identity.FromSeed([32]byte{1})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, id); got != id.PublicKey().String() {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

func TestKeyTextIsCanonical(t *testing.T) {
	key := identity.FromSeed([32]byte{1}).PublicKey()
	text := key.String()
	if got, err := identity.ParsePublicKey(text); err != nil || got != key {
		t.Errorf("round trip: %v, %v", got, err)
	}
	if marshaled, err := key.MarshalText(); err != nil || string(marshaled) != text {
		t.Errorf("marshaled %q, %v", marshaled, err)
	}
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", text[42])
	for name, bad := range map[string]string{
		"empty": "", "short": text[:42], "long": text + "A", "padded": text + "=", "space": " " + text[1:],
		"line break": text[:42] + "\n", "line breaks inside": text[:20] + "\r\n" + text[22:],
		"trailing bits": text[:42] + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last|1:last|1+1],
		"standard":      base64.RawStdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 32)),
	} {
		if _, err := identity.ParsePublicKey(bad); !errors.Is(err, identity.ErrBadKey) {
			t.Errorf("%s: %q: got %v", name, bad, err)
		}
	}
}

func FuzzParsePublicKey(f *testing.F) {
	f.Add(identity.FromSeed([32]byte{1}).PublicKey().String())
	f.Add("")
	f.Add(strings.Repeat("A", 43))
	f.Add(strings.Repeat("A", 42) + "B")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := identity.ParsePublicKey(text)
		if err == nil && key.String() != text {
			t.Errorf("%q is accepted, but its key's text is %q", text, key)
		}
		if err != nil && key != (identity.PublicKey{}) {
			t.Errorf("%q is refused, but gives a key", text)
		}
	})
}

// handshake runs both sides over a real connection and returns each side's state and error.
func handshake(t *testing.T, server, client *tls.Config) (states [2]tls.ConnectionState, errs [2]error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	var wait sync.WaitGroup
	wait.Go(func() {
		raw, err := listener.Accept()
		if err != nil {
			errs[0] = err
			return
		}
		conn := tls.Server(raw, server)
		errs[0] = conn.HandshakeContext(t.Context())
		states[0] = conn.ConnectionState()
		_ = conn.Close()
	})
	raw, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, client)
	errs[1] = conn.HandshakeContext(t.Context())
	states[1] = conn.ConnectionState()
	_, _ = conn.Read(make([]byte, 1)) // the server's verdict
	_ = conn.Close()
	wait.Wait()
	return states, errs
}

func TestHandshakePinsBothKeys(t *testing.T) {
	server, client := identity.FromSeed([32]byte{1}), identity.FromSeed([32]byte{2})
	states, errs := handshake(t, server.ServerTLS(), client.ClientTLS(server.PublicKey()))
	if errs != [2]error{} {
		t.Fatal(errs)
	}
	for i, want := range []identity.PublicKey{client.PublicKey(), server.PublicKey()} {
		if got, err := identity.PeerKey(states[i]); err != nil || got != want {
			t.Errorf("side %d: peer is %v, %v; want %v", i, got, err, want)
		}
		if states[i].DidResume || states[i].Version != tls.VersionTLS13 {
			t.Errorf("side %d: resumed %v, version %x", i, states[i].DidResume, states[i].Version)
		}
	}
}

func TestHandshakeRefuses(t *testing.T) {
	server, client := identity.FromSeed([32]byte{1}), identity.FromSeed([32]byte{2})
	t.Run("unexpected server", func(t *testing.T) {
		_, errs := handshake(t, server.ServerTLS(), client.ClientTLS(client.PublicKey()))
		if !errors.Is(errs[1], identity.ErrWrongKey) {
			t.Errorf("client: %v", errs[1])
		}
	})
	t.Run("client without certificate", func(t *testing.T) {
		config := client.ClientTLS(server.PublicKey())
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{}, nil
		}
		if _, errs := handshake(t, server.ServerTLS(), config); errs[0] == nil {
			t.Error("let in")
		}
	})
	t.Run("another protocol", func(t *testing.T) {
		config := client.ClientTLS(server.PublicKey())
		config.NextProtos, config.VerifyConnection = nil, nil
		if _, errs := handshake(t, server.ServerTLS(), config); !errors.Is(errs[0], identity.ErrBadKey) {
			t.Errorf("server: %v", errs[0])
		}
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		config := client.ClientTLS(server.PublicKey())
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		if _, errs := handshake(t, server.ServerTLS(), config); errs[0] == nil {
			t.Error("let in")
		}
	})
	t.Run("another kind of key", func(t *testing.T) {
		config := client.ClientTLS(server.PublicKey())
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return ecdsaCertificate(t), nil
		}
		if _, errs := handshake(t, server.ServerTLS(), config); !errors.Is(errs[0], identity.ErrBadKey) {
			t.Errorf("server: %v", errs[0])
		}
	})
}

func ecdsaCertificate(t *testing.T) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
