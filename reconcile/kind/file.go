package kind

import "mailstead/reconcile"

// File is a file with its whole content. kindName says what it is for and where
// in the order of changes it stands: one of "file", "daemon-config",
// "password-file", "deploy-hook", "pam-service".
func File(kindName string, f FileSpec, origin string) reconcile.Resource {
	if f.Impact == "" {
		f.Impact = reconcile.Live
	}
	return reconcile.Resource{
		Ref:    reconcile.Ref{Kind: kindName, Name: f.Path},
		Origin: origin,
		Attrs: append(modeAttrs(f.Mode, f.Owner, f.Group),
			reconcile.Attr{Name: "content", Value: string(f.Content), Secret: f.Secret, Impact: f.Impact}),
	}
}
