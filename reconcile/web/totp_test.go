package web

import (
	"encoding/base32"
	"testing"
	"time"
)

// The values of RFC 6238 Appendix B, by their last six digits.
func TestTOTP(t *testing.T) {
	secret := TOTP("12345678901234567890")
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		if got := secret.Code(at / 30); got != want {
			t.Errorf("%d: %s, want %s", at, got, want)
		}
		if step, ok := secret.Check(" "+want[:3]+" "+want[3:], time.Unix(at, 0), 0); !ok || step != at/30 {
			t.Errorf("%d: %d, %v", at, step, ok)
		}
	}
}

// A code is good once, and for a minute and a half.
func TestTOTPOnce(t *testing.T) {
	secret, now := TOTP("12345678901234567890"), time.Unix(1234567890, 0)
	code := secret.Code(now.Unix() / 30)
	step, ok := secret.Check(code, now, 0)
	if !ok {
		t.Fatal("refused")
	}
	if _, ok := secret.Check(code, now, step); ok {
		t.Error("taken twice")
	}
	if _, ok := secret.Check(secret.Code(step-1), now, step); ok {
		t.Error("one from before the last was taken")
	}
	for seconds, want := range map[int]bool{-60: false, -31: false, -30: true, 30: true, 59: true, 61: false} {
		if _, ok := secret.Check(code, time.Unix(step*30, 0).Add(time.Duration(seconds)*time.Second), 0); ok != want {
			t.Errorf("%d s later: %v", seconds, ok)
		}
	}
	for _, wrong := range []string{"", "0", code + "0", code[:5], "０" + code[1:]} {
		if _, ok := secret.Check(wrong, now, 0); ok {
			t.Errorf("%q was taken", wrong)
		}
	}
}

func TestParseTOTP(t *testing.T) {
	for _, text := range []string{"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "gezd gnbv gy3t qojq gezd gnbv gy3t qojq\n", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ===="} {
		if got, err := ParseTOTP(text); err != nil || string(got) != "12345678901234567890" {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "GEZDGNBVGY3TQOJQ", "not base32!", base32.StdEncoding.EncodeToString(make([]byte, 15))} {
		if _, err := ParseTOTP(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
