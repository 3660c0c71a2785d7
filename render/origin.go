package render

import (
	"encoding/json"
	"path"
	"strings"

	"mailstead/imapserver/config"
	"mailstead/render/profile"
)

// Fields are the fields of the description that decide a line of a rendered
// file, as paths in the host: "listeners/imap/port". A line without any is of
// this package's own, and is there because the file is.
type Fields []string

// unitOrigins says which fields decide the lines of a unit, by the unit's name
// and the setting; the first row that fits counts. NAME stands for the listener whose
// unit it is.
var unitOrigins = []struct{ unit, keys, fields string }{
	{ServiceUnit, "RequiresMountsFor", "paths/state mail/root users directories"},
	{ServiceUnit, "ReadWritePaths", "paths/run paths/state users directories"},
	{ServiceUnit, "ExecStart ExecReload", "paths/bin paths/state"},
	{ServiceUnit, "Sockets", "listeners"},
	{ServiceUnit, "User", "mail/user users directories"},
	{ServiceUnit, "SupplementaryGroups", "directories"},
	{ServiceUnit, "RuntimeDirectory RuntimeDirectoryMode", "paths/run"},
	{ServiceUnit, "ProtectHome InaccessiblePaths", "mail/root paths/state paths/run paths/bin users directories"},
	{ServiceUnit, "CapabilityBoundingSet PrivateUsers RemoveIPC SystemCallFilter", "users directories"},
	{ServiceUnit, "PrivateNetwork RestrictAddressFamilies IPAddressDeny IPAddressAllow", "directories listeners"},
	{SpawnUnit, "ExecStart", "paths/bin users directories"},
	{SpawnUnit, "RequiresMountsFor ReadWritePaths", "mail/root users directories"},
	{SpawnUnit, "User", "mail/user users directories"},
	{SpawnUnit, "ProtectHome InaccessiblePaths", "mail/root paths/bin users directories"},
	{SpawnUnit, "CapabilityBoundingSet PrivateUsers RemoveIPC SystemCallFilter", "users directories"},
	{"mailstead-login@*.service", "ExecStart", "paths/bin paths/run listeners/NAME"},
	{PAMUnit, "PrivateNetwork RestrictAddressFamilies IPAddressDeny IPAddressAllow", "pam/network pam/servers"},
	{PAMSocketUnit, "ListenStream", "paths/run"},
	{ApplyUnit, "After WantsMountsFor", "mail/root users directories"},
	{CheckUnit, "ExecStart", "paths/bin paths/state"},
	{ImportUnit, "ExecStart", "paths/bin paths/run"},
	{ImportUnit, "RequiresMountsFor ReadWritePaths ProtectHome InaccessiblePaths", "mail/root users paths/state paths/run paths/bin"},
	{ConnectSocketUnit, "Description", ""}, // no listener's
	{OutboxSends, "ExecStart", "paths/bin outbox/command"},
	{OutboxUnit, "ListenStream", "paths/run"},
	{OutboxUnit, "Description", ""}, // no listener's
	{MetricsUnit, "ExecStart", "paths/bin paths/run"},
	{MetricsUnit, "ProtectHome InaccessiblePaths", "paths/bin paths/run"},
	{MetricsSocketUnit, "ListenStream", "metrics/port metrics/address metrics/socket"},
	{MetricsSocketUnit, "BindIPv6Only FreeBind", "metrics/address metrics/socket"},
	{MetricsSocketUnit, "SocketMode RemoveOnStop", "metrics/socket"},
	{MetricsSocketUnit, "Description FileDescriptorName", ""},
	{WebUnit, "ExecStart", "paths/bin paths/state"},
	{WebUnit, "ProtectHome InaccessiblePaths", "paths/bin paths/state paths/run"},
	{WebSocketUnit, "ListenStream", "web/port web/address"},
	{WebSocketUnit, "BindIPv6Only FreeBind", "web/address"},
	{WebSocketUnit, "Description FileDescriptorName", ""},
	{WebAdminUnit, "ListenStream", "paths/run"},
	{WebAdminUnit, "Description", ""},
	{WebAdminDoes, "ExecStart", "paths/bin paths/state"},
	{LMTPSocketUnit, "ListenStream", "deliver/lmtp/socket"},
	{LMTPSocketUnit, "SocketGroup SocketMode", "deliver/group"},
	{LMTPSocketUnit, "Description", ""}, // no listener's
	{LMTPUnit, "ExecStart", "paths/bin paths/state users directories"},
	{LMTPUnit, "RequiresMountsFor", "paths/state mail/root users directories"},
	{LMTPUnit, "ReadWritePaths", "mail/root users directories"},
	{LMTPUnit, "User", "mail/user users directories"},
	{LMTPUnit, "ProtectHome InaccessiblePaths", "mail/root paths/bin paths/state users directories"},
	{LMTPUnit, "CapabilityBoundingSet PrivateUsers RestrictAddressFamilies RemoveIPC SystemCallFilter", "users directories"},
	{"mailstead-*.service", "ExecStart ExecPaths", "paths/bin"},
	{"mailstead-*.service", "RequiresMountsFor", "paths/state"},
	{"mailstead-*.socket", "ListenSequentialPacket", "paths/run"},
	{"mailstead-*.socket", "Description FileDescriptorName", "listeners/NAME"},
	{"mailstead-*.socket", "ListenStream", "listeners/NAME/port listeners/NAME/address"},
	{"mailstead-*.socket", "BindIPv6Only FreeBind", "listeners/NAME/address"},
}

