package web

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// contrast is what stands on what in the style sheet, and how much they have to differ
// (WCAG 2.2 AA: 1.4.3 for text, 1.4.11 for the edges of controls).
var contrast = []struct {
	front, back string
	least       float64
}{
	{"text", "back", 4.5}, {"text", "card", 4.5},
	{"muted", "back", 4.5}, {"muted", "card", 4.5},
	{"link", "back", 4.5}, {"link", "card", 4.5},
	{"act-text", "act", 4.5},
	{"good", "good-back", 4.5}, {"good", "card", 4.5},
	{"bad", "bad-back", 4.5}, {"bad", "back", 4.5}, {"bad", "card", 4.5},
	{"edge", "back", 3}, {"edge", "card", 3}, {"act", "back", 3}, {"act", "card", 3},
}

func TestContrast(t *testing.T) {
	light, dark, ok := strings.Cut(string(styleSheet), "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("there is no dark scheme")
	}
	for name, sheet := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(sheet, -1) {
			colours[m[1]] = luminance(m[2])
		}
		for _, row := range contrast {
			a, known := colours[row.front]
			b, also := colours[row.back]
			if !known || !also {
				t.Errorf("%s: no %s or no %s", name, row.front, row.back)
				continue
			}
			if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); got < row.least {
				t.Errorf("%s: %s on %s: %.2f, less than %.1f", name, row.front, row.back, got, row.least)
			}
		}
	}
}

// luminance is the relative luminance of a colour (WCAG 2.2, "relative luminance").
func luminance(hex string) float64 {
	channel := func(at int) float64 {
		n, _ := strconv.ParseUint(hex[at:at+2], 16, 8)
		if c := float64(n) / 255; c > 0.04045 {
			return math.Pow((c+0.055)/1.055, 2.4)
		} else {
			return c / 12.92
		}
	}
	return 0.2126*channel(0) + 0.7152*channel(2) + 0.0722*channel(4)
}

// Every colour in the sheet is one of the variables, so that the pairs above are all.
func TestColoursAreVariables(t *testing.T) {
	rules := regexp.MustCompile(`(?m)^\s*--[a-z-]+:.*$`).ReplaceAllString(string(styleSheet), "")
	for i, line := range strings.Split(rules, "\n") {
		if m := regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b|\b(rgb|hsl)a?\(`).FindString(line); m != "" && !strings.Contains(line, "/*") {
			t.Error(fmt.Sprint("line ", i+1, ": ", m))
		}
	}
}
