// Package version says which build of which program this is.
package version

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"
)

// String returns the version of this program's module, the commit if it was built in a
// checkout ("modified" if that had changes), and what for.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	parts := []string{cmp.Or(info.Main.Version, "(devel)")}
	const shortCommit = 12
	// The version of a build from a checkout names the commit already.
	if commit := settings["vcs.revision"]; commit != "" && !strings.Contains(parts[0], commit[:min(shortCommit, len(commit))]) {
		parts = append(parts, commit[:min(shortCommit, len(commit))])
	}
	if settings["vcs.modified"] == "true" && !strings.HasSuffix(parts[0], "+dirty") {
		parts = append(parts, "modified")
	}
	return strings.Join(append(parts, info.GoVersion, runtime.GOOS+"/"+runtime.GOARCH), " ")
}
