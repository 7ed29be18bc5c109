package wire

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"testing"

	"github.com/farewell-node/farewell/streams/identity"
)

func id(n byte) *identity.Identity { return identity.FromSeed([32]byte{n}) }

func keys(n int) []identity.PublicKey {
	list := make([]identity.PublicKey, n)
	for i := range list {
		list[i] = identity.PublicKey{byte(i + 1)}
	}
	return list
}

func sample() Message {
	at := netip.MustParseAddrPort("192.0.2.1:4000")
	return Message{Kind: Introduction, Entries: []Entry{
		{Record: SignRecord(id(1), 7, AcceptsConnections, keys(5)), Address: SignAddress(id(1), 3, at)},
		{Record: SignRecord(id(2), MaxVersion, 0, nil)},
	}}
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	frame := sample().Encode()
	m, err := Decode(frame)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Encode(), frame) {
		t.Error("the bytes of a record or an address were not kept")
	}
	if r := m.Entries[0].Record; r.Key != id(1).PublicKey() || r.Version != 7 || len(r.Neighbors) != 5 || !r.Verify() {
		t.Errorf("record %+v", r)
	}
	if a := m.Entries[0].Address; a.At.String() != "192.0.2.1:4000" || a.Version != 3 || !a.Verify() {
		t.Errorf("address %+v", a)
	}
}

func TestTheLargestMessageFits(t *testing.T) {
	entries := make([]Entry, MaxEntries)
	for i := range entries {
		entries[i] = Entry{Record: SignRecord(id(1), MaxVersion, math.MaxUint64, keys(MaxDegree))}
	}
	frame := Message{Kind: Standard, Entries: entries}.Encode()
	if _, err := Decode(frame); err != nil {
		t.Errorf("%d bytes: %v", len(frame), err)
	}
}

func TestSignaturesAreOfOneDomainOnly(t *testing.T) {
	r := SignRecord(id(1), 7, 0, nil)
	bare := *r
	bare.signature = id(1).Sign(r.payload)
	asAddress := *r
	asAddress.signature = id(1).Sign(signed(addressDomain, r.payload))
	if bare.Verify() || asAddress.Verify() || !r.Verify() {
		t.Error("a signature over something else is taken for a record's")
	}
}

