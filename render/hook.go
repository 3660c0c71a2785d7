package render

import (
	"errors"
	"fmt"

	"mailstead/schema"
)

const hookText = `#!/bin/sh
# Kept by mailstead: "mailstead apply" writes this file again, and what is
# changed here is lost.
#
# certbot runs it after each renewal, with RENEWED_LINEAGE and RENEWED_DOMAINS
# in the environment. It installs the new certificate, has the daemon reload and
# fails unless the new certificate is then served. A lineage that Mailstead does
# not serve is none of its business.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 077
cd /
if ! [ -x %[1]s ]; then # as when the package was removed
	echo mailstead is not installed: nothing was done >&2
	exit 0
fi
exec %[1]s deploy-hook --state %[2]s
`

// DeployHook is the script that certbot runs after each renewal. All that is
// to be done, mailstead does, by what was applied with this state directory:
// nothing of the environment passes through a shell.
func DeployHook(p schema.Paths) ([]byte, error) {
	if err := errors.Join(CheckPath("bin", p.Bin), CheckPath("state", p.State)); err != nil {
		return nil, fmt.Errorf("render deploy hook: %w", err)
	}
	return fmt.Appendf(nil, hookText, shellWord(Program(p, "mailstead")), shellWord(p.State)), nil
}
