package wire

import (
	"testing"
)

func TestSequenceSets(t *testing.T) {
	tests := []struct{ in, want string }{
		{"1", "1"},
		{"5:3", "3:5"},
		{"9,1:2,3,4:8", "1:9"},
		{"*", "*"},
		{"*:4", "4:*"},
		{"4:*,*,9:*,7", "4:*"},
		{"1,*", "1,*"},
		{"4294967295,*", "4294967295,*"},
		{"1:4294967295", "1:4294967295"},
		{"10:12,11:*", "10:*"},
		{"", ""}, {"0", ""}, {"1:", ""}, {"1,", ""}, {",1", ""}, {"01", ""}, {"4294967296", ""}, {"1:2:3", ""}, {"$", "$"}, {"1,$", ""}, {"$,1", ""},
	}
	for _, tt := range tests {
		c := newClient("a UID EXPUNGE "+tt.in+"\r\n", &PostAuth)
		req, err := c.ReadCommand(Selected)
		if tt.want == "" {
			if !refusal(err) {
				t.Errorf("%s: got %v, want BAD", tt.in, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
		} else if got := req.Command.(*Expunge).UIDs.String(); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestSequenceSetLimit(t *testing.T) {
	limits := PostAuth
	limits.Ranges = 3
	for in, ok := range map[string]bool{"1,3,5": true, "1,3,5,7": false, "7,5,3,1,2,4,6": true} {
		c := newClient("a FETCH "+in+" UID\r\n", &limits)
		if _, err := c.ReadCommand(Selected); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
}
