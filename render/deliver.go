package render

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"mailstead/imapserver/config"
	"mailstead/schema"
)

// DeliveryFile is the path of the table by which mailstead-deliver finds the
// users of the host, or the virtual ones.
func DeliveryFile(p schema.Paths, virtual bool) string {
	if virtual {
		return path.Join(p.State, config.VirtualDeliveries)
	}
	return path.Join(p.State, config.SystemDeliveries)
}

// Deliveries writes a table of users, whose mail is below root if that is not "".
// others are those of the other table. ask is the socket at which auth is asked for
// whom directories know; "" if there are none.
func Deliveries(d schema.Deliver, ask, root string, users, others []User) ([]byte, error) {
	rows := make([]config.Delivery, 0, len(users))
	for _, u := range users {
		rows = append(rows, config.Delivery{Name: u.Name, UID: u.UID, GID: u.GID, Maildir: u.Maildir, Quota: renderQuota(u.Quota)})
	}
	local := map[string]bool{}
	for _, u := range users {
		local[strings.ToLower(u.Name)] = true
	}
	var whole []string
	for _, u := range others {
		name, domain := address(u.Name)
		if local[name] && slices.Contains(d.Domains, domain) {
			whole = append(whole, name+"@"+domain)
		}
	}
	head := config.DeliveryHead{Whole: whole, Domains: d.Domains, Detail: d.Detail, Root: root, Open: ask != "", Ask: ask}
	var b bytes.Buffer
	if err := config.EncodeDeliveries(&b, head, rows); err != nil {
		return nil, fmt.Errorf("render deliveries: %w", err)
	}
	return b.Bytes(), nil
}

const addressFile = "delivery-addresses"

// AddressFile is the path of the list of addresses.
func AddressFile(p schema.Paths) string { return path.Join(p.State, addressFile) }

// The words of the list of addresses: whose account a delivery runs under.
const (
	systemAddress  = "system"
	virtualAddress = "virtual"
)

// Addresses writes which addresses there are, without what may stand between a
// name and the domain: one a line, with a word behind it, as both Exim (lsearch)
// and Postfix (texthash) read it. A name that is an address as a whole is its user's,
// whoever else has the local part; of names that differ by capitals alone, the one in
// small letters has the address.
func Addresses(d schema.Deliver, system, virtual []User) []byte {
	words := map[string]string{}
	kinds := []struct {
		word  string
		users []User
	}{{virtualAddress, virtual}, {systemAddress, system}}
	for _, order := range []struct{ whole, small bool }{{false, false}, {false, true}, {true, false}, {true, true}} { // the last one wins
		for _, kind := range kinds {
			for _, u := range kind.users {
				name := strings.ToLower(u.Name)
				switch {
				case strings.Contains(name, "@") != order.whole || (name == u.Name) != order.small:
				case order.whole:
					words[name] = kind.word
				default:
					for _, domain := range d.Domains {
						words[name+"@"+domain] = kind.word
					}
				}
			}
		}
	}
	b := bytes.NewBufferString("# Kept by mailstead: \"mailstead apply\" writes this file again. An address a line, for mail servers.\n")
	for _, a := range slices.Sorted(maps.Keys(words)) {
		b.WriteString(a + " " + words[a] + "\n")
	}
	return b.Bytes()
}

// LMTPSocket writes the unit of the socket at which mail servers hand over mail.
func LMTPSocket(path, group string) ([]byte, error) {
	u := newUnit()
	u.path("ListenStream", path)
	u.section("Unit")
	u.set("Description", "Mailstead LMTP")

	u.section("Socket")
	u.line("ListenStream", path)
	mode := "0600"
	if group != "" {
		u.name("SocketGroup", serverGroup, group)
		u.set("SocketGroup", group)
		mode = "0660"
	}
	u.set("SocketMode", mode)
	u.set("RemoveOnStop", "yes")

	u.section("Install")
	u.set("WantedBy", "sockets.target")
	return u.bytes()
}

// LMTP is what mailstead-lmtp.service is made of: as spawn, it starts processes
// under the uids of mail, and so has all of them in its sandbox.
type LMTP struct {
	Systemd   int
	Paths     schema.Paths
	Host      string
	Account   string   // that has all mail; "" is root
	Front     Identity // who talks to mail servers, where it is root
	MailRoots []string // directories below which mail is delivered
	Asks      bool     // auth, for whom only directories know: as spawn, it makes a socket
}

// Render writes the unit.
func (l LMTP) Render() ([]byte, error) {
	u := newUnit()
	checkPaths(u, l.Paths)
	for _, p := range l.MailRoots {
		u.path("mail", p)
	}
	u.section("Unit")
	u.set("Description", "Mailstead: deliveries by LMTP")
	u.set("After", "nss-user-lookup.target "+ApplyUnit)
	u.words("RequiresMountsFor", "", append([]string{l.Paths.State}, l.MailRoots...)...)
	persistent(u)

	u.section("Service")
	command := []string{Program(l.Paths, "mailstead-deliver"), "--lmtp", "--host", l.Host, "--state", l.Paths.State}
	if l.Account == "" {
		command = append(command, "--front-uid", itoa(l.Front.UID), "--front-gid", itoa(l.Front.GID))
	}
	u.exec("ExecStart", command...)
	u.set("Sockets", LMTPSocketUnit)
	if l.Account != "" {
		u.name("User", accountName, l.Account)
		u.set("User", l.Account)
	}
	u.set("Restart", "on-failure")
	u.set("RestartSec", "1s")
	// It sees its mail servers off; only what does not end is killed.
	u.set("KillMode", "mixed")
	u.set("TimeoutStopSec", "30s")
	if len(l.MailRoots) > 0 {
		u.words("ReadWritePaths", "-", l.MailRoots...)
	}
	u.set("UMask", "0077")
	runsOnly(u, l.Systemd, command[0])
	limits(u)
	roles := map[bool]role{false: lmtpRoot, true: lmtpOwn}
	if l.Asks {
		roles = map[bool]role{false: spawnRoot, true: spawnOwn}
	}
	r := roles[l.Account != ""]
	writeSandbox(u, l.Systemd, r, append([]string{l.Paths.Bin, l.Paths.State}, l.MailRoots...)...)

	u.section("Install")
	u.set("WantedBy", "multi-user.target")
	return u.bytes()
}
