package neighborhood

import "testing"

func FuzzParseDescriptor(f *testing.F) {
	for _, text := range []string{
		"farewell://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@127.0.0.1:4000",
		"farewell://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@[::1]:1",
		"farewell://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@host.example:65535",
		"farewell://@:0", "", "http://x@y:1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDescriptor(text)
		if err != nil {
			if d != (Descriptor{}) {
				t.Errorf("%q: %v, and yet %v", text, err, d)
			}
			return
		}
		if again, err := ParseDescriptor(d.String()); err != nil || again != d || d.String() != text {
			t.Errorf("%q is read as %v, and that as %v, %v", text, d, again, err)
		}
	})
}
