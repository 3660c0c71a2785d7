package kind

import "mailstead/reconcile"

// Daemon is what the running daemon serves: its configuration's generation, its
// listeners' addresses and the certificates' fingerprints. The daemon is started
// by its unit, and reloaded where it serves something else.
func Daemon(d DaemonSpec, origin string) reconcile.Resource {
	return reconcile.Resource{
		Ref:    DaemonRef(),
		Origin: origin,
		Attrs: []reconcile.Attr{
			{Name: "generation", Value: d.Generation, Impact: reconcile.Reload, Runs: true},
		},
	}
}

// DaemonRef names the running daemon.
func DaemonRef() reconcile.Ref { return reconcile.Ref{Kind: "daemon", Name: "mailstead-imapd"} }
