package target

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFreeIDs(t *testing.T) {
	passwd := "root:x:0:0:root:/root:/bin/bash\nmessagebus:x:999:998::/:/usr/sbin/nologin\nbroken\n\nalice:x:1000:1000::/home/alice:/bin/sh\n"
	group := "root:x:0:\nstaff:x:996:alice,bob\n"
	if diff := cmp.Diff([]int{997, 995, 994}, freeIDs(passwd, group, 3)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := len(freeIDs(passwd, group, 2000)); got != 900-3 {
		t.Errorf("%d ids are free, want all but three", got)
	}
}