// UnitOrigins gives the fields behind each line of a unit.
func UnitOrigins(unit, text string) []Fields {
	name := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(strings.TrimPrefix(unit, loginPrefix), ".service"), "mailstead-"), ".socket")
	return eachLine(text, func(line string) Fields {
		key, _, set := strings.Cut(line, "=")
		for _, row := range unitOrigins {
			if here, _ := path.Match(row.unit, unit); here && set && hasWord(row.keys, key) {
				return strings.Fields(strings.ReplaceAll(row.fields, "NAME", name))
			}
		}
		return nil
	})
}

// HookOrigins gives the fields behind each line of the deploy hook.
func HookOrigins(text string) []Fields {
	return eachLine(text, func(line string) Fields {
		switch {
		case strings.HasPrefix(line, "exec "):
			return Fields{"paths/bin", "paths/state"}
		case strings.HasPrefix(line, "if "):
			return Fields{"paths/bin"}
		}
		return nil
	})
}

// Fail2banOrigins gives the fields behind each line of the filter or the jail.
func Fail2banOrigins(text string) []Fields {
	return eachLine(text, func(line string) Fields {
		switch key, _, _ := strings.Cut(line, " = "); key {
		case "journalmatch", "port":
			return Fields{"listeners", "web"}
		case "maxretry", "findtime", "bantime":
			return Fields{"fail2ban/" + key}
		}
		return nil
	})
}

// FileOrigins gives the fields behind each line of a file that has no kind of its
// own.
func FileOrigins(name, text string) []Fields {
	switch path.Base(name) {
	case config.SystemDeliveries, config.VirtualDeliveries:
		return deliveryOrigins(text)
	case profile.AutoconfigFile, profile.AutodiscoverFile, profile.PageFile, profile.ZoneFile:
		return profileOrigins(text)
	case addressFile:
		return eachLine(text, func(line string) Fields {
			address, _, _ := strings.Cut(line, " ")
			name, _, _ := strings.Cut(address, "@")
			return Fields{"users/" + address, "users/" + name, "deliver/domains"}
		})
	}
	return Fail2banOrigins(text)
}

func deliveryOrigins(text string) []Fields {
	return eachLine(text, func(line string) Fields {
		var d config.Delivery
		if json.Unmarshal([]byte(line), &d) != nil || d.Name == "" {
			return Fields{"deliver/domains", "deliver/detail", "directories"}
		}
		return Fields{"users/" + d.Name, "mail/root", "mail/user", "quota"}
	})
}

// profileParts says which fields decide the lines of what mail programs are told,
// from a line that has the word to the next such line.
var profileParts = []struct{ word, fields string }{
	{"<emailProvider", "profiles/domain profiles/name users directories"},
	{"<incomingServer", "listeners profiles/server users directories"},
	{"<outgoingServer", "profiles/submission users directories"},
	{"<Protocol>", "listeners profiles/server profiles/submission users directories"},
	{"</Protocol>", ""},
	{"<title>", "profiles/domain users"},
	{"<style>", ""},
	{"<h1>", "profiles/domain profiles/name users"},
	{"<h2>Incoming", "listeners profiles/server users directories"},
	{"<h2>Outgoing", "profiles/submission users directories"},
	{"<h2>Folders", "folders namespace"},
	{"path prefix", "namespace"},
	{"<h2>In the programs", ""},
	{"; How mail programs", "profiles/domain users"},
	{"_imaps._tcp", "listeners profiles/server"},
	{"_submissions._tcp", "profiles/submission"},
	{"; Mailstead has no", ""},
}

// profileOrigins are those of a file that mail programs read.
func profileOrigins(text string) []Fields {
	var fields Fields
	return eachLine(text, func(line string) Fields {
		for _, part := range profileParts {
			if strings.Contains(line, part.word) {
				fields = strings.Fields(part.fields)
				break
			}
		}
		return fields
	})
}

// PAMOrigins gives the fields behind each line of the PAM service.
func PAMOrigins(text string) []Fields {
	return eachLine(text, func(line string) Fields {
		if strings.HasPrefix(line, "session ") {
			return Fields{"pam/session"}
		}
		return nil
	})
}

// UsersOrigins gives the fields behind each line of the users' file: the user,
// and what the host says for users who do not say it themselves.
func UsersOrigins(text string) []Fields {
	return eachLine(text, func(line string) Fields {
		var u config.User
		if json.Unmarshal([]byte(line), &u) != nil || u.Name == "" {
			return Fields{"users"}
		}
		if u.Master {
			return Fields{"logins/masters/" + u.Name}
		}
		fields := Fields{"users/" + u.Name}
		if u.Hash != "" {
			fields = append(fields, "mail/root", "mail/user")
		}
		if u.Quota != nil {
			fields = append(fields, "quota")
		}
		if u.Discard {
			fields = append(fields, "expunge")
		}
		return fields
	})
}

