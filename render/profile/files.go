package profile

import (
	"bytes"
	"maps"
	"slices"

	"mailstead/schema"
)

// File is a file of a domain for a web server that knows nothing of Mailstead, or
// for a zone.
type File struct {
	Domain  string
	Name    string
	Content []byte
}

// The names of the files.
const (
	AutoconfigFile   = "config-v1.1.xml"
	AutodiscoverFile = "autodiscover.xml"
	PageFile         = "settings.html"
	ZoneFile         = "srv.zone"
)

const keptNote = `# Kept by mailstead: "mailstead apply" writes this file again, and what is changed here is lost.`

// Files gives the files of every domain. Where one file cannot say the login of
// everybody, the one is not made: see ForDomain and Autodiscover.
func Files(host *schema.Host) ([]File, error) {
	var files []File
	logins := Logins(host)
	for _, domain := range slices.Sorted(maps.Keys(logins)) {
		s, err := ForLogins(host, domain, logins)
		if err != nil {
			return nil, err
		}
		for _, f := range []struct {
			name  string
			said  bool
			make  func() ([]byte, error)
			quote [2]string // around a comment
		}{
			{AutoconfigFile, s.login != Mixed, s.Autoconfig, [2]string{"<!-- ", " -->"}},
			{AutodiscoverFile, s.login == ByName, s.Autodiscover, [2]string{"<!-- ", " -->"}},
			{PageFile, true, s.Page, [2]string{"<!-- ", " -->"}},
			{ZoneFile, true, func() ([]byte, error) { return s.Zone(), nil }, [2]string{"; ", ""}},
		} {
			if !f.said {
				continue
			}
			content, err := f.make()
			if err != nil {
				return nil, err
			}
			// The first line says what sort of file it is.
			first, rest, _ := bytes.Cut(content, []byte("\n"))
			note := f.quote[0] + keptNote + f.quote[1]
			files = append(files, File{domain, f.name, bytes.Join([][]byte{first, []byte(note), rest}, []byte("\n"))})
		}
	}
	return files, nil
}
