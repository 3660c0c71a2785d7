package kind

import "mailstead/reconcile"

// TextOf gives the file of a resource that is one with a text: where it is and
// what it is to hold. path is "" for any other resource.
func TextOf(r reconcile.Resource) (path, text string) {
	switch r.Ref.Kind {
	case "unit":
		return r.Get("path"), unitFile(&r)
	case "file", "daemon-config", "password-file", "deploy-hook", "pam-service":
		return r.Ref.Name, r.Get("content")
	}
	return "", ""
}

// ContentOf gives what the attribute "content" is of a file with that text.
func ContentOf(r reconcile.Resource, text string) string {
	if r.Ref.Kind == "unit" {
		text, _ = splitUnitFile(text)
	}
	return text
}
