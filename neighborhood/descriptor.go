package neighborhood

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/farewell-node/farewell/streams/identity"
)

// ErrBadDescriptor is wrapped by every error about the text of a descriptor.
var ErrBadDescriptor = errors.New("not a descriptor")

// Descriptor says who a node is and where it can be dialed. It is comparable.
type Descriptor struct {
	Key     identity.PublicKey
	Address string // HOST:PORT, as net.Dial takes it
}

const descriptorScheme = "farewell://"

// hostName is what RFC 1123 §2.1 lets a host be called, and the underscore that is used nevertheless.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

// ParseDescriptor reads farewell://KEY@HOST:PORT. HOST is a name or an IP address (IPv6 in brackets, without a zone),
// PORT a number from 1 to 65535. Errors wrap ErrBadDescriptor.
func ParseDescriptor(text string) (Descriptor, error) {
	rest, ok := strings.CutPrefix(text, descriptorScheme)
	keyText, address, found := strings.Cut(rest, "@")
	if !ok || !found {
		return Descriptor{}, fmt.Errorf("neighborhood: %w: %q: want %sKEY@HOST:PORT", ErrBadDescriptor, text, descriptorScheme)
	}
	key, err := identity.ParsePublicKey(keyText)
	if err == nil {
		err = checkAddress(address)
	}
	if err != nil {
		return Descriptor{}, fmt.Errorf("neighborhood: %w: %q: %w", ErrBadDescriptor, text, err)
	}
	return Descriptor{Key: key, Address: address}, nil
}

func checkAddress(address string) error {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if port, err := strconv.ParseUint(portText, 10, 16); err != nil || port == 0 || portText[0] == '0' {
		return fmt.Errorf("port %q is not a number from 1 to 65535", portText)
	}
	ip, err := netip.ParseAddr(host)
	if err == nil && ip.WithZone("").Unmap().IsUnspecified() {
		return fmt.Errorf("nobody can dial %s", ip)
	}
	if err == nil && ip.Zone() != "" {
		return fmt.Errorf("the zone of %s means nothing on another machine", ip)
	}
	if err != nil && (len(host) > 253 || !hostName.MatchString(host)) {
		return fmt.Errorf("%q is neither a host name nor an IP address", host)
	}
	return nil
}

// String returns the text that ParseDescriptor reads.
func (d Descriptor) String() string { return descriptorScheme + d.Key.String() + "@" + d.Address }

// MarshalText implements encoding.TextMarshaler; it never fails.
func (d Descriptor) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. On an error the descriptor is unchanged.
func (d *Descriptor) UnmarshalText(text []byte) error {
	parsed, err := ParseDescriptor(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}
