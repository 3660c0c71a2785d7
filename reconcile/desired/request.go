package desired

import (
	"slices"

	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// Lookup is what Build has to know of a host. It has the fields of
// target.Request, so a caller converts the one into the other.
type Lookup struct {
	Accounts     []string // sorted
	Certificates []kind.CertificateSpec
	Bin          string
	PAM          []byte // the text of our PAM service
}

// Request says what to look for on the host before Build.
func Request(host *schema.Host, opts Options) Lookup {
	l := Lookup{Bin: host.Paths.Bin}
	for _, c := range host.TLS.Certificates {
		l.Certificates = append(l.Certificates, spec(c, host.Paths))
	}
	if opts.Rootless {
		return l
	}
	l.Accounts = ownAccounts(host)
	for _, u := range host.Users {
		if u.System != nil {
			l.Accounts = append(l.Accounts, u.Name)
			l.PAM = render.PAMService(host.PAM.Session)
		}
	}
	slices.Sort(l.Accounts)
	l.Accounts = slices.Compact(l.Accounts)
	return l
}
