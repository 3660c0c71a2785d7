package main

import (
	"fmt"
	"io"
	"strings"

	"mailstead/schema"
)

// GitHub's runner takes a line that begins with "::error " for a command, and
// shows its message beside the line of the file. A message ends with its line,
// and a property at a comma or colon
// (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands).
var (
	annotationText     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	annotationProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// writeAnnotations writes faults as GitHub's annotations, one on a line. GitHub
// shows ten for each step.
func writeAnnotations(w io.Writer, faults schema.Diagnostics) error {
	var b strings.Builder
	for _, d := range faults {
		fmt.Fprintf(&b, "::error file=%s", annotationProperty.Replace(visible(d.Pos.File)))
		if d.Pos.Line > 0 {
			fmt.Fprintf(&b, ",line=%d", d.Pos.Line)
		}
		if x := d.Excerpt; x != nil {
			fmt.Fprintf(&b, ",col=%d,endColumn=%d", x.Col, x.EndCol)
		}
		message := d.Message
		if d.Hint != "" {
			message += "\nhint: " + d.Hint
		}
		fmt.Fprintf(&b, ",title=%s::%s\n", annotationProperty.Replace(d.Code), annotationText.Replace(visibleLines(message)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
