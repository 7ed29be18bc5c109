package ui

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
)

//go:generate go run ./internal/refresh
//go:generate env SCREENSHOTS=../docs go test -count=1 -run TestBrowserWatches .

// page is the web page, as it is served.
//
//go:embed page
var page embed.FS

var pageFiles = func() http.Handler {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the name is that of the folder embedded
	}
	return http.FileServerFS(files)
}()

// policy lets the page load nothing but its own files, run nothing but its own
// modules and the WebAssembly in one of them, and be framed by nobody. The address
// of the WebSocket is named for browsers whose 'self' leaves it out.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; " +
	"img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; connect-src 'self' ws://%[1]s wss://%[1]s"

// servePage serves the page. Its Host has been checked, so it can stand in a header.
func servePage(w http.ResponseWriter, r *http.Request) {
	if !isRead(w, r) {
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", fmt.Sprintf(policy, r.Host))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache") // the next process at this port may serve another page
	pageFiles.ServeHTTP(w, r)
}
