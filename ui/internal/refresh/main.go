// Refresh renews what the web page is shipped with and that is made elsewhere: the
// state diagram, drawn from the machine's table by Graphviz, and the library that
// draws the neighborhood, which npm fetches. It is run by go generate ./ui.
package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/farewell-node/farewell/fsm"
)

// The library, pinned. The digest is the integrity that npm view shows; with a new
// version the texts in page/viz/LICENSE change too.
const (
	vizPackage = "@viz-js/viz@3.31.0"
	vizDigest  = "r7zlQdRvcwvIpjHGgs+KNWHeE/P5/Dq7k8ZAKaMCbZqomxCBJV78gVuQYaHzFVca+kB0mX0fMW9UFevCOBG50A=="
	vizFile    = "package/dist/viz.js"
)

func main() {
	log.SetFlags(0)
	if err := errors.Join(drawDiagram("page/shutdown.svg"), fetchViz("page/viz/viz.js")); err != nil {
		log.Fatal(err)
	}
}

// drawDiagram draws the diagram from top to bottom, so that it fits a phone.
func drawDiagram(path string) error {
	dot := exec.Command("dot", "-Tsvg", "-Nfontname=Helvetica", "-Efontname=Helvetica", "-Efontsize=11", "-o", path)
	dot.Stdin = strings.NewReader(strings.Replace(fsm.Transitions().DOT(), "rankdir=LR", "rankdir=TB", 1))
	dot.Stderr = os.Stderr
	return dot.Run()
}

func fetchViz(path string) error {
	folder, err := os.MkdirTemp("", "viz")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	npm := exec.Command("npm", "pack", "--silent", "--pack-destination", folder, vizPackage)
	npm.Stderr = os.Stderr
	if err := npm.Run(); err != nil {
		return fmt.Errorf("npm pack: %w", err)
	}
	packed, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	if err != nil || len(packed) != 1 {
		return fmt.Errorf("npm pack made %v", packed)
	}
	data, err := os.ReadFile(packed[0])
	if err != nil {
		return err
	}
	if sum := sha512.Sum512(data); base64.StdEncoding.EncodeToString(sum[:]) != vizDigest {
		return fmt.Errorf("%s is not what was pinned", vizPackage)
	}
	library, err := unpack(strings.NewReader(string(data)), vizFile)
	if err != nil {
		return err
	}
	return os.WriteFile(path, library, 0o644)
}

func unpack(packed io.Reader, name string) ([]byte, error) {
	plain, err := gzip.NewReader(packed)
	if err != nil {
		return nil, err
	}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if header.Name == name {
			return io.ReadAll(archive)
		}
	}
}
