package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionOf(t *testing.T) {
	setting := func(pairs ...string) (settings []debug.BuildSetting) {
		for i := 0; i < len(pairs); i += 2 {
			settings = append(settings, debug.BuildSetting{Key: pairs[i], Value: pairs[i+1]})
		}
		return settings
	}
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for _, test := range []struct {
		version  string
		settings []debug.BuildSetting
		want     string
	}{
		{"v1.2.3", nil, "v1.2.3 go1.26.0 "},
		{"", nil, "(devel) go1.26.0 "},
		{"(devel)", setting("vcs.revision", commit, "vcs.modified", "true"), "(devel) 0123456789ab modified go1.26.0 "},
		{"(devel)", setting("vcs.revision", "0123", "vcs.modified", "false"), "(devel) 0123 go1.26.0 "},
		{"v0.0.0-20261125090000-0123456789ab+dirty", setting("vcs.revision", commit, "vcs.modified", "true"), "v0.0.0-20261125090000-0123456789ab+dirty go1.26.0 "},
	} {
		got := versionOf(&debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: test.version}, Settings: test.settings})
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