// configOrigins says which fields decide the lines of the daemon's
// configuration, by the names in it. NAME stands for the value of "name" in the
// same object. What is in none of the rows goes by the object around it.
var configOrigins = []struct{ name, fields string }{
	{"control", "paths/run"},
	{"users", "paths/state"},
	{"record", "paths/state"},
	{"service", "users mail/user directories"},
	{"listeners", "listeners"},
	{"listeners/", "listeners/NAME"},
	{"listeners//address", "listeners/NAME/address"},
	{"listeners//port", "listeners/NAME/port"},
	{"listeners//tls", "listeners/NAME/tls"},
	{"listeners//off", "listeners/NAME/capabilities/off"},
	{"tls/policy", "tls/policy"},
	{"tls/tickets", "tls/tickets"},
	{"tls/bundles", "tls/certificates tls/default"},
	{"tls/bundles/", "tls/certificates/NAME tls/default"},
	{"tls/bundles//file", "paths/state tls/certificates/NAME"},
	{"tls/bundles//names", "tls/certificates/NAME/names"},
	{"namespace", "namespace"},
	{"keep", "keep"},
	{"relaxed", "durability"},
	{"mail_root", "mail/root"},
	{"roles/auth", "paths/run"},
	{"roles/spawn", "paths/run"},
	{"pam/socket", "paths/run users"},
	{"sharing", "sharing/virtual"},
	{"admin", "about/admin"},
	{"comment", "about/comment"},
	{"limits", "limits"},
	{"outbox", "outbox"},
	{"outbox/mailbox", "outbox/folder"},
	{"outbox/socket", "paths/run"},
	{"outbox/header", "outbox/header"},
	{"outbox/multiple", "outbox/multiple"},
	{"pam", "users"},
	{"pam/helper", "paths/bin"},
	{"pam/network", "pam/network pam/servers"},
	{"pam/servers", "pam/servers"},
	{"workers", "users directories"},
	{"listeners//clients", "listeners/NAME/clientCertificates"},
	{"listeners//proxy", "listeners/NAME/proxy"},
	{"listeners//proxies", "listeners/NAME/proxies"},
	{"logins", "logins"},
	{"logins/keep", "logins paths/state"},
	{"web", "web"},
	{"web/certificate", "web/certificate"},
	{"directories", "directories"},
	{"directories/", "directories/NAME"},
	{"directories//may/owner", "directories/NAME mail/user"},
	{"directories//may/roots", "directories/NAME mail/root"},
	{"directories//may/quota", "directories/NAME quota"},
	{"directories//may/discard", "directories/NAME expunge"},
	{"folders", "directories folders outbox"},
}

// ConfigOrigins gives the fields behind each line of the daemon's
// configuration. It goes by the form that imapserver/config gives the file: one
// value on a line, set in by one tab for each object or list around it.
func ConfigOrigins(text string) []Fields {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	out := make([]Fields, len(lines))
	var around []string  // the names of the objects and lists around the line; "" is a place in a list
	name, named := "", 0 // of the outermost object in a list, and how deep it is
	for i, line := range lines {
		depth := len(line) - len(strings.TrimLeft(line, "\t"))
		if depth < named {
			named = 0
		}
		around = around[:min(max(depth-1, 0), len(around))]
		key, _, _ := strings.Cut(strings.TrimLeft(line, "\t"), ":")
		if key, _ = strings.CutPrefix(key, `"`); strings.HasSuffix(key, `"`) && strings.Contains(line, `": `) {
			key = strings.TrimSuffix(key, `"`)
		} else {
			key = "" // a bracket, or a place in a list
		}
		if key == "" && strings.HasSuffix(line, "{") && (named == 0 || depth == named) {
			name, named = nameIn(lines[i+1:]), depth
		}
		if depth > 0 {
			around = append(around, key)
			out[i] = configFields(around, name)
		}
	}
	return out
}

// nameIn reads the name of the object whose lines follow.
func nameIn(lines []string) string {
	for _, line := range lines {
		var name string
		value, named := strings.CutPrefix(strings.TrimLeft(line, "\t"), `"name": `)
		if named && json.Unmarshal([]byte(strings.TrimSuffix(value, ",")), &name) == nil {
			return name
		}
		if strings.HasSuffix(line, "}") {
			break
		}
	}
	return ""
}

// configFields finds the row of the innermost of the names that has one.
func configFields(names []string, name string) Fields {
	for ; len(names) > 0; names = names[:len(names)-1] {
		for _, row := range configOrigins {
			if row.name == strings.Join(names, "/") {
				fields := strings.Fields(row.fields)
				for i := range fields {
					fields[i] = strings.ReplaceAll(fields[i], "NAME", name)
				}
				return fields
			}
		}
	}
	return nil
}

func eachLine(text string, fields func(line string) Fields) []Fields {
	var out []Fields
	for line := range strings.Lines(text) {
		out = append(out, fields(strings.TrimSuffix(line, "\n")))
	}
	return out
}

func hasWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}
