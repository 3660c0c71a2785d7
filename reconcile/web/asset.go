package web

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
)

// asset is a file that pages refer to. Its path has a digest of it: a browser that has
// one need not ask again, and has the next one at once.
type asset struct {
	path, media string
	data        []byte
}

var assets = map[string]asset{
	"style": newAsset("style", ".css", "text/css; charset=utf-8", styleSheet),
	"htmx":  newAsset("htmx", ".js", "text/javascript; charset=utf-8", htmx),
}

func newAsset(name, ext, media string, data []byte) asset {
	sum := sha256.Sum256(data)
	return asset{"/" + name + "-" + hex.EncodeToString(sum[:8]) + ext, media, data}
}

func (a asset) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", a.media)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(a.data)
}