func TestBadRecords(t *testing.T) {
	key := id(1).PublicKey()
	others := make([][]byte, MaxDegree+1)
	for i, k := range keys(MaxDegree + 1) {
		others[i] = k[:]
	}
	for name, test := range map[string]struct {
		payload []byte
		want    error
	}{
		"nothing":             {nil, ErrMalformed},
		"text":                {[]byte("record"), ErrMalformed},
		"something after it":  {append(encode(recordPayload{Key: key[:], Neighbors: others[:1]}), 0), ErrMalformed},
		"short key":           {encode(recordPayload{Key: key[:31]}), ErrMalformed},
		"long key":            {encode(recordPayload{Key: append(key[:], 0)}), ErrMalformed},
		"six neighbors":       {encode(recordPayload{Key: key[:], Neighbors: others}), ErrDegree},
		"one neighbor twice":  {encode(recordPayload{Key: key[:], Neighbors: [][]byte{others[0], others[0]}}), ErrMalformed},
		"out of order":        {encode(recordPayload{Key: key[:], Neighbors: [][]byte{others[1], others[0]}}), ErrMalformed},
		"itself":              {encode(recordPayload{Key: key[:], Neighbors: [][]byte{key[:]}}), ErrMalformed},
		"last version":        {encode(recordPayload{Key: key[:], Version: math.MaxUint64}), ErrVersion},
		"not deterministic":   {append([]byte{0x9f}, append(encode(recordPayload{Key: key[:]})[1:], 0xff)...), ErrMalformed},
		"null for a list":     {encode(recordPayload{Key: key[:]}), ErrMalformed},
		"number, longer form": {longVersion(key), ErrMalformed},
	} {
		if _, err := parseRecord(test.payload, nil); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// longVersion encodes version 1 in nine bytes where one would do.
func longVersion(key identity.PublicKey) []byte {
	short := encode(recordPayload{Key: key[:], Version: 1, Neighbors: [][]byte{}})
	at := len(short) - 3 // version, flags, list
	return append(append(bytes.Clone(short[:at]), 0x1b, 0, 0, 0, 0, 0, 0, 0, 1), short[at+1:]...)
}

func TestBadAddresses(t *testing.T) {
	key := id(1).PublicKey()
	for name, payload := range map[string][]byte{
		"nothing":        nil,
		"a name":         encode(addressPayload{Key: key[:], At: "example.org:80"}),
		"no port":        encode(addressPayload{Key: key[:], At: "192.0.2.1"}),
		"a zone":         encode(addressPayload{Key: key[:], At: "[fe80::1%eth0]:80"}),
		"another form":   encode(addressPayload{Key: key[:], At: "[2001:DB8::1]:80"}),
		"short key":      encode(addressPayload{Key: key[:3], At: "192.0.2.1:80"}),
		"something more": append(encode(addressPayload{Key: key[:], At: "192.0.2.1:80"}), 1),
	} {
		if _, err := parseAddress(payload, nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadMessages(t *testing.T) {
	many := make([]entryForm, MaxEntries+1)
	for name, test := range map[string]struct {
		frame []byte
		want  error
	}{
		"nothing":      {nil, ErrUndecodable},
		"text":         {[]byte("hello"), ErrUndecodable},
		"no kind":      {encode(messageForm{Kind: 0}), ErrUndecodable},
		"unknown kind": {encode(messageForm{Kind: 5}), ErrUndecodable},
		"cut short":    {sample().Encode()[:50], ErrUndecodable},
		"more behind":  {append(sample().Encode(), 0), ErrUndecodable},
		"too many":     {encode(messageForm{Kind: 4, Entries: many}), ErrTooMany},
		"too big":      {make([]byte, MaxMessage+1), ErrTooBig},
	} {
		if _, err := Decode(test.frame); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestABadEntryCostsOnlyItself(t *testing.T) {
	m := sample()
	form := messageForm{Kind: uint8(Standard), Entries: []entryForm{
		{Record: []byte{1}, Signature: []byte{2}},
		{Record: m.Entries[1].Record.payload, Signature: m.Entries[1].Record.signature},
		{
			Record: m.Entries[1].Record.payload, Signature: m.Entries[1].Record.signature,
			Address: m.Entries[0].Address.payload, AddressSignature: m.Entries[0].Address.signature,
		},
	}}
	got, err := Decode(encode(form))
	if err != nil {
		t.Fatal(err)
	}
	if e := got.Entries[0]; e.Record != nil || !errors.Is(e.Err, ErrMalformed) {
		t.Errorf("bad record: %+v", e)
	}
	if e := got.Entries[1]; e.Record == nil || e.Err != nil {
		t.Errorf("good record: %+v", e)
	}
	if e := got.Entries[2]; e.Record == nil || e.Address != nil || !errors.Is(e.Err, ErrMalformed) {
		t.Errorf("a stranger's address: %+v", e)
	}
}

func TestCompare(t *testing.T) {
	low, high := SignRecord(id(1), 1, 0, keys(1)), SignRecord(id(1), 2, 0, nil)
	if high.Compare(low) <= 0 || low.Compare(high) >= 0 {
		t.Error("the higher version does not win")
	}
	one, two := SignRecord(id(1), 2, 0, keys(1)), SignRecord(id(1), 2, 0, keys(2))
	if one.Compare(two)*two.Compare(one) >= 0 {
		t.Error("two stories under one version are not ordered")
	}
	again := *one
	again.signature = []byte("another one")
	if one.Compare(&again) != 0 {
		t.Error("a second signature is taken for a second story")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample().Encode())
	f.Add([]byte{0x82, 0x04, 0x80})
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Decode(frame)
		if err != nil {
			return
		}
		for _, e := range m.Entries {
			if e.Record == nil {
				return
			}
			if len(e.Record.Neighbors) > MaxDegree || e.Record.Version > MaxVersion {
				t.Errorf("accepted %+v", e.Record)
			}
		}
		again, err := Decode(m.Encode())
		if err != nil || len(again.Entries) != len(m.Entries) {
			t.Errorf("cannot be read again: %v", err)
		}
	})
}
